import com.siemens.ct.exi.core.EXIFactory;
import com.siemens.ct.exi.core.FidelityOptions;
import com.siemens.ct.exi.core.datatype.Datatype;
import com.siemens.ct.exi.core.datatype.EnumerationDatatype;
import com.siemens.ct.exi.core.datatype.NBitUnsignedIntegerDatatype;
import com.siemens.ct.exi.core.grammars.Grammars;
import com.siemens.ct.exi.core.grammars.event.Attribute;
import com.siemens.ct.exi.core.grammars.event.Characters;
import com.siemens.ct.exi.core.grammars.event.Event;
import com.siemens.ct.exi.core.grammars.event.StartElement;
import com.siemens.ct.exi.core.grammars.grammar.Grammar;
import com.siemens.ct.exi.core.grammars.production.Production;
import com.siemens.ct.exi.core.helpers.DefaultEXIFactory;
import com.siemens.ct.exi.grammars.GrammarFactory;
import java.io.PrintStream;
import java.util.ArrayDeque;
import java.util.IdentityHashMap;
import java.util.Map;

/**
 * Prints the grammars that EXIficient makes of an XML Schema, state by state, as tab-separated lines.
 *
 * ROOT name state; then for every state reachable: STATE id kind events-on-level-2, followed by its productions in
 * event-code order: EVENT-TYPE next [local uri [element-state]] [datatype].
 */
public class ExiGrammarDump {
    private final Map<Grammar, Integer> ids = new IdentityHashMap<>();
    private final ArrayDeque<Grammar> queue = new ArrayDeque<>();
    private final PrintStream out = new PrintStream(System.out, false, java.nio.charset.StandardCharsets.UTF_8);
    private final FidelityOptions fidelity;

    ExiGrammarDump(FidelityOptions fidelity) {
        this.fidelity = fidelity;
    }

    public static void main(String[] args) throws Exception {
        Grammars grammars = GrammarFactory.newInstance().createGrammars(args[0]);
        EXIFactory factory = DefaultEXIFactory.newInstance();
        ExiGrammarDump dump = new ExiGrammarDump(factory.getFidelityOptions());
        dump.root("document", grammars.getDocumentGrammar());
        dump.root("fragment", grammars.getFragmentGrammar());
        dump.run();
    }

    private void root(String name, Grammar grammar) {
        // The first production is SD, whose code has no bits.
        out.println("ROOT\t" + name + "\t" + id(grammar.getProduction(0).getNextGrammar()));
    }

    private int id(Grammar grammar) {
        Integer known = ids.get(grammar);
        if (known == null) {
            known = ids.size();
            ids.put(grammar, known);
            queue.add(grammar);
        }
        return known;
    }

    private void run() {
        while (!queue.isEmpty()) {
            Grammar grammar = queue.remove();
            out.println("STATE\t" + ids.get(grammar) + "\t" + grammar.getGrammarType() + "\t"
                    + fidelity.get2ndLevelCharacteristics(grammar));
            for (int code = 0; code < grammar.getNumberOfEvents(); code++) {
                production(grammar.getProduction(code));
            }
        }
        out.flush();
    }

    private void production(Production production) {
        Event event = production.getEvent();
        StringBuilder line = new StringBuilder(event.getEventType().toString());
        Grammar next = production.getNextGrammar();
        line.append('\t').append(next == null ? -1 : id(next));
        if (event instanceof StartElement) {
            StartElement start = (StartElement) event;
            line.append('\t').append(start.getQName().getLocalPart()).append('\t').append(start.getQName().getNamespaceURI());
            line.append('\t').append(id(start.getGrammar()));
        } else if (event instanceof Attribute) {
            Attribute attribute = (Attribute) event;
            line.append('\t').append(attribute.getQName().getLocalPart()).append('\t').append(attribute.getQName().getNamespaceURI());
            line.append('\t').append(datatype(attribute.getDatatype()));
        } else if (event instanceof Characters) {
            line.append('\t').append(datatype(((Characters) event).getDatatype()));
        }
        out.println(line);
    }

    private static String datatype(Datatype type) {
        StringBuilder text = new StringBuilder(type.getClass().getSimpleName());
        if (type instanceof NBitUnsignedIntegerDatatype) {
            NBitUnsignedIntegerDatatype number = (NBitUnsignedIntegerDatatype) type;
            text.append('|').append(number.getLowerBound()).append('|').append(number.getUpperBound());
        } else if (type instanceof EnumerationDatatype) {
            EnumerationDatatype values = (EnumerationDatatype) type;
            for (int i = 0; i < values.getEnumerationSize(); i++) {
                text.append('|').append(values.getEnumValue(i));
            }
        }
        return text.toString();
    }
}
