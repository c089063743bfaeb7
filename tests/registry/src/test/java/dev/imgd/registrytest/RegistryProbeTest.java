package dev.imgd.registrytest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.HostsMode;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.RegistryProbe;
import dev.imgd.registry.RegistryProbe.Check;
import dev.imgd.registry.RegistryProbe.Report;
import dev.imgd.registry.RegistryProbe.Resolution;
import dev.imgd.registry.RegistryProbe.Step;
import dev.imgd.testkit.Fault;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestAuthority;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RegistryProbeTest extends Fixture {
    @TempDir Path certs;

    private RegistryOptions configured(String toml) throws IOException {
        Path directory = Files.createDirectories(certs.resolve("r.example"));
        Files.writeString(
                directory.resolve("hosts.toml"),
                "server = \"http://%s\"\n%s".formatted(registry.authority(), toml));
        return QUICK.withHosts(RegistryHosts.directory(List.of(certs), HostsMode.STRICT, Set.of()));
    }

    private List<Report> test(String toml) throws IOException {
        return new RegistryProbe(configured(toml)).test(Reference.parse("r.example/app:1"));
    }

    private static Check check(Report report, Step step) {
        Check check = report.checks().get(step.ordinal());
        assertEquals(step, check.step());
        return check;
    }

    private static String outcomes(Report report) {
        StringBuilder out = new StringBuilder();
        for (Check check : report.checks()) {
            out.append(out.isEmpty() ? "" : " ").append(check.outcome());
        }
        return out.toString();
    }

    private static int closedPort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    @Test
    void test_goodRegistry_everyStepIsFine() throws Exception {
        TestImage image = pushImage();
        Report report = test("").getFirst();
        assertEquals("OK OK SKIPPED OK OK OK", outcomes(report));
        assertEquals(image.manifest().digest().toString(), check(report, Step.RESOLVE).detail());
        assertEquals("no credentials wanted", check(report, Step.AUTH).detail());
    }

    @Test
    void test_deadMirror_isNamedAndTheRestIsLookedAt() throws Exception {
        pushImage();
        List<Report> reports = test("[host.\"http://localhost:" + closedPort() + "\"]\n");
        assertEquals("OK FAILED SKIPPED SKIPPED SKIPPED SKIPPED", outcomes(reports.getFirst()));
        assertTrue(
                check(reports.getFirst(), Step.TCP).detail().contains("connection refused"),
                check(reports.getFirst(), Step.TCP).detail());
        assertEquals("OK OK SKIPPED OK OK OK", outcomes(reports.getLast()));
    }

    @Test
    void test_unknownName_failsAtDns() throws Exception {
        pushImage();
        Report report = test("[host.\"https://does-not-exist.invalid\"]\n").getFirst();
        assertEquals("FAILED SKIPPED SKIPPED SKIPPED SKIPPED SKIPPED", outcomes(report));
        assertTrue(check(report, Step.DNS).detail().contains("check the name and DNS"));
    }

    @Test
    void test_tls_saysWhatTheCertificateIsAndWhatIsWrong() throws Exception {
        TestAuthority authority = TestAuthority.create("private");
        TestImage image = pushImage();
        Path ca = Files.writeString(certs.resolve("ca.pem"), authority.certificatePem());
        try (InMemoryRegistry mirror =
                InMemoryRegistry.startTls(authority.server("localhost"), null)) {
            mirror.push("app", "1", image);
            String host = "[host.\"https://%s\"]\n".formatted(mirror.authority());
            Report untrusted = test(host).getFirst();
            assertEquals("OK OK FAILED SKIPPED SKIPPED SKIPPED", outcomes(untrusted));
            assertTrue(check(untrusted, Step.TLS).detail().contains("not trusted"));
            Report trusted = test(host + "ca = \"" + ca + "\"\n").getFirst();
            assertEquals("OK OK OK OK OK OK", outcomes(trusted));
            assertTrue(
                    check(trusted, Step.TLS).detail().startsWith("TLSv1.3, certificate of CN="),
                    check(trusted, Step.TLS).detail());
            Report lax = test(host + "skip_verify = true\n").getFirst();
            assertEquals("OK OK WARNING OK OK OK", outcomes(lax));
        }
    }

    @Test
    void test_httpsToAPlainPort_failsAtTls() throws Exception {
        pushImage();
        Report report = test("[host.\"https://%s\"]\n".formatted(registry.authority())).getFirst();
        assertEquals("OK OK FAILED SKIPPED SKIPPED SKIPPED", outcomes(report));
        assertTrue(
                check(report, Step.TLS).detail().contains("TLS: "),
                check(report, Step.TLS).detail());
    }

    @Test
    void test_credentialsMissing_failsAtAuth() throws Exception {
        pushImage();
        try (TokenServer tokens = TokenServer.start()) {
            tokens.answer(exchange -> exchange.respond(401, java.util.Map.of(), new byte[0]));
            registry.requireToken(tokens);
            Report report = test("").getFirst();
            assertEquals("OK OK SKIPPED FAILED SKIPPED SKIPPED", outcomes(report));
            assertEquals(ErrorKind.UNAUTHENTICATED, report.failure().orElseThrow().kind());
        }
        try (TokenServer tokens = TokenServer.start()) {
            registry.requireToken(tokens);
            Report report = test("").getFirst();
            assertEquals("OK OK SKIPPED OK OK OK", outcomes(report));
            assertEquals("with a token", check(report, Step.AUTH).detail());
        }
    }

    @Test
    void test_imageMissing_failsAtResolve() throws Exception {
        Report report = test("").getFirst();
        assertEquals("OK OK SKIPPED OK FAILED SKIPPED", outcomes(report));
        assertEquals(ErrorKind.NOT_FOUND, report.failure().orElseThrow().kind());
    }

    @Test
    void test_rangesIgnored_isAWarning() throws Exception {
        pushImage();
        registry.always("/blobs/", Fault.rangeIgnored());
        Report report = test("").getFirst();
        assertEquals("OK OK SKIPPED OK OK WARNING", outcomes(report));
        assertTrue(report.failure().isEmpty());
    }

    @Test
    void test_nobodyMayResolve_failsAndSaysWhatToAdd() throws Exception {
        pushImage();
        Report report = test("capabilities = [\"pull\"]\n").getFirst();
        assertEquals("OK OK SKIPPED OK FAILED SKIPPED", outcomes(report));
        assertEquals(ErrorKind.FAILED_PRECONDITION, report.failure().orElseThrow().kind());
        assertTrue(check(report, Step.RESOLVE).detail().contains("add \"resolve\""));
    }

    @Test
    void test_mirrorThatMayOnlyPull_isTriedWithTheRegistrysDigest() throws Exception {
        TestImage image = pushImage();
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            mirror.push("app", "other-tag", image);
            Report report =
                    test("[host.\"http://%s\"]\ncapabilities = [\"pull\"]\n"
                                    .formatted(mirror.authority()))
                            .getFirst();
            assertEquals("OK OK SKIPPED OK OK OK", outcomes(report));
        }
    }

    @Test
    void resolve_severalHosts_eachAnswers() throws Exception {
        TestImage image = pushImage();
        try (InMemoryRegistry stale = InMemoryRegistry.start();
                InMemoryRegistry pulls = InMemoryRegistry.start()) {
            stale.push(
                    "app",
                    "1",
                    dev.imgd.testkit.ImageBuilder.oci()
                            .layer(tar -> tar.file("etc/motd", "old\n"))
                            .build());
            RegistryOptions options =
                    configured(
                            """
                            [host."http://%s"]
                            [host."http://%s"]
                            capabilities = ["pull"]
                            [host."http://localhost:%d"]
                            """
                                    .formatted(stale.authority(), pulls.authority(), closedPort()));
            List<Resolution> all =
                    new RegistryProbe(options).resolve(Reference.parse("r.example/app:1"));
            assertEquals(4, all.size());
            assertTrue(all.get(0).manifest().isPresent());
            assertTrue(all.get(1).manifest().isEmpty() && all.get(1).failure().isEmpty());
            assertEquals(ErrorKind.UNAVAILABLE, all.get(2).failure().orElseThrow().kind());
            assertEquals(
                    image.manifest().digest(),
                    all.get(3).manifest().orElseThrow().descriptor().digest());
            assertEquals(List.of(), pulls.accessLog());
            assertEquals(1, stale.accessLog().size());
        }
    }
}
