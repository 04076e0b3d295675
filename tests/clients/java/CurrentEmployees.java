import java.nio.file.Files;
import java.util.Properties;
import java.util.TreeMap;

import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;

/**
 * Keeps a table of who is employed now, from {@code unified.hris_employees}, exactly once, and prints it as a JSON line
 * after each change: record ids by account, with the last event of each.
 *
 * <p>{@code java -cp ... CurrentEmployees <brokers> <registry url> <topic> <application id>}. An event says which record
 * changed, so the table holds ids; what is in a record is read from Tributary or from the provider.
 */
final class CurrentEmployees {
    public static void main(String[] arguments) throws Exception {
        var unified = new Unified(arguments[1]);
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[3]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        // It reads committed events only, and its own table moves with its offsets.
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("employees").toString());
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, arguments.length > 4 ? arguments[4] : "-1");

        var builder = new StreamsBuilder();
        KStream<String, byte[]> events = builder.stream(arguments[2], Consumed.with(Serdes.String(), Serdes.ByteArray()));
        var current = new TreeMap<String, String>();
        events
            .map((account, value) -> {
                GenericRecord event = unified.decode(value);
                return new org.apache.kafka.streams.KeyValue<>(account + " " + event.get("record_remote_id"), event.get("event").toString());
            })
            .mapValues(event -> event.endsWith(".deleted") ? null : event)
            .toTable(Materialized.with(Serdes.String(), Serdes.String()))
            .toStream()
            .foreach((record, event) -> {
                if (event == null) {
                    current.remove(record);
                } else {
                    current.put(record, event);
                }
                print(current);
            });
        var streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
        System.out.println("{}");
    }

    private static void print(TreeMap<String, String> current) {
        try {
            System.out.println(Unified.JSON.writeValueAsString(current));
        } catch (com.fasterxml.jackson.core.JsonProcessingException wrong) {
            throw new IllegalStateException(wrong);
        }
    }
}
