package dev.imgd.cli;

import dev.imgd.image.ImageCopier;
import dev.imgd.image.ImageLocation;
import dev.imgd.image.ImageService.CopyPlatforms;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.CopyResult;
import dev.imgd.image.LayerRewriting;
import dev.imgd.image.LocalImageService;
import dev.imgd.image.RegistryClients;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.trust.LayerRecipients;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/// `imgctl push` and `imgctl copy`.
final class CopyCommands {
    private CopyCommands() {}

    /// What the two share.
    abstract static class Copying implements Callable<Integer> {
        @ParentCommand @Nullable Imgctl parent;

        @Option(
                names = {"--help", "-h"},
                usageHelp = true,
                description = "Shows this text.")
        boolean help;

        @Option(
                names = "--platform",
                paramLabel = "P",
                description = "Only the image of this platform, for example linux/arm64.")
        @Nullable String platform;

        @Option(names = "--all-platforms", description = "The index with everything in it.")
        boolean allPlatforms;

        @Option(names = "--foreign-layers", description = "Also layers that say to live elsewhere.")
        boolean foreignLayers;

        @Option(
                names = {"-q", "--quiet"},
                description = "Print only the digest.")
        boolean quiet;

        GlobalOptions options() {
            return Objects.requireNonNull(parent).options;
        }

        /// What is asked for, with credentials that were read for it.
        abstract CopyRequest request() throws ImageException;

        /// What happens to the layers; null for nothing.
        @Nullable LayerRewriting rewriting() throws ImageException {
            return null;
        }

        CopyPlatforms platforms(CopyPlatforms usual) throws ImageException {
            if (allPlatforms && platform != null) {
                throw ImageException.invalidArgument(
                        "--all-platforms and --platform exclude each other");
            }
            return allPlatforms ? CopyPlatforms.ALL : platform != null ? CopyPlatforms.ONE : usual;
        }

        @Override
        public Integer call() throws ImageException {
            CopyRequest request = request();
            PrintStream err = Console.current().err();
            CopyResult result;
            try (ProgressRenderer progress =
                    ProgressRenderer.of(
                            quiet ? GlobalOptions.ProgressMode.none : options().progress, err)) {
                result = copy(request, progress);
            }
            result.warnings().forEach(Console.current()::warn);
            print(result);
            return 0;
        }

        private CopyResult copy(CopyRequest request, ProgressRenderer progress)
                throws ImageException {
            LayerRewriting rewriting = rewriting();
            if (ImageCopier.needsStore(request)) {
                options().onlyExisting =
                        request.source().transport() == ImageLocation.Transport.STORE;
                try (Session session = Objects.requireNonNull(parent).sessions.open(options())) {
                    CopyRequest whole = withCallers(request, session.callers());
                    return rewriting == null
                            ? session.images().copy(whole, progress)
                            : local(session).copy(whole, progress, rewriting);
                }
            }
            Config config = options().configuration();
            try (RegistryClients registries = Assembly.registries(config);
                    Interruption _ = Interruption.guard()) {
                return new ImageCopier(
                                registries,
                                config.limits(),
                                config.get(Config.CONCURRENT_DOWNLOADS))
                        .copy(request, progress, rewriting);
            }
        }

        private static CopyRequest withCallers(CopyRequest request, CredentialSource callers)
                throws ImageException {
            return request.withCredentials(
                    credentials(request.source(), request.sourceCredentials(), callers),
                    credentials(request.destination(), request.destinationCredentials(), callers));
        }

        private static Optional<Credentials> credentials(
                ImageLocation location, Optional<Credentials> given, CredentialSource callers)
                throws ImageException {
            return given.isPresent() || location.transport() != ImageLocation.Transport.DOCKER
                    ? given
                    : callers.find(
                            location.reference().registry(), location.reference().repository());
        }

        /// Recipients and keys are files of this process, which a daemon does not read for it.
        private static LocalImageService local(Session session) throws ImageException {
            Assembly assembly = session.assembly();
            if (assembly == null) {
                throw ImageException.failedPrecondition(
                        "a daemon has the store, and does not encrypt or decrypt for others; copy the image to or from oci:DIR with imgctl copy");
            }
            return assembly.images();
        }

