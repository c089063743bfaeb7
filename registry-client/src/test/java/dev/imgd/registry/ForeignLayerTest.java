package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.LoopbackServer.Exchange;
import dev.imgd.registry.LoopbackServer.Handler;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Layers that an image says to live elsewhere, from `elsewhere.example`: a server of this test
/// with a certificate of its own. The registry wants a login and has a header in its `hosts.toml`.
@Timeout(60)
class ForeignLayerTest {
    private static final String NAME = "elsewhere.example";
    private static final char[] PASSWORD = "changeit".toCharArray();
    private static final String CANARY = "canary-6b1f";

    @TempDir static Path directory;
    private static KeyStore keys;

    private final byte[] content = new byte[100_000];
    private final List<Exchange> seen = new CopyOnWriteArrayList<>();
    private volatile Handler answer =
            exchange -> exchange.respond(200, Map.of("Content-Type", "a/b"), content);
    private volatile boolean refused;
    private LoopbackServer registry;
    private LoopbackServer elsewhere;
    private RegistryClient client;

    @BeforeAll
    static void certify() throws Exception {
        Path file = directory.resolve("keys.p12");
        Process keytool =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin", "keytool")
                                        .toString(),
                                "-genkeypair",
                                "-keyalg",
                                "EC",
                                "-dname",
                                "CN=" + NAME,
                                "-ext",
                                "san=dns:" + NAME,
                                "-keystore",
                                file.toString(),
                                "-storepass",
                                new String(PASSWORD))
                        .redirectErrorStream(true)
                        .redirectOutput(directory.resolve("log").toFile())
                        .start();
        assertTrue(keytool.waitFor(60, TimeUnit.SECONDS));
        assertEquals(0, keytool.exitValue(), Files.readString(directory.resolve("log")));
        keys = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(file)) {
            keys.load(in, PASSWORD);
        }
    }

    @BeforeEach
    void start() throws Exception {
        new Random(1).nextBytes(content);
        String login =
                "Basic " + Base64.getEncoder().encodeToString(("user:" + CANARY).getBytes("UTF-8"));
        registry =
                LoopbackServer.start(
                        exchange -> {
                            boolean known =
                                    exchange.header("authorization").equals(Optional.of(login))
                                            && exchange.header("x-team")
                                                    .equals(Optional.of(CANARY));
                            exchange.respond(
                                    known ? 404 : 401,
                                    Map.of("WWW-Authenticate", "Basic realm=\"registry\""),
                                    new byte[0]);
                        });
        KeyManagerFactory own = KeyManagerFactory.getInstance("PKIX");
        own.init(keys, PASSWORD);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(own.getKeyManagers(), null, null);
        elsewhere =
                LoopbackServer.start(
                        context.getServerSocketFactory()
                                .createServerSocket(0, 50, InetAddress.getLoopbackAddress()),
                        exchange -> {
                            seen.add(exchange);
                            answer.handle(exchange);
                        });
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTP,
                        registry.authority(),
                        "/v2",
                        Set.of(Capability.values()),
                        Map.of("x-team", List.of(CANARY)),
                        TlsSettings.SYSTEM);
        Credentials credentials = new Credentials.Login("user", CANARY);
        client =
                new HttpRegistryClient(
                        RegistryOptions.defaults()
                                .withForeignLayers(true)
                                .withHosts(_ -> List.of(host))
                                .withCredentials((_, _) -> Optional.of(credentials))
                                .withRetries(2, Duration.ofMillis(1), Duration.ofMillis(5)),
                        new ForeignPlaces(this::lookUp, new Trusting()));
    }

    @AfterEach
    void stop() {
        client.close();
        registry.close();
        elsewhere.close();
    }

    private List<InetAddress> lookUp(String name) throws UnknownHostException {
        if (refused) {
            throw new RefusedAddressException(
                    "its name leads to 127.0.0.1, an address in a local range");
        }
        if (!name.equals(NAME)) {
            throw new UnknownHostException(name);
        }
        return List.of(InetAddress.getLoopbackAddress());
    }

    /// Trusts the one certificate.
    private record Trusting() implements TlsSettings {
        @Override
        public X509TrustManager trustManager() {
            try {
                KeyStore trusted = KeyStore.getInstance("PKCS12");
                trusted.load(null, null);
                trusted.setCertificateEntry("a", keys.getCertificate("mykey"));
                TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
                factory.init(trusted);
                return (X509TrustManager) factory.getTrustManagers()[0];
            } catch (java.security.GeneralSecurityException | IOException e) {
                throw new AssertionError(e);
            }
        }

        @Override
        public List<KeyManager> keyManagers() {
            return List.of();
        }

        @Override
        public boolean verifies() {
            return true;
        }
    }

    private byte[] fetch() throws ImageException {
        Descriptor layer =
                new Descriptor(
                        MediaType.DOCKER_FOREIGN_LAYER_GZIP,
                        Digest.sha256(content),
                        content.length,
                        Map.of(),
                        List.of("https://%s:%d/layer".formatted(NAME, elsewhere.port())),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty());
        return client.smallBlob(Reference.parse(registry.authority() + "/app:1"), layer).toArray();
    }

    private ImageException fails(ErrorKind kind) {
        ImageException e = assertThrows(ImageException.class, this::fetch);
        assertEquals(kind, e.kind(), e.getMessage());
        assertTrue(e.getMessage().contains(NAME), e.getMessage());
        return e;
    }

    private void assertNothingGiven() {
        assertFalse(seen.isEmpty());
        for (Exchange exchange : seen) {
            assertEquals("/layer", exchange.target());
            for (String header : List.of("authorization", "x-team", "cookie", "referer")) {
                assertEquals(Optional.empty(), exchange.header(header), header);
            }
        }
    }

    @Test
    void layer_elsewhere_isFetchedWithoutSecrets() throws Exception {
        assertArrayEquals(content, fetch());
        assertEquals(1, seen.size());
        assertNothingGiven();
    }

    @Test
    void layer_wrongBytes_refusedAndNotAskedForAgain() {
        byte[] wrong = content.clone();
        wrong[99] ^= 1;
        answer = exchange -> exchange.respond(200, Map.of(), wrong);
        fails(ErrorKind.DATA_LOSS);
        assertEquals(1, seen.size());
        assertNothingGiven();
    }

    /// A name that leads inside is refused as a written address is, and not asked again.
    @Test
    void layer_nameLeadsInside_denied() {
        refused = true;
        ImageException e = fails(ErrorKind.PERMISSION_DENIED);
        assertTrue(e.getMessage().contains("an address in a local range"), e.getMessage());
        assertEquals(List.of(), seen);
    }

    @Test
    void layer_wrongLength_refused() {
        for (int length : new int[] {content.length - 1, content.length + 1}) {
            byte[] wrong = Arrays.copyOf(content, length);
            answer = exchange -> exchange.respond(200, Map.of(), wrong);
            ImageException e = assertThrows(ImageException.class, this::fetch);
            assertTrue(e.getMessage().contains(NAME), e.getMessage());
        }
        assertNothingGiven();
    }

    @Test
    void layer_placeWantsCredentials_getsNone() {
        for (String challenge :
                List.of(
                        "Basic realm=\"x\"",
                        "Bearer realm=\"https://%s:%d/token\"".formatted(NAME, elsewhere.port()))) {
            answer =
                    exchange ->
                            exchange.respond(
                                    401, Map.of("WWW-Authenticate", challenge), new byte[0]);
            fails(ErrorKind.UNAUTHENTICATED);
        }
        assertEquals(2, seen.size());
        assertNothingGiven();
    }
}
