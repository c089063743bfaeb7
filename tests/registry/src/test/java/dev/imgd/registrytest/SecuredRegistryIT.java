package dev.imgd.registrytest;

import static dev.imgd.registrytest.Fixture.QUICK;
import static dev.imgd.registrytest.Fixture.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.Logins;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.RegistryWriter.BlobSource;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.Required;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Base64;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bouncycastle.crypto.generators.OpenBSDBCrypt;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Debian's docker-registry behind a token server, and with user names, TLS and client certificates
/// behind nginx: what is right works, and every wrong setting is told from the others.
@Timeout(120)
class SecuredRegistryIT {
    private static final TestAuthority AUTHORITY = TestAuthority.create("the authority");
    private static final TestAuthority STRANGER = TestAuthority.create("a stranger");
    private static final TestAuthority.Identity ME = AUTHORITY.client("me");
    private static final Credentials.Login LOGIN = new Credentials.Login("user", "pa:ss word");
    private static final Deque<AutoCloseable> RUNNING = new ArrayDeque<>();

    @TempDir static Path directory;
    private static TokenServer tokens;
    private static TestImage image;
    private static String withTokens;
    private static String secure;
    private static String expired;
    private static String elsewhere;

    @BeforeAll
    static void start() throws Exception {
        Required.tool("docker-registry", "nginx");
        image = ImageBuilder.oci().layer(tar -> tar.file("a", "b".repeat(100_000))).build();
        startTokens();
        startSecure();
    }

    private static void startTokens() throws Exception {
        tokens = TokenServer.start();
        RUNNING.push(tokens);
        String pair = LOGIN.username() + ':' + LOGIN.password();
        byte[] bytes = pair.getBytes(StandardCharsets.UTF_8);
        tokens.requireAuthorization("Basic " + Base64.getEncoder().encodeToString(bytes));
        tokens.signedBy(AUTHORITY.server("tokens.test"), "the issuer");
        Path roots = Files.writeString(directory.resolve("ca.pem"), AUTHORITY.certificatePem());
        int port = Daemon.freePort();
        RUNNING.push(
                Daemon.dockerRegistry(
                        directory,
                        port,
                        """
                        auth:
                          token:
                            realm: %s
                            service: the service
                            issuer: the issuer
                            rootcertbundle: %s
                        """
                                .formatted(tokens.realm(), roots)));
        withTokens = "localhost:" + port;
    }

    private static void startSecure() throws Exception {
        String hash =
                OpenBSDBCrypt.generate(
                        "2y",
                        LOGIN.password().toCharArray(),
                        "0123456789abcdef".getBytes(StandardCharsets.US_ASCII),
                        4);
        Path users =
                Files.writeString(
                        directory.resolve("htpasswd"), LOGIN.username() + ':' + hash + '\n');
        int plain = Daemon.freePort();
        RUNNING.push(
                Daemon.dockerRegistry(
                        directory,
                        plain,
                        """
                        auth:
                          htpasswd:
                            realm: the realm
                            path: %s
                        """
                                .formatted(users)));
        int[] ports = {Daemon.freePort(), Daemon.freePort(), Daemon.freePort()};
        StringBuilder servers = new StringBuilder();
        TestAuthority.Identity[] identities = {
            AUTHORITY.server("localhost"),
            AUTHORITY.expiredServer("localhost"),
            AUTHORITY.server("elsewhere.test")
        };
        for (int i = 0; i < ports.length; i++) {
            servers.append(server(ports[i], plain, identities[i]));
        }
        Path config =
                Files.writeString(
                        directory.resolve("nginx.conf"),
                        """
                        %sdaemon off;
                        pid %2$s/nginx.pid;
                        error_log %2$s/nginx-error.log;
                        events {}
                        http {
                          access_log off;
                          client_max_body_size 0;
                          client_body_temp_path %2$s/body;
                          proxy_temp_path %2$s/proxy;
                          fastcgi_temp_path %2$s/fastcgi;
                          uwsgi_temp_path %2$s/uwsgi;
                          scgi_temp_path %2$s/scgi;
                        %3$s}
                        """
                                .formatted(
                                        System.getProperty("user.name").equals("root")
                                                ? "user root;\n"
                                                : "",
                                        directory,
                                        servers));
        RUNNING.push(
                Daemon.start(
                        directory.resolve("nginx.log"),
                        ports[2],
                        "nginx",
                        "-p",
                        directory.toString(),
                        "-c",
                        config.toString()));
        secure = "localhost:" + ports[0];
        expired = "localhost:" + ports[1];
        elsewhere = "localhost:" + ports[2];
    }

    private static String server(int port, int target, TestAuthority.Identity identity)
            throws IOException {
        Path certificate = Files.writeString(directory.resolve(port + ".crt"), identity.chainPem());
        Path key = Files.writeString(directory.resolve(port + ".key"), identity.keyPem());
        return """
                 server {
                   listen 127.0.0.1:%d ssl;
                   ssl_certificate %s;
                   ssl_certificate_key %s;
                   ssl_client_certificate %s;
                   ssl_verify_client on;
                   location / {
                     proxy_pass http://127.0.0.1:%d;
                     proxy_set_header Host $http_host;
                     proxy_set_header X-Forwarded-Proto https;
                   }
                 }
               """
                .formatted(port, certificate, key, directory.resolve("ca.pem"), target);
    }

    @AfterAll
    static void stop() throws Exception {
        for (AutoCloseable running : RUNNING) {
            running.close();
        }
    }

