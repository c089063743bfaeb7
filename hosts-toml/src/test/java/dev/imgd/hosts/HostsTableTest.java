package dev.imgd.hosts;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// The cases of `hosts.toml`. Each row names the test of containerd that it mirrors, or the rule of
/// containerd's documentation, or ours where we are louder or stricter; `containerd:` in a name
/// says what containerd does instead.
class HostsTableTest {
    private static final String MIRROR = "[host.\"https://m.example\"]\n";

    @TempDir Path directory;

    /// One case.
    ///
    /// @param files by their paths below the root
    /// @param withWarnings whether the warnings of the listing are expected too, after the hosts
    /// @param expected hosts as [#describe] writes them, or one line `error: …`
    private record Row(
            String mirrors,
            String registry,
            HostsMode mode,
            Set<String> plainHttp,
            Map<String, String> files,
            boolean withWarnings,
            List<String> expected) {
        @Override
        public String toString() {
            return mirrors + ": " + registry;
        }
    }

    private static Row row(
            String mirrors, String registry, Map<String, String> files, String... expected) {
        return new Row(
                mirrors, registry, HostsMode.STRICT, Set.of(), files, false, List.of(expected));
    }

    private static Row plain(
            String mirrors, String registry, Map<String, String> files, String... expected) {
        return new Row(
                mirrors,
                registry,
                HostsMode.STRICT,
                Set.of(registry),
                files,
                false,
                List.of(expected));
    }

    /// The registry is `r.example` and the file is its `hosts.toml`.
    private static Row toml(String mirrors, String toml, String... expected) {
        return row(mirrors, "r.example", Map.of("r.example/hosts.toml", toml), expected);
    }

    private static Row lenient(String mirrors, String toml, String... expected) {
        return new Row(
                mirrors,
                "r.example",
                HostsMode.CONTAINERD,
                Set.of(),
                Map.of("r.example/hosts.toml", toml),
                false,
                List.of(expected));
    }

    /// With what the listing warns of.
    private static Row warned(String mirrors, String registry, String toml, String... expected) {
        return new Row(
                mirrors,
                registry,
                HostsMode.STRICT,
                Set.of(),
                Map.of(registry + "/hosts.toml", toml),
                true,
                List.of(expected));
    }

