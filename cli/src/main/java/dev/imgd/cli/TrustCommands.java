package dev.imgd.cli;

import dev.imgd.image.ImageVerifier;
import dev.imgd.image.ImageVerifier.Verification;
import dev.imgd.image.RegistryClients;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Platform;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.trust.ImageSigner;
import dev.imgd.trust.Verdict;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/// The commands about signatures. They ask registries and the policy, and open no store.
final class TrustCommands {
    private TrustCommands() {}

    /// What the commands share.
    abstract static class TrustCommand implements Callable<Integer> {
        @ParentCommand @Nullable Imgctl parent;

        @Option(
                names = {"--help", "-h"},
                usageHelp = true,
                description = "Shows this text.")
        boolean help;

        @Option(names = "--plain-http", description = "Speak http, not https, to the registry.")
        boolean plainHttp;

        @Mixin final CredentialOptions user = new CredentialOptions();

        boolean json() {
            return Objects.requireNonNull(parent).options.json();
        }

        PrintStream out() {
            return Console.current().out();
        }

        /// The image, as the user wrote it.
        abstract String asked() throws ImageException;

        abstract int run(Config config, RegistryClients registries) throws ImageException;

        @Override
        public Integer call() throws ImageException {
            Config config = Objects.requireNonNull(parent).options.configuration();
            try (Interruption _ = Interruption.guard();
                    RegistryClients registries =
                            Assembly.registries(config, user.source(asked()))) {
                RegistryCommand.warnOfHttps(registries, asked(), plainHttp);
                return run(config, registries);
            }
        }
    }

    @Command(
            name = "verify",
            description = {
                "Says whether the policy accepts an image, and why, without pulling it.",
                "Called by containerd as an image verifier (-name, -digest), it decides the same way."
            })
    static final class Verify extends TrustCommand {
        private static final int MAX_INPUT_BYTES = 1 << 20;

        @Parameters(paramLabel = "REF", arity = "0..1", description = "The image.")
        @Nullable String reference;

        @Option(names = "-name", hidden = true)
        @Nullable String name;

        @Option(names = "-digest", hidden = true)
        @Nullable String digest;

        @Option(names = "-stdin-media-type", hidden = true)
        @Nullable String inputType;

        @Option(
                names = "--platform",
                paramLabel = "P",
                description = "For example linux/arm64 (default: this host's).")
        @Nullable String platform;

        @Override
        String asked() throws ImageException {
            String asked = reference == null ? name : reference;
            if (asked == null) {
                throw ImageException.invalidArgument("verify: the image is missing");
            }
            return asked;
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            String asked = asked();
            if (inputType != null) {
                drain();
            }
            Verification verification =
                    new ImageVerifier(registries, config.limits())
                            .verify(
                                    Reference.parse(asked),
                                    digest == null
                                            ? Optional.empty()
                                            : Optional.of(Digest.parse(digest)),
                                    platform == null
                                            ? Platform.host()
                                            : Platform.parse(platform).normalized(),
                                    plainHttp);
            if (json()) {
                printJson(asked, verification);
            } else {
                print(asked, verification);
            }
            return verification.accepted() ? 0 : ErrorKind.PERMISSION_DENIED.exitCode();
        }

        /// Takes the descriptor that containerd writes, so that it does not fail at writing it. The
        /// digest says all that counts.
        private static void drain() throws ImageException {
            try {
                var _ = System.in.readNBytes(MAX_INPUT_BYTES);
            } catch (IOException e) {
                throw new ImageException(
                        ErrorKind.INTERNAL, "standard input: " + e.getMessage(), e);
            }
        }

        private void print(String asked, Verification verification) {
            out().println(
                            "%s%s: %s"
                                    .formatted(
                                            asked,
                                            verification
                                                    .digest()
                                                    .map(d -> " (" + d + ")")
                                                    .orElse(""),
                                            verification.accepted() ? "accepted" : "refused"));
            for (Verdict verdict : verification.verdicts()) {
                out().println(
                                "%s: rule \"%s\" of %s"
                                        .formatted(
                                                verdict.digest()
                                                        .map(Digest::toString)
                                                        .orElse("any image"),
                                                verdict.rule(),
                                                verdict.policy()));
                for (Verdict.Check check : verdict.checks()) {
                    out().println(
                                    "  %s: %s: %s"
                                            .formatted(
                                                    check.requirement(),
                                                    check.satisfied() ? "met" : "not met",
                                                    check.reason()));
                    for (Verdict.Tried tried : check.signatures()) {
                        out().println(
                                        "    %s %s: %s: %s%s"
                                                .formatted(
                                                        tried.kind(),
                                                        tried.where(),
                                                        tried.good() ? "good" : "does not count",
                                                        tried.reason(),
                                                        tried.key()
                                                                .map(key -> "; made by " + key)
                                                                .orElse("")));
                    }
                }
            }
        }

