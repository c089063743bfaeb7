package dev.imgd.e2e;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.MediaType;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/// Encrypted images are exchanged with skopeo, in both directions, and opened by nobody else.
@Tag("root")
class EncryptionIT {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String KEYS = "org.opencontainers.image.enc.keys.";
    private static final String PUBLIC = "org.opencontainers.image.enc.pubopts";

    @RegisterExtension final Workspace workspace = new Workspace();

    private Path root = Path.of("");
    private Imgctl imgctl = Imgctl.embedded(root);
    private Path rsa = Path.of("");
    private Path ec = Path.of("");
    private Path certificate = Path.of("");

    @BeforeEach
    void setUp() throws IOException {
        root = workspace.path("store");
        imgctl = Imgctl.embedded(root);
        workspace.newDirectory("keys");
        rsa = workspace.path("keys/rsa.pem");
        ec = workspace.path("keys/ec.pem");
        certificate = workspace.path("keys/rsa.crt");
        openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out " + rsa);
        openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out " + ec);
        openssl("req -new -x509 -subj /CN=test -days 3 -key " + rsa + " -out " + certificate);
        for (Path key : List.of(rsa, ec)) {
            openssl("pkey -pubout -in " + key + " -out " + publicKey(key));
        }
    }

    private static void openssl(String words) {
        Program.of((Object[]) ("openssl " + words).split(" ")).ok();
    }

    private static Path publicKey(Path key) {
        return Path.of(key.toString().replace(".pem", ".pub"));
    }

    private String name(String rest) {
        return workspace.registry().reference(rest);
    }

    private String jwe(Path key) {
        return "jwe:" + publicKey(key);
    }

    private String pkcs7() {
        return "pkcs7:" + certificate;
    }

    /// Recipients and the key of one of them.
    private record Case(List<String> recipients, Path key) {}

    private List<Case> cases() {
        return List.of(
                new Case(List.of(jwe(rsa)), rsa),
                new Case(List.of(jwe(ec)), ec),
                new Case(List.of(pkcs7()), rsa),
                new Case(List.of(jwe(rsa), jwe(ec)), ec));
    }

    /// Has skopeo encrypt the test image into the registry.
    private String skopeoEncrypted(String repository, List<String> recipients) {
        List<Object> options = new ArrayList<>();
        for (String recipient : recipients) {
            options.addAll(List.of("--encryption-key", recipient));
        }
        return workspace.registry().push(workspace.image().layout(), repository, options.toArray());
    }

    @Test
    void skopeoEncrypts_weUnpackTheSameTree() throws Exception {
        Tree wanted = Tree.of(workspace.image().unpack(workspace.path("u")));
        Path mounted = workspace.newDirectory("m");
        int number = 0;
        for (Case one : cases()) {
            String reference = skopeoEncrypted("sk" + number++ + ":1", one.recipients());
            String refused = imgctl.fails(4, "pull", "-q", "--plain-http", reference);
            assertTrue(refused.contains("no key opens it; it is encrypted as"), refused);
            imgctl.ok("pull", "--plain-http", "--decryption-key", one.key(), reference);
            imgctl.fails(4, "mount", reference, mounted);
            imgctl.ok("mount", "--decryption-key", one.key(), reference, mounted);
            Tree tree = Tree.of(mounted);
            imgctl.ok("unmount", mounted);
            assertEquals(List.of(), wanted.differencesTo(tree), one.toString());
            assertEquals(
                    workspace.image().manifestDigest(),
                    imgctl.ok(
                            "decrypt",
                            "-q",
                            "docker://" + reference,
                            "oci:" + workspace.path("dec") + ":1",
                            "--key",
                            one.key()));
        }
        StoreFiles files = new StoreFiles(root);
        workspace
                .image()
                .layers()
                .forEach(layer -> assertFalse(files.blobs().contains(layer.digest())));
        assertEquals(List.of(), files.damagedBlobs());
        assertEquals("", imgctl.ok("fsck", "--rehash"));
    }