    @ParameterizedTest
    @MethodSource({
        "lookup",
        "parseHostFile",
        "certificates",
        "httpFallback",
        "loud",
        "types",
        "urls",
        "compatible"
    })
    void hosts_ofEveryCase_areAsExpected(Row row) throws IOException {
        for (Map.Entry<String, String> file : row.files.entrySet()) {
            Path path = directory.resolve(file.getKey());
            if (file.getKey().endsWith("/")) {
                Files.createDirectories(path);
            } else {
                Files.createDirectories(path.getParent());
                Files.writeString(path, file.getValue());
            }
        }
        RegistryHosts hosts =
                RegistryHosts.directory(
                        List.of(directory.resolve("absent"), directory), row.mode, row.plainHttp);
        List<String> got = new ArrayList<>();
        try {
            hosts.hostsFor(row.registry).forEach(host -> got.add(describe(host)));
            if (row.withWarnings) {
                hosts.listing(row.registry).warnings().forEach(text -> got.add("warning: " + text));
            }
        } catch (ImageException e) {
            assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind(), row.toString());
            got.add("error: " + e.getMessage());
        }
        String root = directory + "/";
        assertEquals(
                String.join("\n", row.expected),
                String.join("\n", got).replace(root, ""),
                row.toString());
    }

    private static String describe(RegistryHost host) {
        StringBuilder out = new StringBuilder(host.url());
        if (!host.capabilities().equals(HostEntry.ALL)) {
            out.append(" can ").append(new TreeSet<>(host.capabilities()));
        }
        if (host.tls() != TlsSettings.SYSTEM) {
            out.append(" tls ").append(host.tls());
        }
        if (!host.headers().isEmpty()) {
            out.append(" header ").append(host.headers());
        }
        host.dialTimeout().ifPresent(timeout -> out.append(" dial ").append(timeout));
        host.namespace().ifPresent(namespace -> out.append(" ns ").append(namespace));
        if (!host.rewrites().isEmpty()) {
            out.append(" rewrite ").append(host.rewrites());
        }
        return out.append(host.role() == RegistryHost.Role.MIRROR ? " mirror" : "").toString();
    }

    static List<Row> lookup() {
        String a = "server = \"https://a.example\"";
        String b = "server = \"https://b.example\"";
        String own = "https://a.example/v2 ns ";
        String other = "https://b.example/v2 ns ";
        return List.of(
                row("TestDefaultHosts", "docker.io", Map.of(), "https://registry-1.docker.io/v2"),
                row("hostPaths: no directory", "r.example", Map.of(), "https://r.example/v2"),
                row(
                        "hostPaths: the name",
                        "r.example",
                        Map.of("r.example/hosts.toml", a, "_default/hosts.toml", b),
                        own + "r.example"),
                row(
                        "hostPaths: _default",
                        "r.example",
                        Map.of("s.example/hosts.toml", a, "_default/hosts.toml", b),
                        other + "r.example"),
                row(
                        "hostPaths: host_port_ before host:port",
                        "r.example:5000",
                        Map.of(
                                "r.example_5000_/hosts.toml", a,
                                "r.example:5000/hosts.toml", b),
                        own + "r.example:5000"),
                row(
                        "hostPaths: host:port",
                        "r.example:5000",
                        Map.of("r.example:5000/hosts.toml", a, "r.example/hosts.toml", b),
                        own + "r.example:5000"),
                row(
                        "hostPaths: the host without its port is another registry",
                        "r.example:5000",
                        Map.of("r.example/hosts.toml", a),
                        "https://r.example:5000/v2"),
                row(
                        "hostPaths: IPv6",
                        "[::1]:5000",
                        Map.of("[::1]_5000_/hosts.toml", a),
                        own + "[::1]:5000"),
                row(
                        "hostPaths: an existing directory is not merged with _default",
                        "r.example",
                        Map.of("r.example/", "", "_default/hosts.toml", b),
                        "https://r.example/v2"),
                row(
                        "hostPaths: a file in place of the directory",
                        "r.example",
                        Map.of("r.example", a),
                        "error: r.example: wanted a directory with hosts.toml in it, got a file"),
                row(
                        "docs/hosts.md: docker.io with a mirror",
                        "docker.io",
                        Map.of(
                                "docker.io/hosts.toml",
                                "[host.\"https://m.example\"]\n capabilities = [\"pull\"]\n"),
                        "https://m.example/v2 can [PULL] ns docker.io mirror",
                        "https://registry-1.docker.io/v2"),
                row(
                        "docs/hosts.md: server docker.io (containerd: https://docker.io, which"
                                + " serves nothing)",
                        "docker.io",
                        Map.of(
                                "docker.io/hosts.toml",
                                "server = \"https://docker.io\"\n"
                                        + "[host.\"https://registry-1.docker.io\"]\n"),
                        "https://registry-1.docker.io/v2",
                        "https://registry-1.docker.io/v2"));
    }

    static List<Row> parseHostFile() {
        String file =
                """
                server = "https://origin.example"
                ca = "/pki/origin.pem"
                [header]
                  x-who = "origin"

                [host."https://one.example"]
                  capabilities = ["pull"]
                  ca = "/pki/one.pem"
                  skip_verify = false
                  [host."https://one.example".header]
                    x-who = ["one", "first"]

                [host."https://two.example/us"]
                  capabilities = ["PULL"]
                  skip_verify = true

                [host."http://one.example"]
                  capabilities = ["pull"]

                [host."https://three.example"]
                  capabilities = ["pull", "resolve", "push", "referrers"]
                  ca = ["/pki/three.pem", "relative.pem"]
                  client = [["/pki/c.cert", "/pki/c.key"], ["/pki/both.pem", ""]]

                [host."https://four.example"]
                  client = "/pki/both.pem"

                [host."https://five.example"]
                  client = ["/pki/1.pem", ["/pki/2.pem", "/pki/2.key"]]

                [host."https://six.example"]
                  capabilities = ["pull", "resolve", "push"]
                  client = ["/pki/1.pem", "/pki/2.pem"]

                [host."https://seven.example/v2/prefix"]
                  capabilities = ["pull"]
                  override_path = true

                [host."https://eight.example"]
                  override_path = true

                [host."https://nine.example".header]
                  x-who = "nine"

                [host."https://ten.example"]
                  dial_timeout = "3s"
                """;
        return List.of(
                toml(
                        "TestParseHostFile: twelve hosts",
                        file,
                        "https://one.example/v2 can [PULL] tls ca /pki/one.pem"
                                + " header {x-who=[one, first]} ns r.example mirror",
                        "https://two.example/us/v2 can [PULL] tls not verified ns r.example mirror",
                        "http://one.example/v2 can [PULL] ns r.example mirror",
                        "https://three.example/v2 tls ca /pki/three.pem r.example/relative.pem,"
                                + " client /pki/c.cert with /pki/c.key, client /pki/both.pem"
                                + " ns r.example mirror",
                        "https://four.example/v2 tls client /pki/both.pem ns r.example mirror",
                        "https://five.example/v2 tls client /pki/1.pem,"
                                + " client /pki/2.pem with /pki/2.key ns r.example mirror",
                        "https://six.example/v2 can [PULL, RESOLVE, PUSH] tls client /pki/1.pem,"
                                + " client /pki/2.pem ns r.example mirror",
                        "https://seven.example/v2/prefix can [PULL] ns r.example mirror",
                        "https://eight.example ns r.example mirror",
                        "https://nine.example/v2 header {x-who=[nine]} ns r.example mirror",
                        "https://ten.example/v2 dial PT3S ns r.example mirror",
                        "https://origin.example/v2 tls ca /pki/origin.pem"
                                + " header {x-who=[origin]} ns r.example"),
                toml(
                        "TestParseHostFile: no server, the root keeps its settings",
                        "ca = \"a.pem\"\ndial_timeout = \"1m30.5s\"\n[header]\nx = \"y\"\n",
                        "https://r.example/v2 tls ca r.example/a.pem header {x=[y]} dial PT1M30.5S"),
                toml(
                        "parseHostConfig: without a scheme it is https",
                        "server = \"o.example:5000\"\n[host.\"m.example\"]\n",
                        "https://m.example/v2 ns r.example mirror",
                        "https://o.example:5000/v2 ns r.example"),
                toml(
                        "parseHostConfig: a host beginning with http (containerd: misread)",
                        "[host.\"httpbin.example:5000\"]\n",
                        "https://httpbin.example:5000/v2 ns r.example mirror",
                        "https://r.example/v2"),
                toml(
                        "parseHostConfig: the path is cleaned",
                        "server = \"https://o.example//a/./b/../c/\"\n[host.\"https://m.example/\"]",
                        "https://m.example/v2 ns r.example mirror",
                        "https://o.example/a/c/v2 ns r.example"),
                toml(
                        "parseHostConfig: /v2 at the end is not doubled",
                        "server = \"https://o.example/x/v2/\"",
                        "https://o.example/x/v2 ns r.example"),
                toml(
                        "parseHostConfig: no capabilities are all",
                        "[host.\"https://m.example\"]\ncapabilities = []\n",
                        "https://m.example/v2 ns r.example mirror",
                        "https://r.example/v2"),
                toml(
                        "parseHostConfig: server of a mirror forbids the registry",
                        "server = \"https://m.example\"\ncapabilities = [\"pull\", \"resolve\"]",
                        "https://m.example/v2 can [PULL, RESOLVE] ns r.example"),
                toml(
                        "isProxy: the registry itself gets no ns",
                        "[host.\"https://R.example\"]\n",
                        "https://r.example/v2",
                        "https://r.example/v2"),
                toml(
                        "getSortedHosts: the order of the first brackets",
                        """
                        [host."https://c.example".header]
                        x = "1"
                        [host."https://a.example"]
                        [host."https://b.example"]
                        [host."https://c.example"]
                        """,
                        "https://c.example/v2 header {x=[1]} ns r.example mirror",
                        "https://a.example/v2 ns r.example mirror",
                        "https://b.example/v2 ns r.example mirror",
                        "https://r.example/v2"),
                toml(
                        "k3s: rewrite for a mirror, not for the server",
                        """
                        server = "https://o.example"
                        [host."https://m.example"]
                        [host."https://m.example".rewrite]
                        "^rancher/(.*)" = "mirror/$1"
                        "(?P<a>.*)" = "all/${a}"
                        """,
                        "https://m.example/v2 ns r.example"
                                + " rewrite [^rancher/(.*) -> mirror/$1, (?P<a>.*) -> all/${a}]"
                                + " mirror",
                        "https://o.example/v2 ns r.example"),
                toml("loadHostDir: an empty file", "", "https://r.example/v2"),
                toml("loadHostDir: only a comment", "# nothing\n", "https://r.example/v2"));
    }

    static List<Row> certificates() {
        return List.of(
                row(
                        "TestLoadCertFiles: crt only",
                        "r.example",
                        Map.of("r.example/ca.crt", "x"),
                        "https://r.example/v2 tls ca r.example/ca.crt"),
                row(
                        "TestLoadCertFiles: crt and cert pair",
                        "r.example",
                        ordered("r.example/ca.crt", "r.example/c.cert", "r.example/c.key"),
                        "https://r.example/v2 tls ca r.example/ca.crt,"
                                + " client r.example/c.cert with r.example/c.key"),
                row(
                        "TestLoadCertFiles: cert pair only",
                        "r.example",
                        ordered("r.example/c.cert", "r.example/c.key"),
                        "https://r.example/v2 tls client r.example/c.cert with r.example/c.key"),
                row(
                        "loadCertFiles: the key is in the cert",
                        "r.example",
                        ordered("r.example/c.cert", "r.example/other.key"),
                        "https://r.example/v2 tls client r.example/c.cert"),
                row(
                        "loadCertFiles: beside an empty hosts.toml",
                        "r.example",
                        Map.of("r.example/ca.crt", "x", "r.example/hosts.toml", ""),
                        "https://r.example/v2 tls ca r.example/ca.crt"),
                row(
                        "loadCertFiles: not beside a hosts.toml",
                        "r.example",
                        Map.of("r.example/ca.crt", "x", "r.example/hosts.toml", "[header]\na='b'"),
                        "https://r.example/v2 header {a=[b]}"),
                row(
                        "loadCertFiles: for a loopback registry (containerd: not verified)",
                        "localhost:5000",
                        Map.of("localhost:5000/ca.crt", "x"),
                        "https://localhost:5000/v2 tls ca localhost:5000/ca.crt"));
    }

    private static Map<String, String> ordered(String... names) {
        Map<String, String> files = new LinkedHashMap<>();
        for (String name : names) {
            files.put(name, "x");
        }
        return files;
    }

    /// containerd's default scheme http is `plain_http` here, https is `server`, and its default
    /// TLS settings without verification are `skip_verify` at the top level. Where containerd tries
    /// https and then http, we decide once: who can disturb a handshake must not choose the scheme.
    static List<Row> httpFallback() {
        String[][] cases = {
            {"localhost:8080", "http", "tls", "http", "https, then http"},
            {"localhost:8080", "https", "tls", "https", "https"},
            {"localhost:8080", "", "", "http", "https, then http"},
            {"localhost:80", "", "", "http", "http"},
            {"localhost:443", "", "", "https", "https"},
            {"localhost:80", "http", "tls", "http", "http"},
            {"localhost", "http", "tls", "http", "https, then http"},
            {"localhost", "https", "tls", "https", "https"},
            {"localhost", "", "", "https", "https"},
            {"localhost:5000", "", "", "http", "https, then http"},
            {"example.com", "", "", "https", "https"},
            {"example.com", "http", "tls", "http", "https, then http"},
            {"example.com:5000", "http", "tls", "http", "https, then http"},
            {"example.com:5000", "", "", "https", "https"},
            {"example2.com", "http", "", "http", "http"},
            {"127.0.0.254:5000", "", "", "http", "https, then http"},
            {"127.0.0.254", "", "", "https", "https"},
            {"[::1]:5000", "", "", "http", "https, then http"},
            {"[::1]", "", "", "https", "https"},
            {"localhost:5000", "", "tls", "https", "https, then http"},
            {"127.0.0.1:443", "", "tls", "https", "https"},
            {"localhost.example:5000", "", "", "https", "https"},
        };
        List<Row> rows = new ArrayList<>();
        for (String[] c : cases) {
            String toml =
                    (c[1].equals("https") ? "server = \"https://%s\"\n".formatted(c[0]) : "")
                            + (c[2].equals("tls") ? "skip_verify = true\n" : "");
            Map<String, String> files =
                    toml.isEmpty() ? Map.of() : Map.of(c[0] + "/hosts.toml", toml);
            String name =
                    "TestHTTPFallback%s%s%s"
                            .formatted(
                                    c[1].isEmpty() ? "" : " default " + c[1],
                                    c[2].isEmpty() ? "" : " with TLS settings",
                                    c[3].equals(c[4]) ? "" : " (containerd: " + c[4] + ")");
            String expected =
                    c[3]
                            + "://"
                            + c[0]
                            + "/v2"
                            + (c[2].equals("tls") && c[3].equals("https")
                                    ? " tls not verified"
                                    : "");
            rows.add(
                    c[1].equals("http")
                            ? plain(name, c[0], files, expected)
                            : row(name, c[0], files, expected));
        }
        rows.add(
                toml(
                        "TestHTTPFallback: http:// with TLS settings (containerd: https, then http)",
                        "[host.\"http://m.example:5000\"]\nskip_verify = true\n",
                        "http://m.example:5000/v2 ns r.example mirror",
                        "https://r.example/v2"));
        rows.add(
                warned(
                        "TestHTTPFallback: skip_verify = false is a setting for TLS (containerd:"
                                + " https, then http)",
                        "localhost:5000",
                        "skip_verify = false\n",
                        "https://localhost:5000/v2"));
        rows.add(
                warned(
                        "TestHTTPFallback: skip_verify = true is one that is warned of",
                        "localhost:5000",
                        "skip_verify = true\n",
                        "https://localhost:5000/v2 tls not verified",
                        "warning: localhost:5000/hosts.toml: skip_verify: anybody can claim to be"
                                + " localhost:5000; name its certificate authority in ca instead"));
        rows.add(
                warned(
                        "TestHTTPFallback: http:// with skip_verify = false (containerd: https,"
                                + " then http)",
                        "r.example",
                        "server = \"http://o.example\"\nskip_verify = false\n"
                                + "[host.\"http://m.example:5000\"]\nskip_verify = false\n",
                        "http://m.example:5000/v2 ns r.example mirror",
                        "http://o.example/v2 ns r.example",
                        "warning: r.example/hosts.toml:3: http://m.example:5000 has settings for"
                                + " TLS, which plain http does not use; write https:// if it speaks"
                                + " TLS",
                        "warning: r.example/hosts.toml:1: http://o.example has settings for TLS,"
                                + " which plain http does not use; write https:// if it speaks"
                                + " TLS"));
        rows.add(
                warned(
                        "TestHTTPFallback: http:// without settings for TLS",
                        "r.example",
                        "server = \"http://o.example\"\n",
                        "http://o.example/v2 ns r.example"));
        return rows;
    }

    private static Row error(String mirrors, String toml, String message) {
        return toml(mirrors + " is an error", toml, "error: r.example/hosts.toml: " + message);
    }

    static List<Row> loud() {
        return List.of(
                error(
                        "containerd: no mirrors: broken TOML",
                        "server = \"https://o\"\n[host.\"https://m\"\n",
                        "line 2, column 18: not TOML: Unexpected end of line, expected ]"),
                error(
                        "containerd: no mirrors: a key twice",
                        "server = \"a\"\nserver = \"b\"\n",
                        "line 2, column 1: not TOML: defined twice, first at line 1, column 1"),
                error(
                        "containerd: silence: unknown key",
                        "[host.\"https://m.example\"]\n  skip_verfy = true\n",
                        "line 2, column 3: host.\"https://m.example\".skip_verfy: unknown key;"
                                + " did you mean \"skip_verify\"?"),
                error(
                        "containerd: silence: unknown key at the top",
                        "servre = \"https://o.example\"\n",
                        "line 1, column 1: servre: unknown key; did you mean \"server\"?"),
                error(
                        "containerd: silence: key of another tool",
                        "[host.\"https://m.example\"]\ninsecure_registry = true\n",
                        "line 2, column 1: host.\"https://m.example\".insecure_registry: unknown key;"
                                + " the keys here are capabilities, ca, client, skip_verify, header,"
                                + " override_path, dial_timeout, rewrite"),
                error(
                        "containerd: silence: key that was proposed and is in no release",
                        "[host.\"http://m.example\"]\ndial_addr = \"unix:///run/cache.sock\"\n",
                        "line 2, column 1: host.\"http://m.example\".dial_addr: unknown key;"
                                + " the keys here are capabilities, ca, client, skip_verify, header,"
                                + " override_path, dial_timeout, rewrite"),
                error(
                        "containerd: silence: hosts in an inline table",
                        "host = { \"https://m.example\" = { capabilities = [\"pull\"] } }\n",
                        "line 1, column 10: host.\"https://m.example\": write it as a table of its"
                                + " own, [host.\"https://m.example\"], for its place in the order"),
                error(
                        "containerd: silence: hosts with dotted keys",
                        "[host]\n\"https://m.example\".capabilities = [\"pull\"]\n",
                        "line 2, column 1: host.\"https://m.example\": write it as a table of its"
                                + " own, [host.\"https://m.example\"], for its place in the order"),
                error(
                        "containerd: silence: capabilities without server",
                        "capabilities = [\"pull\"]\n",
                        "line 1, column 1: capabilities: has no effect without server; add server ="
                                + " \"https://…\""),
                error(
                        "k3s#7007: rewrite for the server",
                        "server = \"https://o.example\"\n[rewrite]\n\"a\" = \"b\"\n",
                        "line 2, column 1: rewrite: belongs into a [host.\"…\"] table; the server is"
                                + " asked with the names as they are"),
                error(
                        "parseHostConfig: unknown capability",
                        "[host.\"https://m.example\"]\ncapabilities = [\"pull\", \"resolv\"]\n",
                        "line 2, column 1: host.\"https://m.example\".capabilities: unknown"
                                + " capability \"resolv\"; did you mean \"resolve\"?"),
                error(
                        "parseHostConfig: skip_verify of the wrong type",
                        "skip_verify = \"yes\"\n",
                        "line 1, column 1: skip_verify: wanted true or false, got a string"),
                error(
                        "parseHostConfig: ca of the wrong type",
                        "ca = 1\n",
                        "line 1, column 1: ca: wanted a file or a list of files, got a number"),
                error(
                        "parseHostConfig: a pair of three",
                        "client = [[\"a\", \"b\", \"c\"]]\n",
                        "line 1, column 1: client: wanted a pair [cert, key], got a list of 3"),
                error(
                        "parseHostConfig: a header of the wrong type",
                        "[header]\nx-secret = 1\n",
                        "line 2, column 1: header.x-secret: wanted a string or a list of strings,"
                                + " got a number"),
                error(
                        "ours: a header value with a line break, without showing it",
                        "[header]\nx = \"s3cret\\r\\nHost: evil\"\n",
                        "line 2, column 1: header.x: the value has a character that headers cannot"
                                + " have"),
                error(
                        "ours: a header of the protocol",
                        "[header]\nRange = \"bytes=0-\"\n",
                        "line 2, column 1: header.Range: is a header that the client must set"
                                + " itself"),
                error(
                        "parseHostConfig: not a duration",
                        "dial_timeout = \"3 seconds\"\n",
                        "line 1, column 1: dial_timeout: wanted a duration such as \"200ms\" or"
                                + " \"3s\", got \"3 seconds\""),
                error(
                        "ours: no time to dial",
                        "dial_timeout = \"0s\"\n",
                        "line 1, column 1: dial_timeout: wanted a duration from \"1ms\" to \"1h\""),
                error(
                        "parseHostConfig: not a URL",
                        "[host.\"https://m.example:port\"]\n",
                        "line 1, column 1: host.\"https://m.example:port\": \"https://m.example:port\":"
                                + " the port must be a number from 1 to 65535"),
                error(
                        "ours: another scheme",
                        "server = \"ftp://o.example\"\n",
                        "line 1, column 1: server: \"ftp://o.example\": the scheme must be http or"
                                + " https"),
                error(
                        "ours: a password in the URL, without showing it",
                        "[host.\"https://user:s3cret@m.example\"]\n",
                        "line 1, column 1: host.\"https://…@m.example\": a host cannot have a user"
                                + " name; credentials belong into an auth file"),
                error(
                        "ours: a password in the URL of an inline table, without showing it",
                        "host = { \"https://user:s3/cret@m.example\" = { ca = \"a\" } }\n",
                        "line 1, column 10: host.\"https://…@m.example\": write it as a table of"
                                + " its own, [host.\"https://…@m.example\"], for its place in the"
                                + " order"),
                error(
                        "ours: a password in a URL without quotes, without showing it",
                        "server = https://user:s3cret@m.example\n",
                        "line 1, column 10: not TOML: wanted a value"),
                error(
                        "ours: a password in a URL whose quotes are open, without showing it",
                        "[host.\"https://user:s3cret@m.example]\n",
                        "line 1, column 38: not TOML: Unexpected end of line, expected \" or a"
                                + " character"),
                error(
                        "ours: a URL with a password twice, without showing it",
                        "[host.\"https://user:s3cret@m\"]\n".repeat(2),
                        "line 2, column 1: not TOML: defined twice, first at line 1, column 1"),
                error(
                        "ours: a URL with a token twice, without showing it",
                        "[host.\"https://m/?token=s3cret\"]\n".repeat(2),
                        "line 2, column 1: not TOML: defined twice, first at line 1, column 1"),
                error(
                        "ours: more for an inline table",
                        "header.a = { s3cret = 1 }\nheader.a.s3cret = 2\n",
                        "line 2, column 1: not TOML: defined as an inline table at line 1, column 12,"
                                + " which cannot be extended"),
                error(
                        "ours: a list of tables in the place of a number",
                        "s3cret = 1\n[[s3cret]]\n",
                        "line 2, column 1: not TOML: defined at line 1, column 1, and not as a list of"
                                + " tables"),
                error(
                        "ours: a value in the place of a table",
                        "s3cret = 1\n[s3cret.a]\n",
                        "line 2, column 1: not TOML: defined at line 1, column 1, and not as a table"),
                error(
                        "ours: a list where tables are added",
                        "s3cret = [1]\n[[s3cret]]\n",
                        "line 2, column 1: not TOML: defined twice, first as a list at line 1, column 1"),
                error(
                        "ours: an escape that is none",
                        "server = \"\\s3cret\"\n",
                        "line 1, column 11: not TOML: Invalid escape sequence"),
                error(
                        "ours: what ends another value",
                        "server = \"a\" ', expected s3cret\n",
                        "line 1, column 14: not TOML: wanted a newline or end-of-input"),
                error(
                        "ours: a number that is none",
                        "server = 1e99999\n",
                        "line 1, column 10: not TOML: Float is too large"),
                error(
                        "ours: a date that is none",
                        "server = 2000-13-01\n",
                        "line 1, column 15: not TOML: Invalid month (valid range 01..12)"),
                error(
                        "ours: a list that is open",
                        "ca = [ \"s3cret\",\n",
                        "line 2, column 1: not TOML: Unexpected end of input, expected ] or a value;"
                                + " the array opened at line 1, column 6 is unclosed"),
                error(
                        "ours: a URL with a password where a key belongs, without showing it",
                        "\"https://user:s3cret@m.example\" = 1\n",
                        "line 1, column 1: \"https://…@m.example\": unknown key; the keys here are"
                                + " server, host, capabilities, ca, client, skip_verify, header,"
                                + " override_path, dial_timeout"),
                error(
                        "k3s: a pattern that is none",
                        "[host.\"https://m.example\".rewrite]\n\"a(\" = \"b\"\n",
                        "line 2, column 1: host.\"https://m.example\".rewrite.\"a(\": \"a(\" is not"
                                + " a regular expression: Unclosed group"));
    }

    /// Values of the wrong type, each key of the grammar. containerd drops all mirrors of the file.
    static List<Row> types() {
        return List.of(
                error(
                        "parseHostConfig: a number as server",
                        "server = 1\n",
                        "line 1, column 1: server: wanted a string, got a number"),
                error(
                        "parseHostConfig: a list as server",
                        "server = [\"https://o.example\"]\n",
                        "line 1, column 1: server: wanted a string, got a list"),
                error(
                        "parseHostConfig: a string as host",
                        "host = \"https://m.example\"\n",
                        "line 1, column 1: host: wanted tables such as [host.\"https://mirror\"], got a string"),
                error(
                        "parseHostConfig: a list of tables as host",
                        "[[host]]\nserver = \"https://m.example\"\n",
                        "line 1, column 1: host: wanted tables such as [host.\"https://mirror\"], got a list"),
                error(
                        "parseHostConfig: a number as a host",
                        "[host]\n\"https://m.example\" = 1\n",
                        "line 2, column 1: host.\"https://m.example\": wanted a table, got a number"),
                error(
                        "parseHostConfig: a string as capabilities",
                        MIRROR + "capabilities = \"pull\"\n",
                        "line 2, column 1: host.\"https://m.example\".capabilities: wanted a list of strings, got a string"),
                error(
                        "parseHostConfig: a number as a capability",
                        MIRROR + "capabilities = [\"pull\", 1]\n",
                        "line 2, column 1: host.\"https://m.example\".capabilities: wanted strings in the list, got a number"),
                error(
                        "parseHostConfig: a string as override_path",
                        MIRROR + "override_path = \"yes\"\n",
                        "line 2, column 1: host.\"https://m.example\".override_path: wanted true or false, got a string"),
                error(
                        "parseHostConfig: a number as override_path",
                        "server = \"https://o.example\"\noverride_path = 1\n",
                        "line 2, column 1: override_path: wanted true or false, got a number"),
                error(
                        "parseHostConfig: a number as skip_verify",
                        MIRROR + "  skip_verify = 0\n",
                        "line 2, column 3: host.\"https://m.example\".skip_verify: wanted true or false, got a number"),
                error(
                        "parseHostConfig: a number as dial_timeout",
                        MIRROR + "dial_timeout = 3\n",
                        "line 2, column 1: host.\"https://m.example\".dial_timeout: wanted a duration such as \"200ms\" or \"3s\", got a number"),
                error(
                        "parseHostConfig: a time as dial_timeout",
                        MIRROR + "dial_timeout = 00:00:03\n",
                        "line 2, column 1: host.\"https://m.example\".dial_timeout: wanted a duration such as \"200ms\" or \"3s\", got a date or a time"),
                error(
                        "parseHostConfig: a string as header",
                        "header = \"x-who: me\"\n",
                        "line 1, column 1: header: wanted a table, got a string"),
                error(
                        "parseHostConfig: a list as header of a host",
                        MIRROR + "header = [\"x-who: me\"]\n",
                        "line 2, column 1: host.\"https://m.example\".header: wanted a table, got a list"),
                error(
                        "parseHostConfig: a number in the values of a header",
                        "[header]\nx-who = [\"me\", 1]\n",
                        "line 2, column 1: header.x-who: wanted strings in the list, got a number"),
                error(
                        "parseHostConfig: a string as rewrite",
                        MIRROR + "rewrite = \"a\"\n",
                        "line 2, column 1: host.\"https://m.example\".rewrite: wanted a table, got a string"),
                error(
                        "parseHostConfig: a number as a replacement",
                        "[host.\"https://m.example\".rewrite]\n\"a\" = 1\n",
                        "line 2, column 1: host.\"https://m.example\".rewrite.a: wanted a string, got a number"),
                error(
                        "parseHostConfig: a number in ca",
                        "ca = [\"a.pem\", 1]\n",
                        "line 1, column 1: ca: wanted strings in the list, got a number"),
                error(
                        "parseHostConfig: a number alone in ca",
                        "ca = [1]\n",
                        "line 1, column 1: ca: wanted strings in the list, got a number"),
                error(
                        "parseHostConfig: an empty ca (containerd: reads the directory)",
                        "ca = \"\"\n",
                        "line 1, column 1: ca: wanted a file, got an empty string"),
                error(
                        "parseHostConfig: an empty file in ca",
                        MIRROR + "ca = [\"a.pem\", \"\"]\n",
                        "line 2, column 1: host.\"https://m.example\".ca: wanted a file, got an empty string"),
                error(
                        "parseHostConfig: a NUL in ca",
                        "ca = \"a\\u0000\"\n",
                        "line 1, column 1: ca: not a path"),
                error(
                        "parseHostConfig: a number as client",
                        "client = 1\n",
                        "line 1, column 1: client: wanted a file, a list of files or a list of [cert, key], got a number"),
                error(
                        "parseHostConfig: a number in client",
                        "client = [1]\n",
                        "line 1, column 1: client: wanted a file or a pair [cert, key], got a number"),
                error(
                        "parseHostConfig: a number in a pair",
                        MIRROR + "client = [[\"a.pem\", 1]]\n",
                        "line 2, column 1: host.\"https://m.example\".client: wanted strings in the list, got a number"),
                error(
                        "parseHostConfig: an empty client",
                        "client = \"\"\n",
                        "line 1, column 1: client: wanted a file, got an empty string"),
                error(
                        "parseHostConfig: a pair without certificate",
                        "client = [[\"\", \"a.key\"]]\n",
                        "line 1, column 1: client: wanted a file, got an empty string"),
                error(
                        "parseHostConfig: an empty pair",
                        "client = [[]]\n",
                        "line 1, column 1: client: wanted a pair [cert, key], got a list of 0"));
    }

    /// Names of hosts and headers that are none.
    static List<Row> urls() {
        return List.of(
                error(
                        "url.Parse: an IPv6 address without its closing bracket",
                        "server = \"https://[::1\"\n",
                        "line 1, column 1: server: \"https://[::1\": the IPv6 address has no closing bracket"),
                error(
                        "url.Parse: an IPv6 address without brackets",
                        "[host.\"https://fd00::1:5000\"]\n",
                        "line 1, column 1: host.\"https://fd00::1:5000\": \"https://fd00::1:5000\": an IPv6 address is written in brackets, [::1]:5000"),
                error(
                        "url.Parse: more after the bracket",
                        "server = \"https://[::1]5000\"\n",
                        "line 1, column 1: server: \"https://[::1]5000\": the port must be a number from 1 to 65535"),
                error(
                        "url.Parse: no IPv6 address in the brackets",
                        "server = \"https://[host]:5000\"\n",
                        "line 1, column 1: server: \"https://[host]:5000\": the host may have letters, digits, dots, hyphens and underscores only"),
                error(
                        "ours: no host",
                        "server = \"https://\"\n",
                        "line 1, column 1: server: \"https://\": the host is missing"),
                error(
                        "ours: no host before the path",
                        "[host.\"https:///v2\"]\n",
                        "line 1, column 1: host.\"https:///v2\": \"https:///v2\": the host is missing"),
                error(
                        "ours: no host before the port",
                        "server = \"https://:5000\"\n",
                        "line 1, column 1: server: \"https://:5000\": the host is missing"),
                error(
                        "ours: no name of a host",
                        "[host.\"\"]\n",
                        "line 1, column 1: host.\"\": the URL of a host is missing"),
                error(
                        "url.Parse: a space in the host",
                        "server = \"https://o example\"\n",
                        "line 1, column 1: server: \"https://o example\": the host may have letters, digits, dots, hyphens and underscores only"),
                error(
                        "ours: a port of 0",
                        "server = \"https://o.example:0\"\n",
                        "line 1, column 1: server: \"https://o.example:0\": the port must be a number from 1 to 65535"),
                error(
                        "ours: a space in the path",
                        "server = \"https://o.example/a b\"\n",
                        "line 1, column 1: server: \"https://o.example/a b\": the path has a character that must be percent-encoded"),
                error(
                        "ours: a letter in the path that is not ASCII",
                        "server = \"https://o.example/\\u00e4\"\n",
                        "line 1, column 1: server: \"https://o.example/ä\": the path has a character that must be percent-encoded"),
                error(
                        "url.Parse: a percent sign alone",
                        "server = \"https://o.example/a%2\"\n",
                        "line 1, column 1: server: \"https://o.example/a%2\": the path has a % without two hexadecimal digits after it"),
                error(
                        "ours: a query (containerd: dropped)",
                        "server = \"https://o.example/v2?ns=docker.io\"\n",
                        "line 1, column 1: server: a host cannot have a query or a fragment"),
                error(
                        "ours: a fragment (containerd: dropped)",
                        "[host.\"https://m.example#here\"]\n",
                        "line 1, column 1: host.\"https://m.example\": a host cannot have a query or a fragment"),
                error(
                        "ours: a header twice",
                        "[header]\nX-Who = \"a\"\nx-who = \"b\"\n",
                        "line 3, column 1: header.x-who: is there twice; write one list of values"),
                error(
                        "ours: a header name with a space",
                        "[header]\n\"x who\" = \"a\"\n",
                        "line 2, column 1: header.\"x who\": is not a header name"),
                error(
                        "ours: a header name with a colon",
                        "[host.\"https://m.example\".header]\n\"x-who:\" = \"a\"\n",
                        "line 2, column 1: host.\"https://m.example\".header.\"x-who:\": is not a header name"),
                error(
                        "ours: a header without a name",
                        "[header]\n\"\" = \"a\"\n",
                        "line 2, column 1: header.\"\": is not a header name"));
    }

    static List<Row> compatible() {
        return List.of(
                lenient(
                        "loadHostDir: broken TOML is as if there was no file",
                        "server = \"https://o\"\n[host.\"https://m\"\n",
                        "https://r.example/v2"),
                lenient(
                        "loadHostDir: an unknown capability is as if there was no file",
                        "[host.\"https://m.example\"]\ncapabilities = [\"all\"]\n",
                        "https://r.example/v2"),
                lenient(
                        "go-toml: unknown keys are passed over",
                        "[host.\"https://m.example\"]\nskip_verfy = true\n",
                        "https://m.example/v2 ns r.example mirror",
                        "https://r.example/v2"),
                lenient(
                        "getSortedHosts: inline hosts are passed over",
                        "host = { \"https://m.example\" = {} }\n",
                        "https://r.example/v2"),
                lenient(
                        "parseHostConfig: capabilities without server have no effect",
                        "capabilities = [\"pull\"]\n",
                        "https://r.example/v2"),
                lenient(
                        "ours: a wrong type is as if there was no file",
                        MIRROR + "capabilities = \"pull\"\n",
                        "https://r.example/v2"),
                lenient(
                        "ours: a header that is none is passed over",
                        "[header]\nX-Who = \"a\"\nx-who = \"b\"\n\"x y\" = \"c\"\n",
                        "https://r.example/v2 header {X-Who=[a]}"),
                lenient(
                        "url.Parse: a user name is dropped",
                        "server = \"https://u:p@o.example?x=1\"\n",
                        "https://o.example/v2 ns r.example"));
    }
}
