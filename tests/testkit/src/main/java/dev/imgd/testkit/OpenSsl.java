package dev.imgd.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;

/// Makes keys, signatures and certificates with the program `openssl`, so that nothing of what is
/// verified was made by the code that verifies it.
public final class OpenSsl {
    private final Path directory;
    private int files;

    /// @param directory for what is made, which nobody else writes to
    public OpenSsl(Path directory) {
        this.directory = directory;
    }

    /// A private key.
    ///
    /// @param algorithm `P-256`, `P-384`, `P-521`, `ED25519` or `RSA2048` and such
    public Path key(String algorithm) throws Exception {
        Path key = fresh("key.pem");
        if (algorithm.startsWith("RSA")) {
            run(
                    "genpkey",
                    "-algorithm",
                    "RSA",
                    "-pkeyopt",
                    "rsa_keygen_bits:" + algorithm.substring(3),
                    "-out",
                    key.toString());
        } else if (algorithm.startsWith("ED")) {
            run("genpkey", "-algorithm", algorithm, "-out", key.toString());
        } else {
            run(
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    "ec_paramgen_curve:" + algorithm,
                    "-out",
                    key.toString());
        }
        return key;
    }

    /// The public half of a private key, in PEM.
    public Path publicKey(Path key) throws Exception {
        Path out = fresh("public.pem");
        run("pkey", "-in", key.toString(), "-pubout", "-out", out.toString());
        return out;
    }

    /// A signature with SHA-256 in the encoding of X.509, or of Ed25519.
    public byte[] sign(Path key, byte[] message) throws Exception {
        return sign(key, "-sha256", message, List.of());
    }

    /// A signature with another hash.
    ///
    /// @param hash such as `-sha384`
    /// @param options more arguments of `openssl dgst`
    public byte[] sign(Path key, String hash, byte[] message, List<String> options)
            throws Exception {
        Path in = fresh("message");
        Files.write(in, message);
        Path out = fresh("signature");
        List<String> command = new ArrayList<>();
        if (Files.readString(key).length() < 130) { // only Ed25519 is that short
            command.addAll(
                    List.of(
                            "pkeyutl",
                            "-sign",
                            "-rawin",
                            "-inkey",
                            key.toString(),
                            "-in",
                            in.toString(),
                            "-out",
                            out.toString()));
        } else {
            command.addAll(List.of("dgst", hash, "-sign", key.toString(), "-out", out.toString()));
            command.addAll(options);
            command.add(in.toString());
        }
        run(command.toArray(String[]::new));
        return Files.readAllBytes(out);
    }

    /// A certificate that is its own issuer.
    public Path root(Path key, String subject, String... extensions) throws Exception {
        Path out = fresh("root.crt");
        Path config = config(extensions);
        run(
                "req",
                "-new",
                "-x509",
                "-key",
                key.toString(),
                "-subj",
                subject,
                "-days",
                "30",
                "-sha256",
                "-config",
                config.toString(),
                "-extensions",
                "ext",
                "-out",
                out.toString());
        return out;
    }

    /// A certificate of another issuer.
    public Path certificate(
            Path key,
            String subject,
            Path issuer,
            Path issuerKey,
            String hash,
            String... extensions)
            throws Exception {
        Path request = fresh("request.pem");
        Path config = config(extensions);
        run(
                "req",
                "-new",
                "-key",
                key.toString(),
                "-subj",
                subject,
                "-config",
                config.toString(),
                "-out",
                request.toString());
        Path out = fresh("certificate.crt");
        run(
                "x509",
                "-req",
                "-in",
                request.toString(),
                "-CA",
                issuer.toString(),
                "-CAkey",
                issuerKey.toString(),
                "-set_serial",
                Integer.toString(1000 + files),
                "-days",
                "20",
                hash,
                "-extfile",
                config.toString(),
                "-extensions",
                "ext",
                "-out",
                out.toString());
        return out;
    }