        private void printJson(String asked, Verification verification) {
            JsonWriter json =
                    JsonWriter.indented()
                            .beginObject()
                            .member("name", asked)
                            .member("accepted", verification.accepted());
            verification.digest().ifPresent(d -> json.member("digest", d.toString()));
            json.beginArray("verdicts");
            for (Verdict verdict : verification.verdicts()) {
                json.beginObject().member("accepted", verdict.accepted());
                verdict.digest().ifPresent(d -> json.member("digest", d.toString()));
                json.member("policy", verdict.policy())
                        .member("rule", verdict.rule())
                        .beginArray("checks");
                for (Verdict.Check check : verdict.checks()) {
                    json.beginObject()
                            .member("requirement", check.requirement())
                            .member("satisfied", check.satisfied())
                            .member("reason", check.reason())
                            .beginArray("signatures");
                    for (Verdict.Tried tried : check.signatures()) {
                        json.beginObject()
                                .member("kind", tried.kind())
                                .member("digest", tried.where().toString())
                                .member("good", tried.good());
                        tried.key().ifPresent(key -> json.member("key", key));
                        json.member("reason", tried.reason()).endObject();
                    }
                    json.endArray().endObject();
                }
                json.endArray().endObject();
            }
            out().println(json.endArray().endObject());
        }
    }

    @Command(
            name = "sign",
            description = {
                "Signs an image in its registry with a private key, as cosign does.",
                "The signature is stored beside the image under the tag sha256-<digest>.sig."
            })
    static final class Sign extends TrustCommand {
        private static final int MAX_KEY_BYTES = 64 << 10;

        @Parameters(
                paramLabel = "REF",
                description = "The image; of an index only itself is signed.")
        String reference = "";

        @Option(
                names = "--key",
                required = true,
                paramLabel = "FILE",
                description =
                        "Private key in PEM: PKCS#8, or of cosign with its password in"
                                + " $COSIGN_PASSWORD or on standard input.")
        Path key = Path.of("");

        @Override
        String asked() {
            return reference;
        }

        @Override
        int run(Config config, RegistryClients registries) throws ImageException {
            ImageSigner signer = signer();
            Reference image = Reference.parse(reference).withDefaultTag();
            try (RegistryClient client = registries.client(image.registry(), plainHttp).session()) {
                Descriptor target = client.resolve(image).descriptor();
                Reference where = signer.sign(client, image, target.digest(), config.limits());
                if (json()) {
                    out().println(
                                    JsonWriter.indented()
                                            .beginObject()
                                            .member("name", image.toString())
                                            .member("digest", target.digest().toString())
                                            .member("signatures", where.toString())
                                            .endObject());
                } else {
                    out().println(where);
                }
            }
            return 0;
        }

        private ImageSigner signer() throws ImageException {
            byte[] pem;
            try {
                if (Files.size(key) > MAX_KEY_BYTES) {
                    throw ImageException.invalidArgument(key + ": too large for a key");
                }
                pem = Files.readAllBytes(key);
            } catch (ImageException e) {
                throw e;
            } catch (NoSuchFileException e) {
                throw ImageException.notFound(key + ": no such file");
            } catch (IOException e) {
                throw new ImageException(
                        ErrorKind.NOT_FOUND,
                        "%s: cannot be read: %s; check that it is a file and its permissions"
                                .formatted(key, e.getMessage()),
                        e);
            }
            try {
                return ImageSigner.of(key.toString(), pem, () -> keyPassword(System.getenv()));
            } finally {
                Arrays.fill(pem, (byte) 0);
            }
        }

        private byte[] keyPassword(Map<String, String> environment) throws ImageException {
            if (user.isGiven() && environment.get("COSIGN_PASSWORD") == null) {
                throw ImageException.invalidArgument(
                        (key + ": standard input has the password of --user;")
                                + " give the key's in $COSIGN_PASSWORD, or log in first");
            }
            return password(environment);
        }

        /// Where cosign looks for it too. Set and empty is a password.
        static byte[] password(Map<String, String> environment) throws ImageException {
            String set = environment.get("COSIGN_PASSWORD");
            return (set == null ? SecretInput.read("Password of the private key: ") : set)
                    .getBytes(StandardCharsets.UTF_8);
        }
    }
}
