import com.siemens.ct.exi.core.EXIFactory;
import com.siemens.ct.exi.core.grammars.Grammars;
import com.siemens.ct.exi.core.helpers.DefaultEXIFactory;
import com.siemens.ct.exi.grammars.GrammarFactory;
import com.siemens.ct.exi.main.api.sax.EXISource;
import java.io.ByteArrayInputStream;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import javax.xml.transform.Transformer;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.stream.StreamResult;
import org.xml.sax.InputSource;

/** Decodes every line of a file ("schema hex") to XML with EXIficient, over and over; prints messages per second per round. */
public class ExiBench {
    public static void main(String[] args) throws Exception {
        // arguments: file, rounds, then schema=path for each set
        Map<String, EXIFactory> factories = new HashMap<>();
        for (int i = 2; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            Grammars grammars = GrammarFactory.newInstance().createGrammars(pair[1]);
            EXIFactory factory = DefaultEXIFactory.newInstance();
            factory.setGrammars(grammars);
            factories.put(pair[0], factory);
        }
        List<EXIFactory> schema = new ArrayList<>();
        List<byte[]> payload = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] part = line.split(" ");
            schema.add(factories.get(part[0]));
            payload.add(HexFormat.of().parseHex(part[1]));
        }
        Transformer transformer = TransformerFactory.newInstance().newTransformer();
        Map<EXIFactory, EXISource> sources = new HashMap<>();
        for (EXIFactory factory : factories.values()) {
            sources.put(factory, new EXISource(factory));
        }
        int rounds = Integer.parseInt(args[1]);
        for (int round = 0; round < rounds; round++) {
            long characters = 0;
            int failed = 0;
            long start = System.nanoTime();
            long cpu = java.lang.management.ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
            for (int i = 0; i < payload.size(); i++) {
                StringWriter out = new StringWriter(1024);
                EXISource source = new EXISource(schema.get(i));
                source.setInputSource(new InputSource(new ByteArrayInputStream(payload.get(i))));
                try {
                    transformer.transform(source, new StreamResult(out));
                } catch (Exception e) {
                    failed++;
                }
                characters += out.getBuffer().length();
            }
            double seconds = (System.nanoTime() - start) / 1e9;
            double cpuSeconds = (java.lang.management.ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - cpu) / 1e9;
            System.out.printf("%.0f %.0f %d %d%n", payload.size() / seconds, payload.size() / cpuSeconds, failed, characters);
        }
    }
}
