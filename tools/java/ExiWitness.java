import com.siemens.ct.exi.core.EXIFactory;
import com.siemens.ct.exi.core.helpers.DefaultEXIFactory;
import com.siemens.ct.exi.grammars.GrammarFactory;
import com.siemens.ct.exi.main.api.sax.EXISource;
import java.io.ByteArrayInputStream;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import javax.xml.transform.OutputKeys;
import javax.xml.transform.Transformer;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.stream.StreamResult;
import org.xml.sax.InputSource;

/** Decodes every line of a file ("schema hex") to XML on one line with EXIficient; a line "!reason" where it can't. */
public class ExiWitness {
    public static void main(String[] args) throws Exception {
        // arguments: file, then schema=path for each set
        Map<String, EXIFactory> factories = new HashMap<>();
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            EXIFactory factory = DefaultEXIFactory.newInstance();
            factory.setGrammars(GrammarFactory.newInstance().createGrammars(pair[1]));
            factories.put(pair[0], factory);
        }
        Transformer transformer = TransformerFactory.newInstance().newTransformer();
        transformer.setOutputProperty(OutputKeys.OMIT_XML_DECLARATION, "yes");
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] part = line.split(" ");
            StringWriter out = new StringWriter(1024);
            try {
                EXISource source = new EXISource(factories.get(part[0]));
                source.setInputSource(new InputSource(new ByteArrayInputStream(HexFormat.of().parseHex(part[1]))));
                transformer.transform(source, new StreamResult(out));
                System.out.println(out.toString().replace("\n", " "));
            } catch (Exception e) {
                System.out.println("!" + String.valueOf(e.getMessage()).replace("\n", " "));
            }
        }
    }
}
