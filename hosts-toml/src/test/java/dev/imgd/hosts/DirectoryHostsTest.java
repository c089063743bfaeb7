package dev.imgd.hosts;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DirectoryHostsTest {
    private static final String MIRROR_A = "[host.\"https://a.example\"]\n";
    private static final String MIRROR_B = "[host.\"https://b.example\"]\n";
    private static final String BAD = "[host.\"https://b.example\"]\nskip = 1\n";

    @TempDir Path root;
    private Path file = Path.of("");

    /// A minute after the files were written, so that nothing counts as just written.
    private final Clock later =
            Clock.fixed(Instant.now().plus(Duration.ofMinutes(1)), ZoneOffset.UTC);

    @BeforeEach
    void directory() throws IOException {
        file = Files.createDirectories(root.resolve("r.example")).resolve("hosts.toml");
    }

    private DirectoryHosts hosts(HostsMode mode) {
        return new DirectoryHosts(List.of(root), mode, Set.of(), later);
    }

    private static String first(RegistryHosts hosts) throws ImageException {
        return hosts.hostsFor("r.example").getFirst().authority();
    }

    @Test
    void hostsFor_unchangedFile_isNotReadAgain() throws Exception {
        Files.writeString(file, MIRROR_A);
        DirectoryHosts hosts = hosts(HostsMode.STRICT);
        List<RegistryHost> once = hosts.hostsFor("r.example");
        assertSame(once, hosts.hostsFor("r.example"));
    }

    @Test
    void hostsFor_fileJustWritten_isReadAgain() throws Exception {
        Files.writeString(file, MIRROR_A);
        DirectoryHosts hosts =
                new DirectoryHosts(List.of(root), HostsMode.STRICT, Set.of(), Clock.systemUTC());
        List<RegistryHost> once = hosts.hostsFor("r.example");
        List<RegistryHost> twice = hosts.hostsFor("r.example");
        assertNotSame(once, twice);
        assertEquals(once, twice);
    }

    @Test
    void hostsFor_changes_countAtOnce() throws Exception {
        DirectoryHosts hosts = hosts(HostsMode.STRICT);
        assertEquals("r.example", first(hosts));
        Files.writeString(file, MIRROR_A);
        assertEquals("a.example", first(hosts));
        Path other = Files.writeString(root.resolve("other"), MIRROR_B);
        Files.setLastModifiedTime(other, Files.getLastModifiedTime(file));
        Files.move(other, file, StandardCopyOption.ATOMIC_MOVE);
        assertEquals("b.example", first(hosts));
        Files.delete(file);
        assertEquals("r.example", first(hosts));
        Files.delete(file.getParent());
        Files.writeString(
                Files.createDirectories(root.resolve("_default")).resolve("hosts.toml"), MIRROR_A);
        assertEquals("a.example", first(hosts));
    }

    @Test
    void hostsFor_certificateRenewed_isOtherSettings() throws Exception {
        Path ca = Files.writeString(file.resolveSibling("ca.crt"), "one");
        DirectoryHosts hosts = hosts(HostsMode.STRICT);
        TlsSettings before = hosts.hostsFor("r.example").getFirst().tls();
        Files.writeString(file, "# the same settings\nca = \"ca.crt\"\n");
        assertEquals(before, hosts.hostsFor("r.example").getFirst().tls());
        Files.writeString(ca, "another");
        assertNotEquals(before, hosts.hostsFor("r.example").getFirst().tls());
    }

    @Test
    void hostsFor_severalRoots_firstWithADirectoryDecides() throws Exception {
        Path first = Files.createDirectories(root.resolve("first"));
        Path second = Files.createDirectories(root.resolve("second/r.example"));
        Files.writeString(second.resolve("hosts.toml"), MIRROR_B);
        RegistryHosts hosts =
                RegistryHosts.directory(
                        List.of(root.resolve("none"), first, second.getParent()),
                        HostsMode.STRICT,
                        Set.of());
        assertEquals("b.example", first(hosts));
        Path better = Files.createDirectories(first.resolve("_default"));
        Files.writeString(better.resolve("hosts.toml"), MIRROR_A);
        assertEquals("a.example", first(hosts));
        assertEquals(Optional.of(better), hosts.listing("r.example").directory());
    }

    @Test
    void hostsFor_badFromTheStart_failsEveryTimeUntilRepaired() throws Exception {
        Files.writeString(file, BAD);
        DirectoryHosts hosts = hosts(HostsMode.STRICT);
        for (int i = 0; i < 2; i++) {
            ImageException e =
                    assertThrows(ImageException.class, () -> hosts.hostsFor("r.example"));
            assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
            assertTrue(e.getMessage().startsWith(file + ": line 2, column 1: "), e.getMessage());
        }
        Files.writeString(file, MIRROR_A);
        assertEquals("a.example", first(hosts));
        assertEquals(0, hosts.badFiles());
    }

    @Test
    void hostsFor_becomesBad_lastGoodStateStaysAndIsCounted() throws Exception {
        Files.writeString(file, MIRROR_A);
        DirectoryHosts hosts = hosts(HostsMode.STRICT);
        assertEquals("a.example", first(hosts));
        Files.writeString(file, BAD);
        assertEquals("a.example", first(hosts));
        assertEquals("a.example", first(hosts));
        assertEquals(1, hosts.badFiles());
        String warning = hosts.listing("r.example").warnings().getFirst();
        assertTrue(warning.contains("line 2") && warning.contains("last good"), warning);
        Files.writeString(file, MIRROR_B);
        assertEquals("b.example", first(hosts));
        assertEquals(List.of(), hosts.listing("r.example").warnings());
    }

    @Test
    void hostsFor_badInContainerdMode_certificatesAloneAndCounted() throws Exception {
        Files.writeString(file, MIRROR_A);
        Files.writeString(file.resolveSibling("ca.crt"), "x");
        DirectoryHosts hosts = hosts(HostsMode.CONTAINERD);
        assertEquals("a.example", first(hosts));
        Files.writeString(file, "[host");
        List<RegistryHost> fallback = hosts.hostsFor("r.example");
        assertEquals("https://r.example/v2", fallback.getFirst().url());
        assertEquals("ca " + file.resolveSibling("ca.crt"), fallback.getFirst().tls().toString());
        assertSame(fallback, hosts.hostsFor("r.example"));
        assertEquals(1, hosts.badFiles());
        assertEquals(1, hosts.listing("r.example").warnings().size());
    }

    @Test
    void hostsFor_unknownKeysInContainerdMode_passedOverAndCounted() throws Exception {
        Files.writeString(file, MIRROR_A + "skip = 1\nskip_verfy = true\nskip_verify = true\n");
        DirectoryHosts hosts = hosts(HostsMode.CONTAINERD);
        assertEquals("a.example", first(hosts));
        assertEquals("a.example", first(hosts));
        assertEquals(1, hosts.badFiles());
        List<String> warnings = hosts.listing("r.example").warnings();
        assertEquals(3, warnings.size(), warnings.toString());
        assertTrue(warnings.get(0).contains("line 2") && warnings.get(0).endsWith("does"));
        assertTrue(warnings.get(1).contains("did you mean \"skip_verify\"?"), warnings.get(1));
        Files.writeString(file, MIRROR_B + "skip_verify = true\n");
        assertEquals("b.example", first(hosts));
        assertEquals(1, hosts.listing("r.example").warnings().size());
        assertEquals(1, hosts.badFiles(), "a doubtful setting is not a bad file");
        Files.writeString(file, MIRROR_A + "skip = 1\n");
        assertEquals("a.example", first(hosts));
        assertEquals(2, hosts.badFiles());
    }

    /// Every list is that of one of two files, however often they change places.
    @Test
    void hostsFor_whileTheFileIsReplaced_isOldOrNew() throws Exception {
        String a = (MIRROR_A + "[host.\"https://aa.example\"]\n") + "#".repeat(50_000);
        Files.writeString(file, a);
        DirectoryHosts hosts =
                new DirectoryHosts(List.of(root), HostsMode.STRICT, Set.of(), Clock.systemUTC());
        AtomicBoolean done = new AtomicBoolean();
        AtomicReference<IOException> failure = new AtomicReference<>();
        Thread writer =
                Thread.ofPlatform()
                        .start(
                                () -> {
                                    try {
                                        Path temporary = root.resolve("temporary");
                                        for (int i = 0; !done.get(); i++) {
                                            Files.writeString(temporary, i % 2 == 0 ? MIRROR_B : a);
                                            Files.move(
                                                    temporary,
                                                    file,
                                                    StandardCopyOption.ATOMIC_MOVE);
                                        }
                                    } catch (IOException e) {
                                        failure.set(e);
                                    }
                                });
        try {
            for (int i = 0; i < 300; i++) {
                List<RegistryHost> got = hosts.hostsFor("r.example");
                assertEquals(got.getFirst().authority().equals("a.example") ? 3 : 2, got.size());
            }
        } finally {
            done.set(true);
            writer.join();
        }
        assertEquals(null, failure.get());
        assertEquals(0, hosts.badFiles());
    }

    /// A header may be a password.
    @ParameterizedTest
    @ValueSource(
            strings = {
                "'Basic' hunter2",
                "hunter2",
                "Basic hunter2",
                "\"\\hunter2\"",
                "\"hunter2",
                "'hunter2",
                "[hunter2]",
                "7hunter2",
                "\"hunter2\u0001\""
            })
    void hostsFor_notToml_quotesNothing(String value) throws Exception {
        Files.writeString(file, "[header]\nauthorization = " + value + "\n");
        ImageException e =
                assertThrows(
                        ImageException.class, () -> hosts(HostsMode.STRICT).hostsFor("r.example"));
        assertTrue(e.getMessage().contains("hosts.toml: line 2, column "), e.getMessage());
        StringWriter all = new StringWriter();
        e.printStackTrace(new PrintWriter(all));
        assertFalse(all.toString().contains("unter"), all::toString);
    }

    @Test
    void hostsFor_hostileFile_isAnErrorAndNothingElse() throws Exception {
        List<String> texts =
                List.of(
                        "a = " + "[".repeat(200_000),
                        "a = " + "{b=".repeat(60_000),
                        "a" + ".a".repeat(100_000) + " = 1",
                        "x".repeat(300_000),
                        "[host.\"" + "a".repeat(200_000) + "/\"]\nx=1",
                        "\u0000");
        for (String text : texts) {
            Files.writeString(file, text);
            ImageException e =
                    assertThrows(
                            ImageException.class,
                            () -> hosts(HostsMode.STRICT).hostsFor("r.example"));
            assertTrue(e.getMessage().length() < 1_500, "" + e.getMessage().length());
            assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
        }
        Files.write(file, new byte[] {'a', (byte) 0xc3, 'b'});
        assertThrows(ImageException.class, () -> hosts(HostsMode.STRICT).hostsFor("r.example"));
    }

    @Test
    void listing_namesFileAndLine() throws Exception {
        Files.writeString(file, "server = \"https://o.example\"\n\n" + MIRROR_A);
        HostListing listing = hosts(HostsMode.STRICT).listing("r.example");
        assertEquals(
                List.of(file + ":3", file + ":1"),
                listing.entries().stream().map(HostListing.Entry::from).toList());
        assertEquals(List.of(), listing.warnings());
    }

    @Test
    void listing_doubtfulSettings_warns() throws Exception {
        Files.writeString(
                file,
                "[host.\"https://a.example\"]\nskip_verify = true\n"
                        + "[host.\"http://b.example\"]\nca = \"x\"\n");
        List<String> warnings = hosts(HostsMode.STRICT).listing("r.example").warnings();
        assertEquals(2, warnings.size());
        assertTrue(warnings.get(0).startsWith(file + ":1: skip_verify"), warnings.get(0));
        assertTrue(warnings.get(1).contains("plain http does not use"), warnings.get(1));
    }
}