    /// Its envelope states the digest of what it compressed.
    @Test
    void skopeoCompressesAndEncrypts_weUnpackIt() throws Exception {
        TestImage image =
                ImageBuilder.oci()
                        .layer(
                                MediaType.Compression.NONE,
                                tar -> tar.file("zeros", 0644, new byte[500_000]))
                        .layer(MediaType.Compression.NONE, tar -> tar.file("hello", "hello"))
                        .build();
        String reference = name("compressed:1");
        try (InMemoryRegistry memory = InMemoryRegistry.start()) {
            Program.of(
                            "skopeo",
                            "copy",
                            "--quiet",
                            "--src-tls-verify=false",
                            "--dest-tls-verify=false",
                            "--encryption-key",
                            jwe(ec),
                            "docker://" + memory.push("plain", "1", image),
                            "docker://" + reference)
                    .ok();
        }
        assertTrue(imgctl.ok("manifest", "get", reference).contains("tar+gzip+encrypted"));
        imgctl.ok("pull", "--plain-http", "--decryption-key", ec, reference);
        Path mounted = workspace.newDirectory("m");
        imgctl.ok("mount", "--decryption-key", ec, reference, mounted);
        String hello = Files.readString(mounted.resolve("hello"));
        imgctl.ok("unmount", mounted);
        assertEquals("hello", hello);
        String layout = "oci:" + workspace.path("dec") + ":1";
        imgctl.ok("decrypt", "docker://" + reference, layout, "--key", ec);
        imgctl.ok("import", "--name", "dec:1", workspace.path("dec"));
    }

    @Test
    void weEncrypt_skopeoDecryptsTheOriginal() throws Exception {
        int number = 0;
        for (Case one : cases()) {
            List<Object> words =
                    new ArrayList<>(
                            List.of(
                                    "encrypt",
                                    "-q",
                                    "docker://" + workspace.reference(),
                                    "docker://" + name("ours" + number + ":1")));
            one.recipients().forEach(to -> words.addAll(List.of("--recipient", to)));
            if (number == 0) {
                words.addAll(List.of("--layer", "-1", "--layer", "0"));
            }
            imgctl.ok(words.toArray());
            String written = imgctl.ok("manifest", "get", name("ours" + number + ":1"));
            assertEquals(
                    number == 0 ? 2 : workspace.image().layers().size(),
                    written.split("\\+encrypted", -1).length - 1,
                    written);
            Path out = workspace.path("out" + number++);
            Program.of(
                            "skopeo",
                            "copy",
                            "--quiet",
                            "--src-tls-verify=false",
                            "--decryption-key",
                            one.key(),
                            "--decryption-key",
                            certificate,
                            words.get(3),
                            "oci:" + out + ":1")
                    .ok();
            JsonNode index = JSON.readTree(Files.readAllBytes(out.resolve("index.json")));
            assertEquals(
                    workspace.image().manifestDigest(),
                    index.get("manifests").get(0).get("digest").asString());
        }
    }

    @Test
    void daemon_decryptsWithItsOwnKeysOnly() throws Exception {
        String reference = skopeoEncrypted("daemon:1", List.of(jwe(ec)));
        Path keys = workspace.newDirectory("node");
        Imgd imgd = daemon(Imgd.Mode.PASSIVE, keys);
        String refused = imgd.imgctl().fails(4, "pull", "-q", "--plain-http", reference);
        assertTrue(refused.contains("keys were looked for in " + keys + " (no key)"), refused);
        String own =
                imgd.imgctl()
                        .fails(8, "pull", "-q", "--plain-http", "--decryption-key", ec, reference);
        assertTrue(own.contains("uses its own keys only"), own);
        // Without a restart.
        Files.copy(ec, keys.resolve("ec.pem"));
        imgd.imgctl().ok("pull", "--plain-http", reference);
        Path mounted = workspace.newDirectory("m");
        imgd.imgctl().ok("mount", reference, mounted);
        assertTrue(Files.exists(mounted.resolve("etc/debian_version.moved")));
        imgd.imgctl().ok("unmount", mounted);
        Files.delete(keys.resolve("ec.pem"));
        imgd.imgctl().fails(4, "mount", reference, mounted);
    }

    private Imgd daemon(Imgd.Mode mode, Path keys) throws IOException {
        return workspace.keep(
                Imgd.start(
                        workspace.path("d"),
                        mode,
                        Map.of(),
                        "[decryption]\nkeys_path = \"%s\"\n".formatted(keys)));
    }

