package dev.imgd.trust;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.OpenSsl;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// A registry that is slow when it is asked for signatures, over a real socket.
@Timeout(60)
class TimedLookupTest {
    @TempDir Path directory;
    private InMemoryRegistry registry;
    private RegistryClient client;
    private Reference image;
    private Descriptor target;
    private PolicyGate gate;
    private PolicyGate patient;

    @BeforeEach
    void start() throws Exception {
        OpenSsl openssl = new OpenSsl(directory);
        Path key = openssl.key("P-256");
        registry = InMemoryRegistry.start();
        // Each answer may take much longer than looking signatures up.
        client =
                RegistryClient.create(
                        RegistryOptions.defaults()
                                .withTimeouts(
                                        Duration.ofMinutes(2),
                                        Duration.ofMinutes(2),
                                        Duration.ofMinutes(2)));
        image =
                Reference.parse(
                        registry.push(
                                "team/app",
                                "1",
                                ImageBuilder.oci().layer(tar -> tar.file("a", "a")).build()));
        target = client.resolve(image).descriptor();
        Path policy =
                new Policies(directory)
                        .write("{\"default\":[" + Policies.signedBy(openssl.publicKey(key)) + "]}");
        gate = gate(policy, Duration.ofMillis(300));
        patient = gate(policy, Duration.ofMinutes(1));
    }

    private PolicyGate gate(Path policy, Duration timeout) throws ImageException {
        return PolicyGate.of(
                policy, true, directory, new Effort(Limits.defaults(), timeout), Clock.systemUTC());
    }

    @AfterEach
    void stop() {
        client.close();
        registry.close();
    }

    private ImageException undecided() {
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () -> gate.decide(image, target, new RegistrySignatures(client, image)));
        assertEquals(ErrorKind.DEADLINE_EXCEEDED, e.kind(), e.toString());
        assertTrue(e.getMessage().contains("longer than 300 ms"), e.getMessage());
        assertTrue(e.getMessage().contains("raise trust.timeout"), e.getMessage());
        return e;
    }

    @ParameterizedTest
    @ValueSource(strings = {"/manifests/sha256-", "/referrers/"})
    void decide_noAnswer_endsInTimeAndNamesTheKey(String question) {
        registry.always(question, Fault.stall());
        assertTrue(undecided().getMessage().contains(image.toString()));
    }

    @Test
    void decide_answerInDrops_endsInTime() {
        registry.always(
                "/manifests/sha256-",
                (exchange, _, right) ->
                        Fault.trickle(Duration.ofMillis(50))
                                .handle(exchange, new byte[10_000], right));
        undecided();
    }

    /// The time is that of all questions together: an answer that came too late counts no more, and
    /// nothing is asked after it.
    @Test
    void end_answerThatCameTooLate_isNone() {
        CountDownLatch cancelled = new CountDownLatch(1);
        SignatureLookup late =
                new SignatureLookup() {
                    @Override
                    public Optional<FetchedManifest> tagged(String tag) throws ImageException {
                        try {
                            cancelled.await();
                        } catch (InterruptedException e) {
                            throw new AssertionError(e);
                        }
                        return Optional.empty();
                    }

                    @Override
                    public List<Descriptor> referrers(Descriptor of, List<String> types) {
                        throw new AssertionError("asked after the time was over");
                    }

                    @Override
                    public Bytes manifest(Descriptor descriptor) {
                        throw new AssertionError("asked after the time was over");
                    }

                    @Override
                    public Bytes blob(Descriptor descriptor) {
                        throw new AssertionError("asked after the time was over");
                    }

                    @Override
                    public void cancel() {
                        cancelled.countDown();
                    }
                };
        ImageException e =
                assertThrows(ImageException.class, () -> gate.decide(image, target, late));
        assertEquals(ErrorKind.DEADLINE_EXCEEDED, e.kind(), e.toString());
    }

    @Test
    void decide_inTime_leavesTheClientAsItWas() throws Exception {
        assertFalse(
                patient.decide(image, target, new RegistrySignatures(client, image)).accepted());
        assertEquals(target, client.resolve(image).descriptor());
    }
}
