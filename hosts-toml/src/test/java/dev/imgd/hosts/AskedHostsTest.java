package dev.imgd.hosts;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What is asked of a `hosts.toml` that names a place twice. The list of hosts stays that of
/// containerd.
class AskedHostsTest {
    private static final String X = "https://x.example";
    private static final String TABLE = "[host.\"" + X + "\"]\n";
    private static final String OTHER = "[host.\"https://m.example\"]\n";
    private static final String ALL = " pull,resolve,push,referrers";

    @TempDir Path directory;

    private RegistryHosts hosts(String registry, String toml) throws IOException {
        Path place = Files.createDirectories(directory.resolve(registry));
        Files.writeString(place.resolve("hosts.toml"), toml);
        return RegistryHosts.directory(List.of(directory), HostsMode.STRICT, Set.of());
    }

    private static String describe(RegistryHost host) {
        StringBuilder out = new StringBuilder(host.url());
        String between = " ";
        for (Capability capability : new TreeSet<>(host.capabilities())) {
            out.append(between).append(capability.name().toLowerCase(Locale.ROOT));
            between = ",";
        }
        host.headers().forEach((name, values) -> out.append(' ').append(name).append(values));
        if (!host.tls().equals(TlsSettings.SYSTEM)) {
            String tls = host.tls().toString();
            out.append(' ').append(tls.substring(tls.lastIndexOf('/') + 1));
        }
        host.dialTimeout().ifPresent(time -> out.append(' ').append(time));
        return out.append(host.role() == RegistryHost.Role.MIRROR ? " mirror" : "").toString();
    }

    private void assertAsked(String toml, int listed, String... asked) throws IOException {
        RegistryHosts hosts = hosts("r.example", toml);
        assertEquals(listed, hosts.hostsFor("r.example").size(), toml);
        assertEquals(listed, hosts.listing("r.example").entries().size(), toml);
        List<String> got = new ArrayList<>();
        hosts.asked("r.example").forEach(host -> got.add(describe(host)));
        assertEquals(List.of(asked), got, toml);
    }

    @Test
    void asked_serverAndTableOfOnePlace_isOneHost() throws Exception {
        assertAsked("server = \"" + X + "\"\n" + TABLE, 2, X + "/v2" + ALL);
        assertAsked("server = \"x.example\"\n" + TABLE, 2, X + "/v2" + ALL);
        assertAsked("[host.\"https://r.example\"]\n", 2, "https://r.example/v2" + ALL);
        assertAsked(
                "server = \"" + X + "\"\n" + TABLE + OTHER,
                3,
                X + "/v2" + ALL,
                "https://m.example/v2" + ALL + " mirror");
    }

    @Test
    void asked_settingsOfOneOfThem_countForBoth() throws Exception {
        assertAsked(
                "server = \"" + X + "\"\n" + TABLE + "ca = \"a.pem\"\ndial_timeout = \"2s\"\n",
                2,
                X + "/v2" + ALL + " a.pem PT2S");
        assertAsked(
                "server = \"" + X + "\"\nca = \"a.pem\"\n" + TABLE, 2, X + "/v2" + ALL + " a.pem");
        assertAsked(
                "server = \"" + X + "\"\nca = \"a.pem\"\n" + TABLE + "ca = \"a.pem\"\n",
                2,
                X + "/v2" + ALL + " a.pem");
    }

    @Test
    void asked_differentSettings_areTwoHosts() throws Exception {
        assertAsked(
                "server = \"" + X + "\"\nca = \"a.pem\"\n" + TABLE + "ca = \"b.pem\"\n",
                2,
                X + "/v2" + ALL + " b.pem mirror",
                X + "/v2" + ALL + " a.pem");
    }

    /// As containerd asks them: who verifies goes on to verify, whatever the other entry says.
    @Test
    void asked_onlyOneVerifies_areTwoHosts() throws Exception {
        String skips = "skip_verify = true\n";
        String server = "server = \"" + X + "\"\n";
        for (String verifies : List.of("", "skip_verify = false\n")) {
            assertAsked(
                    server + skips + TABLE + verifies,
                    2,
                    X + "/v2" + ALL + " mirror",
                    X + "/v2" + ALL + " not verified");
            assertAsked(
                    server + verifies + TABLE + skips,
                    2,
                    X + "/v2" + ALL + " not verified mirror",
                    X + "/v2" + ALL);
        }
        assertAsked(
                server + skips + TABLE + "ca = \"a.pem\"\n",
                2,
                X + "/v2" + ALL + " a.pem mirror",
                X + "/v2" + ALL + " not verified");
        assertAsked(server + skips + TABLE + skips, 2, X + "/v2" + ALL + " not verified");
        assertAsked(
                server + "skip_verify = false\n" + TABLE + "dial_timeout = \"2s\"\n",
                2,
                X + "/v2" + ALL + " PT2S");
    }

    @Test
    void asked_capabilities_eachOnce() throws Exception {
        assertAsked(
                "server = \"" + X + "\"\n" + TABLE + "capabilities = [\"pull\"]\nca = \"a.pem\"\n",
                2,
                X + "/v2 pull a.pem",
                X + "/v2 resolve,push,referrers");
        assertAsked(
                "server = \"%s\"\ncapabilities = [\"push\"]\n%scapabilities = [\"pull\"]\nca = \"a.pem\"\n"
                        .formatted(X, TABLE),
                2,
                X + "/v2 pull a.pem mirror",
                X + "/v2 push");
    }

    @Test
    void asked_otherPlaceOrOtherNames_areTwoHosts() throws Exception {
        for (String table :
                List.of(
                        "[host.\"http://x.example\"]\n",
                        "[host.\"https://x.example:8443\"]\n",
                        "[host.\"https://x.example/hub\"]\n",
                        TABLE + "[host.\"" + X + "\".rewrite]\n\"^a/(.*)\" = \"b/$1\"\n")) {
            RegistryHosts hosts = hosts("r.example", "server = \"" + X + "\"\n" + table);
            assertEquals(2, hosts.asked("r.example").size(), table);
        }
    }

    @Test
    void asked_nothingTwice_isTheListItself() throws Exception {
        List<RegistryHost> hosts = hosts("r.example", OTHER).hostsFor("r.example");
        assertSame(hosts, AskedHosts.of(hosts));
    }
}