    @Test
    void accelerate_withKeys_containerdRunsIt_withoutItFallsBackAndSaysWhy() throws Exception {
        String reference = skopeoEncrypted("node:1", List.of(jwe(rsa)));
        Path keys = workspace.newDirectory("node");
        Imgd imgd = daemon(Imgd.Mode.ACCELERATE, keys);
        Containerd containerd =
                workspace.keep(
                        Containerd.start(
                                workspace.path("c"), "imgd", imgd.place().snapshotterAddress()));
        try (Cri cri = containerd.cri()) {
            // It has no stream processor that could decrypt.
            assertThrows(StatusRuntimeException.class, () -> cri.pull(reference));
            String log = imgd.log();
            assertTrue(log.contains("containerd fetches the image itself"), log);
            assertTrue(log.contains("no key opens it; it is encrypted as jwe for RSA-OAEP"), log);
        }
        String again = skopeoEncrypted("node:2", List.of(jwe(rsa)));
        Files.copy(rsa, keys.resolve("rsa.pem"));
        try (Cri cri = containerd.cri()) {
            assertEquals(workspace.image().configDigest(), cri.pull(again));
        }
        String output =
                containerd
                        .ctr(
                                "--namespace",
                                "k8s.io",
                                "run",
                                "--rm",
                                "--snapshotter",
                                "imgd",
                                again,
                                "e2e-" + workspace.directory().getFileName(),
                                "cat",
                                "/etc/debian_version.moved")
                        .ok();
        assertTrue(output.startsWith("12."), output);
    }

    /// containerd fetches and unpacks with its own snapshotter; imgd only decrypts.
    @Test
    void decode_asStreamProcessorOfContainerd_itRunsTheImage() throws Exception {
        String reference = skopeoEncrypted("decoder:1", List.of(jwe(ec)));
        Path keys = workspace.newDirectory("node");
        String type = "application/vnd.oci.image.layer.v1.tar+gzip";
        String processor =
                """
                [stream_processors."io.containerd.ocicrypt.decoder.v1.tar.gzip"]
                  accepts = ["%s+encrypted"]
                  returns = "%s"
                  path = "%s"
                  args = ["decode", "--decryption-keys-path", "%s"]
                """
                        .formatted(type, type, Installation.IMGCTL, keys);
        Containerd containerd =
                workspace.keep(
                        Containerd.start(
                                workspace.path("c"),
                                "native",
                                workspace.path("none.sock"),
                                processor));
        try (Cri cri = containerd.cri()) {
            assertThrows(StatusRuntimeException.class, () -> cri.pull(reference));
            Files.copy(ec, keys.resolve("ec.pem"));
            assertEquals(workspace.image().configDigest(), cri.pull(reference));
        }
    }

    @Test
    void wrongUse_exitCodesAndReasons() throws Exception {
        Path layout = workspace.path("layout");
        String plain = "oci:" + workspace.image().layout() + ":12";
        String enc = "oci:" + layout + ":enc";
        imgctl.ok("encrypt", plain, enc, "--recipient", jwe(rsa));
        String out = "oci:" + workspace.path("out") + ":1";
        String denied = imgctl.fails(4, "decrypt", "-q", enc, out, "--key", ec);
        assertTrue(denied.contains("jwe for RSA-OAEP"), denied);
        imgctl.fails(8, "decrypt", "-q", plain, out, "--key", rsa);
        imgctl.fails(8, "encrypt", "-q", enc, out, "--recipient", jwe(rsa));
        imgctl.fails(2, "encrypt", "-q", plain, out, "--recipient", "pgp:me");
        imgctl.fails(2, "encrypt", "-q", plain, out, "--recipient", jwe(rsa), "--layer", "9");
        imgctl.fails(2, "decrypt", "-q", enc, "store:a", "--key", rsa);
        imgctl.fails(3, "decrypt", "-q", enc, out, "--key", workspace.path("none"));
        Path locked = workspace.path("locked.pem");
        Path password = Files.writeString(workspace.path("password"), "correct\n");
        openssl("pkcs8 -topk8 -in " + rsa + " -out " + locked + " -passout file:" + password);
        String onTheLine = imgctl.fails(2, "decrypt", "-q", enc, out, "--key", locked + ":correct");
        assertFalse(onTheLine.contains("correct"), onTheLine);
        imgctl.fails(2, "decrypt", "-q", enc, out, "--key", locked);
        imgctl.ok("decrypt", enc, out, "--key", locked + ":file=" + password);
        // One bit of the HMAC: everything else is as it was.
        String changed = name("changed:1");
        imgctl.ok("copy", enc, "docker://" + changed);
        JsonNode manifest = JSON.readTree(imgctl.ok("manifest", "get", changed));
        String options = manifest.get("layers").get(0).get("annotations").get(PUBLIC).asString();
        char[] characters =
                new String(Base64.getDecoder().decode(options), ISO_8859_1).toCharArray();
        int at = new String(characters).indexOf("\"hmac\":\"") + 12;
        characters[at] = characters[at] == 'A' ? 'B' : 'A';
        Path file =
                Files.writeString(
                        workspace.path("manifest"),
                        imgctl.ok("manifest", "get", changed)
                                .replace(
                                        options,
                                        Base64.getEncoder()
                                                .encodeToString(
                                                        new String(characters)
                                                                .getBytes(ISO_8859_1))));
        imgctl.ok("manifest", "put", changed, file);
        for (List<Object> use :
                List.of(
                        List.<Object>of("decrypt", "-q", "docker://" + changed, out, "--key", rsa),
                        List.<Object>of(
                                "pull", "-q", "--plain-http", "--decryption-key", rsa, changed))) {
            String wrong = imgctl.fails(5, use.toArray());
            assertTrue(wrong.contains("its HMAC is wrong"), wrong);
        }
    }

