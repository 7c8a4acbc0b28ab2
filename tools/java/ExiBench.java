import com.siemens.ct.exi.core.EXIFactory;
import com.siemens.ct.exi.core.grammars.Grammars;
import com.siemens.ct.exi.core.helpers.DefaultEXIFactory;
import com.siemens.ct.exi.grammars.GrammarFactory;
import com.siemens.ct.exi.main.api.sax.EXISource;
import com.sun.management.OperatingSystemMXBean;
import java.io.ByteArrayInputStream;
import java.io.StringWriter;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
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

/**
 * Decodes every line of a file ("schema hex") to XML with EXIficient, over and over. Prints for each round the messages per
 * second of wall time, of this thread's CPU time and of the process's, how many failed, and the characters of XML.
 */
public class ExiBench {
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final OperatingSystemMXBean SYSTEM = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

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
        int rounds = Integer.parseInt(args[1]);
        for (int round = 0; round < rounds; round++) {
            long characters = 0;
            int failed = 0;
            long start = System.nanoTime();
            long cpu = THREADS.getCurrentThreadCpuTime();
            long all = SYSTEM.getProcessCpuTime();
            for (int i = 0; i < payload.size(); i++) {
                StringWriter out = new StringWriter(1024);
                // A new one each time: a source that has decoded a message does not decode the next one.
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
            double thread = (THREADS.getCurrentThreadCpuTime() - cpu) / 1e9;
            double process = (SYSTEM.getProcessCpuTime() - all) / 1e9;
            int n = payload.size();
            System.out.printf("%.0f %.0f %.0f %d %d%n", n / seconds, n / thread, n / process, failed, characters);
        }
    }
}
