/*
 * Streams: the bench's job as a Kafka Streams program, to compare with: the share of 5xx per service over 5 minutes by 15 s, an alert when it is
 * above 0.2 for a minute, exactly once (exactly_once_v2).
 *
 * As good as the API lets one write it without giving up the guarantees: the Processor API, one counter per series in panes of 15 s in an
 * in-memory store with its changelog and a write cache, JSON by Jackson's streaming parser, keys that keep a service on its partition, so
 * no repartitioning. A step looks at every series of the task, as any rule over series must. Steps follow the task's stream time. What it leaves
 * out: out-of-order records within a partition, staleness, counters as scraped, late data, any other rule.
 *
 * Usage: Streams BROKERS INPUT OUTPUT EVENTS STATE_DIR: runs until EVENTS records are processed and committed, then prints one JSON line:
 * events, first_to_last_s, cpu_s (of the whole process), rss_peak_kib, alerts {"service": [[state, step_ms], …]}.
 */
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

public final class Streams {
    static final long STEP = 15_000, PANES = 20, FOR = 60_000;
    static final AtomicLong processed = new AtomicLong(), firstNs = new AtomicLong();
    static final Map<String, List<String>> alerts = new ConcurrentSkipListMap<>();

    /** One event, reused. */
    static final class Event {
        String service, instance, method, status, kind;
        double value;
        long timestamp;
    }

    static final class Parser {
        private final JsonFactory factory = new JsonFactory();

        void parse(byte[] bytes, Event e) throws IOException {
            try (JsonParser p = factory.createParser(bytes)) {
                p.nextToken();
                while (p.nextToken() != JsonToken.END_OBJECT) {
                    String name = p.currentName();
                    p.nextToken();
                    switch (name) {
                        case "labels": labels(p, e); break;
                        case "value": e.value = p.getDoubleValue(); break;
                        case "timestamp": e.timestamp = p.getLongValue(); break;
                        case "kind": e.kind = p.getText(); break;
                        default: p.skipChildren();
                    }
                }
            }
        }

        private void labels(JsonParser p, Event e) throws IOException {
            while (p.nextToken() != JsonToken.END_OBJECT) {
                String name = p.currentName();
                String text = p.nextTextValue();
                switch (name) {
                    case "service": e.service = text; break;
                    case "instance": e.instance = text; break;
                    case "method": e.method = text; break;
                    case "status": e.status = text; break;
                    default:
                }
            }
        }
    }

    /** Value of the store: newest pane, then the sums of PANES panes, pane p at p mod PANES. */
    static final class Share implements Processor<byte[], byte[], String, String> {
        private ProcessorContext<String, String> context;
        private KeyValueStore<String, byte[]> store;
        private final Parser parser = new Parser();
        private final Event event = new Event();
        private final Map<String, Long> since = new TreeMap<>();
        private final Map<String, Boolean> firing = new HashMap<>();
        private long step = Long.MIN_VALUE;

        @Override
        public void init(ProcessorContext<String, String> c) {
            context = c;
            store = c.getStateStore("series");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            try {
                parser.parse(record.value(), event);
            } catch (IOException e) {
                return;
            }
            long pane = Math.floorDiv(event.timestamp, STEP);
            if (step == Long.MIN_VALUE)
                step = pane;
            for (; step < pane; step++)
                evaluate(step + 1);
            count(pane);
            if (processed.incrementAndGet() == 1)
                firstNs.set(System.nanoTime());
        }

        private void count(long pane) {
            String key = event.service + '|' + event.status + '|' + event.instance + '|' + event.method;
            byte[] old = store.get(key);
            ByteBuffer b = ByteBuffer.wrap(old == null ? new byte[8 + 8 * (int) PANES] : old.clone());
            long newest = old == null ? pane : b.getLong(0);
            for (long p = newest + 1; p <= pane && p <= newest + PANES; p++)
                b.putDouble(8 + 8 * (int) (p % PANES), 0);
            b.putLong(0, Math.max(newest, pane));
            int at = 8 + 8 * (int) (pane % PANES);
            b.putDouble(at, b.getDouble(at) + event.value);
            store.put(key, b.array());
        }

        /** The step that ends the pane before it: panes at - PANES … at - 1. */
        private void evaluate(long at) {
            Map<String, double[]> sums = new HashMap<>();
            try (KeyValueIterator<String, byte[]> all = store.all()) {
                while (all.hasNext()) {
                    KeyValue<String, byte[]> series = all.next();
                    int end = series.key.indexOf('|');
                    double[] sum = sums.computeIfAbsent(series.key.substring(0, end), k -> new double[2]);
                    ByteBuffer b = ByteBuffer.wrap(series.value);
                    long newest = b.getLong(0);
                    double total = 0;
                    for (long p = Math.max(newest - PANES + 1, at - PANES); p <= newest && p < at; p++)
                        total += b.getDouble(8 + 8 * (int) (p % PANES));
                    sum[0] += total;
                    if (series.key.startsWith("500|", end + 1))
                        sum[1] += total;
                }
            }
            for (Map.Entry<String, double[]> s : sums.entrySet())
                judge(s.getKey(), s.getValue()[1] / s.getValue()[0] > 0.2, at * STEP);
        }

        private void judge(String service, boolean above, long at) {
            if (!above) {
                since.remove(service);
                if (firing.remove(service) != null)
                    tell(service, "resolved", at);
            } else if (at - since.computeIfAbsent(service, k -> at) >= FOR && firing.put(service, true) == null) {
                tell(service, "firing", at);
            }
        }

        private void tell(String service, String state, long at) {
            alerts.computeIfAbsent(service, k -> new ArrayList<>()).add("[\"" + state + "\"," + at + "]");
            context.forward(new Record<>(service, "{\"service\":\"" + service + "\",\"state\":\"" + state + "\",\"step\":" + at + "}", at));
        }
    }

    static Topology topology(String input, String output) {
        return new Topology().addSource("in", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), input)
            .addProcessor("share", Share::new, "in")
            .addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("series"), Serdes.String(), Serdes.ByteArray())
                .withCachingEnabled().withLoggingEnabled(Map.of()), "share")
            .addSink("out", output, Serdes.String().serializer(), Serdes.String().serializer(), "share");
    }

    static Properties properties(String brokers, String id, String dir) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
        p.put(StreamsConfig.STATE_DIR_CONFIG, dir);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        p.put("auto.offset.reset", "earliest");
        p.put("max.poll.records", 10000);
        p.put("fetch.max.bytes", 52428800);
        return p;
    }

    public static void main(String[] args) throws Exception {
        long events = Long.parseLong(args[3]);
        KafkaStreams streams = new KafkaStreams(topology(args[1], args[2]), properties(args[0], args[2] + "-app", args[4]));
        streams.start();
        while (processed.get() < events)
            Thread.sleep(5);
        streams.close(); // commits
        double seconds = (System.nanoTime() - firstNs.get()) / 1e9;
        long cpuNs = ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
        String peak = Files.readAllLines(Path.of("/proc/self/status"), StandardCharsets.UTF_8).stream().filter(l -> l.startsWith("VmHWM"))
            .findFirst().orElse("0").replaceAll("[^0-9]", "");
        StringBuilder out = new StringBuilder();
        alerts.forEach((service, list) -> out.append(out.length() > 0 ? "," : "").append('"').append(service).append("\":").append(list));
        System.out.printf("{\"events\":%d,\"first_to_last_s\":%.3f,\"cpu_s\":%.3f,\"rss_peak_kib\":%s,\"alerts\":{%s}}%n", processed.get(), seconds,
            cpuNs / 1e9, peak, out);
    }
}