    private static RegistryHosts https(String authority, TlsSettings tls) {
        RegistryHost host =
                new RegistryHost(
                        RegistryHost.Scheme.HTTPS,
                        authority,
                        "/v2",
                        Set.of(Capability.values()),
                        Map.of(),
                        tls);
        return _ -> List.of(host);
    }

    private static RegistryOptions options(String authority, Credentials credentials) {
        return QUICK.withCredentials(CredentialSource.of(authority, credentials));
    }

    private static RegistryOptions secured(
            String authority, TlsSettings tls, Credentials credentials) {
        return options(authority, credentials).withHosts(https(authority, tls));
    }

    private static void pushAndPull(String authority, RegistryOptions options) throws Exception {
        try (RegistryClient client = RegistryClient.create(options)) {
            Reference reference = Reference.parse(authority + "/team/app:1");
            for (Map.Entry<Digest, Bytes> blob : image.blobs().entrySet()) {
                Bytes content = blob.getValue();
                Descriptor descriptor =
                        new Descriptor("application/octet-stream", blob.getKey(), content.size());
                client.writer().pushBlob(reference, descriptor, BlobSource.of(content), List.of());
            }
            client.writer()
                    .pushManifest(reference, image.manifest(), image.content(), List.of("1"));
            assertEquals(image.manifest(), client.resolve(reference).descriptor());
            for (Map.Entry<Digest, Bytes> blob : image.blobs().entrySet()) {
                Descriptor descriptor =
                        new Descriptor(
                                "application/octet-stream", blob.getKey(), blob.getValue().size());
                assertEquals(blob.getValue(), client.smallBlob(reference, descriptor));
            }
        }
    }

    private static String failure(ErrorKind kind, String authority, RegistryOptions options) {
        return assertFails(
                        kind,
                        () -> {
                            try (RegistryClient client = RegistryClient.create(options)) {
                                client.resolve(Reference.parse(authority + "/team/app:1"));
                            }
                        })
                .getMessage();
    }

    private static void assertSays(String wanted, String message) {
        assertTrue(message.contains(wanted), message);
        assertFalse(message.contains(LOGIN.password()), "a password was shown");
    }

    @Test
    void tokens_right_pushesAndPulls() throws Exception {
        pushAndPull(withTokens, options(withTokens, LOGIN));
        assertTrue(Logins.check(QUICK, withTokens, LOGIN));
    }

    @Test
    void tokens_wrongPassword_saysSo() {
        Credentials wrong = new Credentials.Login("user", "wrong");
        assertSays(
                "the user name or the password for " + withTokens + " is wrong",
                failure(ErrorKind.UNAUTHENTICATED, withTokens, options(withTokens, wrong)));
        ImageException e =
                assertThrows(ImageException.class, () -> Logins.check(QUICK, withTokens, wrong));
        assertSays("the user name or the password for " + withTokens + " is wrong", e.getMessage());
        assertSays("; asked as user user", e.getMessage());
    }

    @Test
    void tokens_none_saysToLogIn() {
        assertSays("log in", failure(ErrorKind.UNAUTHENTICATED, withTokens, QUICK));
    }

    @Test
    void clientCertificate_right_pushesAndPulls() throws Exception {
        RegistryOptions right = secured(secure, AUTHORITY.tls(ME), LOGIN);
        pushAndPull(secure, right);
        assertTrue(Logins.check(right, secure, LOGIN));
    }

    @Test
    void basic_wrongPassword_saysSo() {
        Credentials wrong = new Credentials.Login("user", "wrong");
        assertSays(
                "the user name or the password for " + secure + " is wrong",
                failure(
                        ErrorKind.UNAUTHENTICATED,
                        secure,
                        secured(secure, AUTHORITY.tls(ME), wrong)));
    }

    @Test
    void authority_wrong_saysSo() {
        assertSays(
                "the certificate is not trusted",
                failure(ErrorKind.UNTRUSTED, secure, secured(secure, STRANGER.tls(ME), LOGIN)));
    }

    @Test
    void clientCertificate_missing_saysSo() {
        assertSays(
                "wants a client certificate and none was sent",
                failure(
                        ErrorKind.UNAUTHENTICATED,
                        secure,
                        secured(secure, AUTHORITY.tls(null), LOGIN)));
    }

    @Test
    void clientCertificate_ofAStranger_saysSo() {
        // Shown although the server does not name its issuer, as curl and openssl do.
        TlsSettings tls = AUTHORITY.tls(STRANGER.client("me"));
        String message = failure(ErrorKind.UNAUTHENTICATED, secure, secured(secure, tls, LOGIN));
        assertSays("the server refused this side's certificate", message);
    }

    @Test
    void clientCertificate_expired_saysSo() {
        TlsSettings tls = AUTHORITY.tls(AUTHORITY.expiredClient("me"));
        String message = failure(ErrorKind.UNAUTHENTICATED, secure, secured(secure, tls, LOGIN));
        assertSays("this side's certificate, which has expired: that of CN=me", message);
    }

    @Test
    void server_expired_saysSo() {
        assertSays(
                "the server's certificate has expired",
                failure(ErrorKind.UNTRUSTED, expired, secured(expired, AUTHORITY.tls(ME), LOGIN)));
    }

    @Test
    void server_ofAnotherName_saysSo() {
        assertSays(
                "the certificate is for another host name",
                failure(
                        ErrorKind.UNTRUSTED,
                        elsewhere,
                        secured(elsewhere, AUTHORITY.tls(ME), LOGIN)));
    }

    @Test
    void plainHttp_toAnHttpsPort_saysSo() {
        assertSays(
                "speaks https and was asked with plain http",
                failure(ErrorKind.INVALID_ARGUMENT, secure, options(secure, LOGIN)));
    }
}
