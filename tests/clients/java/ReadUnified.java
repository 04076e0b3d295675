import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;

import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Reads unified topics with kafka-clients and org.apache.avro, and prints one JSON line per event.
 *
 * <p>{@code java -cp ... ReadUnified <brokers> <registry url> <topic>[,<topic>...] [count]}. From the beginning, committed
 * events only; with a count it ends after so many.
 */
final class ReadUnified {
    public static void main(String[] arguments) throws Exception {
        long left = arguments.length > 3 ? Long.parseLong(arguments[3]) : Long.MAX_VALUE;
        var settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("group.id", "read-unified-" + UUID.randomUUID());
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        var unified = new Unified(arguments[1]);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(arguments[2].split(",")));
            while (left > 0) {
                for (var message : consumer.poll(Duration.ofMillis(200))) {
                    if (left-- <= 0) {
                        break;
                    }
                    Map<String, String> headers = new LinkedHashMap<>();
                    message.headers().forEach(header -> headers.put(header.key(), new String(header.value())));
                    Map<String, Object> line = new LinkedHashMap<>();
                    line.put("topic", message.topic());
                    line.put("partition", message.partition());
                    line.put("offset", message.offset());
                    line.put("key", message.key());
                    line.put("headers", headers);
                    line.put("event", plain(unified.decode(message.value())));
                    System.out.println(Unified.JSON.writeValueAsString(line));
                }
            }
        }
    }

    /** Avro's texts are no strings. */
    private static Map<String, Object> plain(GenericRecord event) {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (var field : event.getSchema().getFields()) {
            Object value = event.get(field.pos());
            fields.put(field.name(), value instanceof CharSequence ? value.toString() : value);
        }
        return fields;
    }
}