        private void print(CopyResult result) {
            PrintStream out = Console.current().out();
            if (options().json()) {
                out.println(
                        JsonWriter.indented()
                                .beginObject()
                                .member("destination", result.destination())
                                .member("digest", result.digest().toString())
                                .member("mediaType", result.mediaType())
                                .member("manifests", result.manifests())
                                .member("blobs", result.blobs())
                                .member("existingBlobs", result.existingBlobs())
                                .member("mountedBlobs", result.mountedBlobs())
                                .member("skippedBlobs", result.skippedBlobs())
                                .member("referrers", result.referrers())
                                .member("copiedBytes", result.copiedBytes())
                                .member("millis", result.millis())
                                .member("warnings", result.warnings())
                                .endObject());
                return;
            }
            out.println(
                    quiet
                            ? result.digest().toString()
                            : result.destination().endsWith("@" + result.digest())
                                    ? result.destination()
                                    : result.destination() + "@" + result.digest());
            if (!quiet) {
                Console.current().err().println(summary(result));
            }
        }

        private static String summary(CopyResult result) {
            StringBuilder text = new StringBuilder();
            text.append(result.manifests())
                    .append(result.manifests() == 1 ? " manifest, " : " manifests, ")
                    .append(result.blobs())
                    .append(result.blobs() == 1 ? " blob" : " blobs");
            append(text, result.existingBlobs(), "there before");
            append(text, result.mountedBlobs(), "mounted");
            append(text, result.skippedBlobs(), "foreign and left out");
            append(text, result.referrers(), result.referrers() == 1 ? "referrer" : "referrers");
            return text.append(", ")
                    .append(Sizes.bytes(result.copiedBytes()))
                    .append(" copied in ")
                    .append(Sizes.millis(result.millis()))
                    .toString();
        }

        private static void append(StringBuilder text, int count, String what) {
            if (count > 0) {
                text.append(", ").append(count).append(' ').append(what);
            }
        }
    }

    @Command(
            name = "push",
            description = {
                "Pushes an image of the store to a registry.",
                "All platforms if the store has them all, else the image of this host's."
            })
    static final class Push extends Copying {
        @Parameters(index = "0", paramLabel = "REF", description = "An image of the store.")
        String source = "";

        @Parameters(
                index = "1",
                arity = "0..1",
                paramLabel = "DEST",
                description = "What to call it (default: REF).")
        @Nullable String destination;

        @Option(names = "--plain-http", description = "Speak http, not https, to the registry.")
        boolean plainHttp;

        @Mixin final CredentialOptions user = new CredentialOptions();

        @Override
        CopyRequest request() throws ImageException {
            Reference from = Reference.parse(source).withDefaultTag();
            Reference to =
                    destination == null ? from : Reference.parse(destination).withDefaultTag();
            return new CopyRequest(
                    ImageLocation.store(from),
                    ImageLocation.docker(to),
                    platforms(CopyPlatforms.AVAILABLE),
                    Optional.ofNullable(platform),
                    false,
                    foreignLayers,
                    false,
                    plainHttp,
                    Optional.empty(),
                    user.read(to.toString()));
        }
    }

    @Command(
            name = "copy",
            aliases = "cp",
            description = {
                "Copies an image, digests preserved, from one place to another.",
                "Places are:",
                "  docker://REF  store:REF  oci:DIR[:NAME]  oci-archive:FILE[:NAME]",
                "  docker-archive:FILE[:REF]  dir:DIR",
                "Of an index, this host's platform is copied unless told otherwise."
            })
    static final class Copy extends Between {
        @Option(
                names = "--referrers",
                description = "Also signatures and other artifacts that refer to the image.")
        boolean referrers;

        @Override
        boolean withReferrers() {
            return referrers;
        }
    }

    @Command(
            name = "encrypt",
            description = {
                "Copies an image with its layers encrypted, as ocicrypt and skopeo do.",
                "SRC and DST are as for copy. Each layer is read twice."
            })
    static final class Encrypt extends Between {
        @Option(
                names = {"--recipient", "--encryption-key"},
                required = true,
                paramLabel = "jwe:PUBLICKEY|pkcs7:CERTIFICATE",
                description = "Who can decrypt it: a file in PEM. May be repeated.")
        List<String> recipients = List.of();

