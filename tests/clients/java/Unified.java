import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;

/** Decodes events of the unified topics: five bytes of framing (0x00, the schema's id), then Avro by that schema. */
final class Unified {
    static final ObjectMapper JSON = new ObjectMapper();

    private final HttpClient http = HttpClient.newHttpClient();
    private final Map<Integer, Schema> schemas = new ConcurrentHashMap<>();
    private final String registry;

    Unified(String registry) {
        this.registry = registry;
    }

    GenericRecord decode(byte[] value) {
        ByteBuffer framed = ByteBuffer.wrap(value);
        if (framed.remaining() < 5 || framed.get() != 0) {
            throw new IllegalArgumentException("not a framed event");
        }
        Schema schema = schemas.computeIfAbsent(framed.getInt(), this::ask);
        try {
            var decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null);
            return new GenericDatumReader<GenericRecord>(schema).read(null, decoder);
        } catch (IOException wrong) {
            throw new IllegalArgumentException("not Avro of its schema", wrong);
        }
    }

    /** A registry's read call. Credentials, as user:password, are taken from REGISTRY_AUTH. */
    private Schema ask(int id) {
        var request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id));
        String credentials = System.getenv("REGISTRY_AUTH");
        if (credentials != null && !credentials.isEmpty()) {
            request.header("authorization", "Basic " + Base64.getEncoder().encodeToString(credentials.getBytes()));
        }
        try {
            var answer = http.send(request.build(), HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException("the registry answered " + answer.statusCode() + " for schema " + id);
            }
            return new Schema.Parser().parse(JSON.readTree(answer.body()).get("schema").asText());
        } catch (IOException | InterruptedException wrong) {
            throw new IllegalStateException("asking the registry for schema " + id, wrong);
        }
    }
}
