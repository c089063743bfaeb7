package dev.imgd.e2e;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Debian's docker-registry with a store of its own on a free port of the loopback address.
final class DockerRegistry extends Background {
    private static final Pattern LISTENING = Pattern.compile("listening on 127\\.0\\.0\\.1:(\\d+)");

    /// Name and password of a registry that asks for them.
    static final String CREDENTIALS = "user:correct horse";

    /// Made by `htpasswd -nbB user 'correct horse'`.
    private static final String HTPASSWD =
            "user:$2y$05$vVnFRNNTHUzKNyMWFqMIDeYadwOMuNqS4SGE2eZrNgIrllXABN9Vm\n";

    /// The combined log format of Apache.
    private static final Pattern ACCESS =
            Pattern.compile(
                    "^\\S+ - \\S+ \\[[^]]*] \"(\\S+) (\\S+) [^\"]*\" (\\d+) (\\d+) \"[^\"]*\" \"([^\"]*)\"",
                    Pattern.MULTILINE);

    private final int port;

    private DockerRegistry(Path log, Path config, Map<String, String> settings) {
        super("docker-registry", log, settings, "docker-registry", "serve", config);
        await(() -> LISTENING.matcher(log()).find());
        Matcher matcher = LISTENING.matcher(log());
        if (!matcher.find()) {
            throw new AssertionError(log());
        }
        port = Integer.parseInt(matcher.group(1));
    }

    /// Starts one that everybody may read and write.
    static DockerRegistry open(Path directory) throws IOException {
        return open(directory, Map.of());
    }

    /// Starts one that everybody may read and write.
    ///
    /// @param settings more of its configuration, as variables of its environment
    static DockerRegistry open(Path directory, Map<String, String> settings) throws IOException {
        return start(directory, 0, "", settings);
    }

    /// Starts one that asks for [#CREDENTIALS].
    static DockerRegistry withPassword(Path directory) throws IOException {
        Files.createDirectories(directory);
        Path passwords = directory.resolve("htpasswd");
        Files.writeString(passwords, HTPASSWD);
        return start(
                directory, "auth: {htpasswd: {realm: test, path: '%s'}}\n".formatted(passwords));
    }

    /// Writes a docker `config.json` with [#CREDENTIALS] for this registry.
    ///
    /// @return the directory, as `DOCKER_CONFIG` wants it
    Path dockerConfig(Path directory) throws IOException {
        byte[] credentials = CREDENTIALS.getBytes(StandardCharsets.UTF_8);
        Files.writeString(
                directory.resolve("config.json"),
                """
                {"auths": {"localhost:%d": {"auth": "%s"}}}
                """
                        .formatted(port, Base64.getEncoder().encodeToString(credentials)));
        return directory;
    }

    /// Starts one that asks for tokens.
    ///
    /// @param roots certificates of those who may sign them
    static DockerRegistry withTokens(Path directory, String realm, String issuer, Path roots)
            throws IOException {
        return start(
                directory,
                "auth: {token: {realm: '%s', service: test, issuer: '%s', rootcertbundle: '%s'}}\n"
                        .formatted(realm, issuer, roots));
    }

    /// Starts one that everybody may read and write where another one was: with its content, at its
    /// port.
    static DockerRegistry again(Path directory, int port) throws IOException {
        return start(directory, port, "", Map.of());
    }

    private static DockerRegistry start(Path directory, String more) throws IOException {
        return start(directory, 0, more, Map.of());
    }

    private static DockerRegistry start(
            Path directory, int port, String more, Map<String, String> settings)
            throws IOException {
        Files.createDirectories(directory);
        Path config = Files.createTempFile(directory, "config", ".yml");
        Files.writeString(
                config,
                """
                version: 0.1
                storage: {filesystem: {rootdirectory: '%s'}}
                http: {addr: '127.0.0.1:%d'}
                """
                                .formatted(directory.resolve("data"), port)
                        + more);
        return new DockerRegistry(Path.of(config + ".log"), config, settings);
    }

    /// Pushes the image of a layout and says how it is called now.
    ///
    /// @param name repository and tag
    /// @param options of skopeo, for example credentials
    String push(Path layout, String name, Object... options) {
        String reference = reference(name);
        List<Object> words = new ArrayList<>(List.of("skopeo", "copy", "--quiet"));
        words.addAll(List.of(options));
        words.addAll(
                List.of(
                        "--dest-tls-verify=false",
                        "oci:" + layout + ":12",
                        "docker://" + reference));
        Program.of(words.toArray()).ok();
        return reference;
    }

    /// The full reference of a repository with a tag.
    String reference(String name) {
        return "localhost:" + port + "/" + name;
    }

    int port() {
        return port;
    }

    /// A position in the access log; [#accesses] lists what came later.
    int mark() {
        return log().length();
    }

    /// The requests that were finished since then, oldest first.
    List<Access> accesses(int mark) {
        List<Access> accesses = new ArrayList<>();
        Matcher matcher = ACCESS.matcher(log().substring(mark));
        while (matcher.find()) {
            accesses.add(
                    new Access(
                            matcher.group(1),
                            matcher.group(2),
                            Integer.parseInt(matcher.group(3)),
                            Long.parseLong(matcher.group(4)),
                            matcher.group(5)));
        }
        return accesses;
    }

    /// One request.
    ///
    /// @param bytes of the body that was sent
    record Access(String method, String path, int status, long bytes, String userAgent) {
        /// Whether it fetched (a part of) that blob.
        boolean fetched(String digest) {
            return method.equals("GET") && path.contains("/blobs/" + digest) && status < 300;
        }
    }
}