    /// A revocation list of an issuer.
    public Path revocationList(Path issuer, Path issuerKey, Path... revoked) throws Exception {
        Path index = fresh("index");
        Files.createFile(index);
        Path config = fresh("ca.cnf");
        Files.writeString(
                config,
                "[ca]\ndefault_ca=d\n[d]\ndatabase=%s\ndefault_md=sha256\ndefault_crl_days=10\n"
                        .formatted(index));
        for (Path certificate : revoked) {
            run(
                    "ca",
                    "-config",
                    config.toString(),
                    "-keyfile",
                    issuerKey.toString(),
                    "-cert",
                    issuer.toString(),
                    "-revoke",
                    certificate.toString());
        }
        Path out = fresh("list.crl");
        run(
                "ca",
                "-config",
                config.toString(),
                "-keyfile",
                issuerKey.toString(),
                "-cert",
                issuer.toString(),
                "-gencrl",
                "-out",
                out.toString());
        return out;
    }

    /// The bytes of a certificate.
    public byte[] der(Path certificate) throws Exception {
        Path out = fresh("der");
        run("x509", "-in", certificate.toString(), "-outform", "DER", "-out", out.toString());
        return Files.readAllBytes(out);
    }

    /// Encrypts a short message, such as a key, for an RSA key.
    public byte[] encryptKey(Path publicKey, byte[] message, String... options) throws Exception {
        return pkeyutl(
                List.of("-encrypt", "-pubin", "-inkey", publicKey.toString()), message, options);
    }

    /// Decrypts what was encrypted for an RSA key.
    public byte[] decryptKey(Path key, byte[] message, String... options) throws Exception {
        return pkeyutl(List.of("-decrypt", "-inkey", key.toString()), message, options);
    }

    private byte[] pkeyutl(List<String> what, byte[] message, String... options) throws Exception {
        Path in = fresh("in");
        Files.write(in, message);
        Path out = fresh("out");
        List<String> command = new ArrayList<>(List.of("pkeyutl"));
        command.addAll(what);
        for (String option : options) {
            command.addAll(List.of("-pkeyopt", option));
        }
        command.addAll(List.of("-in", in.toString(), "-out", out.toString()));
        run(command.toArray(String[]::new));
        return Files.readAllBytes(out);
    }

    /// AES in CBC with padding.
    public byte[] aesCbc(byte[] message, byte[] key, byte[] iv) throws Exception {
        return filter(
                message,
                "enc",
                "-aes-" + 8 * key.length + "-cbc",
                "-K",
                HexFormat.of().formatHex(key),
                "-iv",
                HexFormat.of().formatHex(iv));
    }

    /// A message authentication code.
    ///
    /// @param hash such as `sha256`
    public byte[] hmac(String hash, byte[] key, byte[] message) throws Exception {
        return filter(
                message,
                "dgst",
                "-" + hash,
                "-binary",
                "-mac",
                "HMAC",
                "-macopt",
                "hexkey:" + HexFormat.of().formatHex(key));
    }

    /// Runs a command that reads one file and writes another.
    public byte[] filter(byte[] message, String... command) throws Exception {
        Path in = fresh("in");
        Files.write(in, message);
        Path out = fresh("out");
        List<String> words = new ArrayList<>(List.of(command));
        words.addAll(
                command[0].equals("dgst")
                        ? List.of("-out", out.toString(), in.toString())
                        : List.of("-in", in.toString(), "-out", out.toString()));
        run(words.toArray(String[]::new));
        return Files.readAllBytes(out);
    }

    private Path config(String... extensions) throws IOException {
        Path config = fresh("openssl.cnf");
        Files.writeString(
                config,
                "[req]\ndistinguished_name=dn\n[dn]\n[ext]\n"
                        + String.join("\n", extensions)
                        + "\n");
        return config;
    }

    private Path fresh(String name) {
        return directory.resolve(files++ + "-" + name);
    }

    /// Runs a command that must succeed.
    public void run(String... arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of("openssl"));
        command.addAll(List.of(arguments));
        Process process =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                        .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(true, process.waitFor(30, TimeUnit.SECONDS), "openssl hangs");
        assertEquals(0, process.exitValue(), () -> String.join(" ", command) + "\n" + output);
    }
}