    /// Neither a key nor a layer in plain is anywhere but in memory and in the unpacked tree.
    @Test
    void canary_keysAndPlainLayers_areNowhere() throws Exception {
        Path layout = workspace.path("layout");
        String enc = "oci:" + layout + ":enc";
        imgctl.ok(
                "encrypt",
                "oci:" + workspace.image().layout() + ":12",
                enc,
                "--recipient",
                pkcs7(),
                "--recipient",
                jwe(ec));
        String reference = name("canary:1");
        imgctl.ok("copy", enc, "docker://" + reference);
        JsonNode manifest = JSON.readTree(imgctl.ok("manifest", "get", reference));
        List<String> secrets = new ArrayList<>();
        for (JsonNode layer : manifest.get("layers")) {
            secrets.add(symmetricKey(layer.get("annotations").get(KEYS + "pkcs7").asString()));
        }
        for (Path key : List.of(rsa, ec)) {
            secrets.add(
                    Files.readAllLines(key).stream()
                            .filter(line -> !line.startsWith("-"))
                            .collect(Collectors.joining())
                            .substring(40, 80));
        }
        Path keys = workspace.newDirectory("node");
        Files.copy(ec, keys.resolve("ec.pem"));
        Imgd imgd = daemon(Imgd.Mode.PASSIVE, keys);
        imgd.imgctl().ok("pull", "--plain-http", reference);
        Path mounted = workspace.newDirectory("m");
        imgd.imgctl().ok("mount", reference, mounted);
        imgd.imgctl().ok("unmount", mounted);
        Files.delete(keys.resolve("ec.pem"));
        Program.Finished refused =
                imgd.imgctl().command("--debug", "pull", "--plain-http", reference).run();
        assertEquals(4, refused.exit(), refused.toString());
        Program.Finished embedded =
                Imgctl.embedded(root)
                        .command(
                                "--debug",
                                "pull",
                                "--plain-http",
                                "--decryption-key",
                                rsa,
                                reference)
                        .run();
        assertEquals(0, embedded.exit(), embedded.toString());
        String printed = refused.toString() + embedded + imgd.log();
        imgd.terminate();

        for (String secret : secrets) {
            assertFalse(printed.contains(secret), "printed");
            byte[] raw = Base64.getDecoder().decode(secret);
            for (Path store : List.of(root, imgd.place().root())) {
                assertEquals(List.of(), filesWith(store, secret));
                assertEquals(List.of(), filesWith(store, new String(raw, ISO_8859_1)));
            }
        }
        for (Path store : List.of(root, imgd.place().root())) {
            StoreFiles files = new StoreFiles(store);
            // What is looked through is really what was pulled.
            for (JsonNode layer : manifest.get("layers")) {
                assertTrue(files.blobs().contains(layer.get("digest").asString()));
            }
            workspace
                    .image()
                    .layers()
                    .forEach(layer -> assertFalse(files.blobs().contains(layer.digest())));
            assertEquals(List.of(), files.damagedBlobs());
        }
    }

    /// As another program reads it.
    private String symmetricKey(String envelope) throws IOException {
        Path message = workspace.path("message");
        Files.write(message, Base64.getDecoder().decode(envelope));
        String options =
                Program.of(
                                "openssl",
                                "cms",
                                "-decrypt",
                                "-binary",
                                "-inform",
                                "DER",
                                "-in",
                                message,
                                "-inkey",
                                rsa,
                                "-recip",
                                certificate)
                        .ok();
        return JSON.readTree(options).get("symkey").asString();
    }

    private static List<Path> filesWith(Path directory, String text) throws IOException {
        List<Path> found = new ArrayList<>();
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                if (new String(Files.readAllBytes(file), ISO_8859_1).contains(text)) {
                    found.add(file);
                }
            }
        }
        return found;
    }
}