        @Option(
                names = {"--layer", "--encrypt-layer"},
                paramLabel = "N",
                description = "Only this layer: 0 is the lowest, -1 the topmost. May be repeated.")
        List<Integer> layers = List.of();

        @Override
        LayerRewriting rewriting() throws ImageException {
            return LayerRewriting.encrypt(LayerRecipients.named(recipients), layers);
        }
    }

    @Command(
            name = "decrypt",
            description = {
                "Copies an image with its layers decrypted; not into the store.",
                "SRC and DST are as for copy. Each layer is read twice, first for its HMAC."
            })
    static final class Decrypt extends Between {
        @Option(
                names = {"--key", "--decryption-key"},
                paramLabel = "FILE[:file=F|:fd=N]",
                description = {
                    "A private key, and where its password is, in addition to those of",
                    "the directory of decryption.keys_path. May be repeated."
                })
        List<String> keys = List.of();

        @Override
        LayerRewriting rewriting() throws ImageException {
            return LayerRewriting.decrypt(
                    Assembly.keys(Config.load(options().config), Session.keys(keys)));
        }
    }

    /// A command from one place to another.
    abstract static class Between extends Copying {
        @Parameters(index = "0", paramLabel = "SRC")
        String source = "";

        @Parameters(index = "1", paramLabel = "DST")
        String destination = "";

        @Option(names = "--src-plain-http", description = "Speak http, not https, to the source.")
        boolean sourcePlainHttp;

        @Option(
                names = "--dest-plain-http",
                description = "Speak http, not https, to the destination.")
        boolean destinationPlainHttp;

        @Option(
                names = "--src-user",
                paramLabel = "NAME",
                description = {
                    "Ask the source's registry as NAME, in this call only. The password is",
                    "read from standard input; \"<token>\" when it is an identity token."
                })
        @Nullable String sourceUser;

        @Option(
                names = "--dest-user",
                paramLabel = "NAME",
                description = {
                    "As --src-user, for the destination's; with both, standard input has two",
                    "lines, the source's password first."
                })
        @Nullable String destinationUser;

        @Option(
                names = "--password-stdin",
                description = "Changes nothing: passwords always come from standard input.")
        boolean passwordStdin;

        boolean withReferrers() {
            return false;
        }

        @Override
        CopyRequest request() throws ImageException {
            CopyRequest request =
                    new CopyRequest(
                            ImageLocation.parse(source),
                            ImageLocation.parse(destination),
                            platforms(CopyPlatforms.ONE),
                            Optional.ofNullable(platform),
                            withReferrers(),
                            foreignLayers,
                            sourcePlainHttp,
                            destinationPlainHttp);
            return withUsers(request);
        }

        private CopyRequest withUsers(CopyRequest request) throws ImageException {
            if (sourceUser == null && destinationUser == null) {
                CredentialOptions.checkPasswordStdin(passwordStdin, "--src-user or --dest-user");
                return request;
            }
            List<String> prompts = new ArrayList<>();
            if (sourceUser != null) {
                prompts.add(prompt("--src-user", sourceUser, request.source()));
            }
            if (destinationUser != null) {
                prompts.add(prompt("--dest-user", destinationUser, request.destination()));
            }
            List<String> secrets = SecretInput.read(prompts);
            return request.withCredentials(
                    credentials("--src-user", sourceUser, secrets.getFirst()),
                    credentials("--dest-user", destinationUser, secrets.getLast()));
        }

        private static String prompt(String option, String user, ImageLocation location)
                throws ImageException {
            CredentialOptions.checkUser(option, user);
            if (location.transport() != ImageLocation.Transport.DOCKER) {
                throw ImageException.invalidArgument(
                        "%s: %s is in no registry; only docker://REF is asked as somebody"
                                .formatted(option, location));
            }
            return CredentialOptions.prompt(user, location.reference().registry());
        }

        private static Optional<Credentials> credentials(
                String option, @Nullable String user, String secret) throws ImageException {
            return user == null
                    ? Optional.empty()
                    : Optional.of(CredentialOptions.of(user, secret, option));
        }
    }
}
