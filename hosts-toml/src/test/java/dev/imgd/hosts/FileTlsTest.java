package dev.imgd.hosts;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Certificates and keys as openssl writes them, on a real TLS socket whose server wants a client
/// certificate of the same authority and answers with the name in it.
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class FileTlsTest {
    private static final char[] PASSWORD = "password".toCharArray();

    private Path pki;
    private Path root;
    private SSLServerSocket server;
    private Path directory;

    @BeforeAll
    void startServer(@TempDir Path temporary) throws Exception {
        pki = Files.createDirectories(temporary.resolve("pki"));
        root = temporary.resolve("certs.d");
        openssl(
                "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca");
        openssl("ecparam -genkey -name prime256v1 -noout -out server.key");
        sign("server", "subjectAltName=DNS:localhost");
        openssl(
                "pkcs12 -export -in server.pem -inkey server.key -out server.p12 -passout"
                        + " pass:password");
        key("rsa-pkcs8", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out");
        key("ec-pkcs8", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out");
        key("ec-sec1", "ecparam -genkey -name prime256v1 -out");
        key("ed25519", "genpkey -algorithm ED25519 -out");
        openssl("rsa -in rsa-pkcs8.key -traditional -out rsa-pkcs1.key");
        Files.copy(pki.resolve("rsa-pkcs8.pem"), pki.resolve("rsa-pkcs1.pem"));
        openssl("rsa -in rsa-pkcs8.key -aes128 -passout pass:x -out encrypted.key");
        openssl(
                "rsa -in rsa-pkcs8.key -traditional -aes128 -passout pass:x -out encrypted-old.key");
        String both =
                "some text before\n"
                        + Files.readString(pki.resolve("ec-pkcs8.key"))
                        + Files.readString(pki.resolve("ec-pkcs8.pem"))
                        + Files.readString(pki.resolve("ca.pem"));
        Files.writeString(pki.resolve("both.pem"), both);
        directory = Files.createDirectories(root.resolve("r.example"));
        server = listen();
    }

    @AfterAll
    void stopServer() throws IOException {
        server.close();
    }

    private void key(String name, String how) throws Exception {
        openssl(how + " " + name + ".key");
        sign(name, "extendedKeyUsage=clientAuth");
    }

    private void sign(String name, String extension) throws Exception {
        Files.writeString(pki.resolve("extensions"), extension + "\n");
        openssl("req -new -key %s.key -out %s.csr -subj /CN=%s".formatted(name, name, name));
        openssl(
                ("x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile"
                                + " extensions -out %s.pem")
                        .formatted(name, name));
    }

    private void openssl(String arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of("openssl"));
        command.addAll(List.of(arguments.split(" ")));
        Path log = pki.resolve("log");
        Process process =
                new ProcessBuilder(command)
                        .directory(pki.toFile())
                        .redirectErrorStream(true)
                        .redirectOutput(log.toFile())
                        .start();
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), arguments);
        assertEquals(0, process.exitValue(), () -> arguments + "\n" + read(log));
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            return e.toString();
        }
    }

    private SSLServerSocket listen() throws Exception {
        KeyStore keys = KeyStore.getInstance("PKCS12");
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (InputStream in = Files.newInputStream(pki.resolve("server.p12"));
                InputStream ca = Files.newInputStream(pki.resolve("ca.pem"))) {
            keys.load(in, PASSWORD);
            trusted.setCertificateEntry(
                    "ca", CertificateFactory.getInstance("X.509").generateCertificate(ca));
        }
        var keyFactory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keyFactory.init(keys, PASSWORD);
        var trustFactory =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trustFactory.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keyFactory.getKeyManagers(), trustFactory.getTrustManagers(), null);
        SSLServerSocket socket =
                (SSLServerSocket)
                        context.getServerSocketFactory()
                                .createServerSocket(0, 50, InetAddress.getLoopbackAddress());
        socket.setNeedClientAuth(true);
        Thread.ofPlatform().daemon().start(() -> serve(socket));
        return socket;
    }

    private static void serve(SSLServerSocket socket) {
        while (!socket.isClosed()) {
            try (SSLSocket connection = (SSLSocket) socket.accept()) {
                connection.setSoTimeout(10_000);
                String name = connection.getSession().getPeerPrincipal().getName();
                connection.getOutputStream().write((name + "\n").getBytes(StandardCharsets.UTF_8));
            } catch (IOException e) {
                // The client is told by TLS.
            }
        }
    }

    /// The settings that a `hosts.toml` with this text gives.
    private TlsSettings settings(String toml) throws IOException {
        String text = "server = \"https://r.example\"\n" + toml.replace("@", pki + "/");
        Files.writeString(directory.resolve("hosts.toml"), text);
        return RegistryHosts.directory(List.of(root), HostsMode.STRICT, Set.of())
                .hostsFor("r.example")
                .getFirst()
                .tls();
    }

    /// What the server answers.
    private String greeting(TlsSettings tls, String name)
            throws IOException, GeneralSecurityException {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(
                tls.keyManagers().toArray(new KeyManager[0]),
                new TrustManager[] {tls.trustManager()},
                null);
        try (Socket plain = new Socket()) {
            plain.connect(
                    new InetSocketAddress(InetAddress.getLoopbackAddress(), server.getLocalPort()));
            plain.setSoTimeout(10_000);
            try (SSLSocket socket =
                    (SSLSocket)
                            context.getSocketFactory()
                                    .createSocket(plain, name, server.getLocalPort(), true)) {
                SSLParameters parameters = socket.getSSLParameters();
                if (tls.verifies()) {
                    parameters.setEndpointIdentificationAlgorithm("HTTPS");
                }
                socket.setSSLParameters(parameters);
                return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                        .strip();
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "rsa-pkcs8, rsa-pkcs8.pem, rsa-pkcs8.key",
        "rsa-pkcs8, rsa-pkcs1.pem, rsa-pkcs1.key",
        "ec-pkcs8, ec-pkcs8.pem, ec-pkcs8.key",
        "ec-sec1, ec-sec1.pem, ec-sec1.key",
        "ed25519, ed25519.pem, ed25519.key",
        "ec-pkcs8, both.pem, ''",
    })
    void connection_privateAuthorityAndClientCertificate_isKnown(
            String subject, String certificate, String key) throws Exception {
        String pair = "[[\"@%s\", \"%s\"]]".formatted(certificate, key.isEmpty() ? "" : "@" + key);
        TlsSettings tls = settings("ca = \"@ca.pem\"\nclient = " + pair);
        assertEquals("CN=" + subject, greeting(tls, "localhost"));
    }

    @Test
    void connection_severalClients_theAcceptedOneIsShown() throws Exception {
        openssl(
                "req -x509 -newkey rsa:2048 -nodes -keyout o.key -out o.pem -days 2 -subj /CN=other");
        TlsSettings tls =
                settings("ca = \"@ca.pem\"\nclient = [[\"@o.pem\", \"@o.key\"], \"@both.pem\"]");
        assertEquals("CN=ec-pkcs8", greeting(tls, "localhost"));
    }

    @Test
    void connection_unknownAuthority_isRefusedUnlessNotVerified() throws Exception {
        TlsSettings strict = settings("client = \"@both.pem\"");
        assertThrows(SSLException.class, () -> greeting(strict, "localhost"));
        TlsSettings lax = settings("skip_verify = true\nclient = \"@both.pem\"");
        assertEquals("CN=ec-pkcs8", greeting(lax, "elsewhere.example"));
        assertFalse(lax.verifies());
    }

    @Test
    void connection_certificateOfAnotherName_isRefused() throws Exception {
        TlsSettings tls = settings("ca = \"@ca.pem\"\nclient = \"@both.pem\"");
        assertThrows(SSLException.class, () -> greeting(tls, "elsewhere.example"));
    }

    @Test
    void connection_withoutClientCertificate_isRefused() throws Exception {
        TlsSettings tls = settings("ca = \"@ca.pem\"");
        assertThrows(IOException.class, () -> greeting(tls, "localhost"));
    }

    @Test
    void trustManager_withAuthority_keepsTheSystemsToo() throws Exception {
        int system = TlsSettings.SYSTEM.trustManager().getAcceptedIssuers().length;
        assertEquals(
                system + 1,
                settings("ca = \"@ca.pem\"").trustManager().getAcceptedIssuers().length);
    }

    @ParameterizedTest
    @CsvSource({
        "client = \"@none.pem\", none.pem: no such file",
        "client = [[\"@both.pem\"; \"@none.key\"]], none.key: no such file",
        "client = [[\"@both.pem\"; \"@\"]], it is a directory; name a file in it",
        "client = \"@ca.pem\", ca.pem: there is no private key",
        "client = [[\"@ca.key\"; \"@ca.key\"]], ca.key: there is no certificate",
        "client = [[\"@rsa-pkcs8.pem\"; \"@ec-pkcs8.key\"]], ec-pkcs8.key: the private key is not that",
        "client = [[\"@rsa-pkcs8.pem\"; \"@ca.key\"]], ca.key: the private key is not that",
        "client = [[\"@rsa-pkcs8.pem\"; \"@encrypted.key\"]], encrypted.key: the private key has a"
                + " passphrase",
        "client = [[\"@rsa-pkcs8.pem\"; \"@encrypted-old.key\"]], encrypted-old.key: the private key"
                + " has a passphrase",
        "client = [[\"@rsa-pkcs8.pem\"; \"@cut.key\"]], cut.key: the PEM block has a beginning",
        "client = [[\"@rsa-pkcs8.pem\"; \"@noise.key\"]], noise.key: a PEM block is not base64",
        "client = [[\"@rsa-pkcs8.pem\"; \"@empty.key\"]], empty.key: the private key in it cannot",
    })
    void keyManagers_wrongFiles_sayWhichAndWhy(String toml, String expected) throws Exception {
        String begin = "-----BEGIN RSA PRIVATE KEY-----\n";
        String end = "\n-----END RSA PRIVATE KEY-----\n";
        Files.writeString(pki.resolve("cut.key"), begin + "AAAA");
        Files.writeString(pki.resolve("noise.key"), begin + "s3cr&t" + end);
        Files.writeString(pki.resolve("empty.key"), begin + "AAAA" + end);
        TlsSettings tls = settings(toml.replace(';', ','));
        ImageException e = assertThrows(ImageException.class, tls::keyManagers);
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        String owner = "client of r.example, %s:1: ".formatted(directory.resolve("hosts.toml"));
        assertTrue(e.getMessage().startsWith(owner), e.getMessage());
        assertTrue(e.getMessage().contains(expected), e.getMessage());
        assertFalse(e.getMessage().contains("s3cr"), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({
        "none.pem, no such file",
        "server.key, there is no certificate",
        "ca.pem/x.pem, cannot be read: Not a directory",
    })
    void trustManager_wrongFile_saysWhichAndWhy(String file, String expected) throws Exception {
        TlsSettings tls = settings("ca = \"@" + file + "\"");
        ImageException e = assertThrows(ImageException.class, tls::trustManager);
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertTrue(e.getMessage().startsWith("ca of r.example, "), e.getMessage());
        assertTrue(e.getMessage().contains(file + ": " + expected), e.getMessage());
    }
}
