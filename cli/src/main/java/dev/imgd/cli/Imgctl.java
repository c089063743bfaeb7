package dev.imgd.cli;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.RegistryException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// The command line: results on standard output, everything else on standard error, exit codes by
/// [ErrorKind#exitCode()].
@Command(
        name = "imgctl",
        description = "Pulls, stores, unpacks and mounts container images.",
        synopsisSubcommandLabel = "COMMAND",
        sortOptions = false,
        addMethodSubcommands = false, // there are none, and looking for them takes long
        usageHelpAutoWidth = true)
public final class Imgctl implements Runnable {
    /// The exit code of a wrong command line.
    static final int EXIT_USAGE = 2;

    /// The exit code when some of several references failed.
    static final int EXIT_PARTIAL = 10;

    final Sessions sessions;

    @Mixin final GlobalOptions options = new GlobalOptions();

    @Option(
            names = {"-h", "--help"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Spec @Nullable CommandSpec spec;

    private Imgctl(Sessions sessions) {
        this.sessions = sessions;
    }

    /// Every command by its name and its alias. A function, because most calls need only one of
    /// them.
    private static @Nullable Object command(String name) {
        return switch (name) {
            case "pull" -> new ImageCommands.Pull();
            case "ls", "list" -> new ImageCommands.Ls();
            case "inspect" -> new ImageCommands.Inspect();
            case "tag" -> new ImageCommands.Tag();
            case "rm", "remove" -> new ImageCommands.Rm();
            case "gc" -> new ImageCommands.Gc();
            case "fsck" -> new ImageCommands.Fsck();
            case "mount" -> new ImageCommands.MountImage();
            case "unmount", "umount" -> new ImageCommands.Unmount();
            case "bundle" -> new ImageCommands.Bundle();
            case "import" -> new ImageCommands.Import();
            case "export" -> new ImageCommands.Export();
            case "push" -> new CopyCommands.Push();
            case "copy", "cp" -> new CopyCommands.Copy();
            case "encrypt" -> new CopyCommands.Encrypt();
            case "decrypt" -> new CopyCommands.Decrypt();
            case "decode" -> new DecodeCommand();
            case "registry" -> new RegistryCommands();
            case "manifest" -> new ManifestCommands();
            case "blob" -> new BlobCommands();
            case "login" -> new LoginCommands.Login();
            case "logout" -> new LoginCommands.Logout();
            case "whoami" -> new LoginCommands.Whoami();
            case "verify" -> new TrustCommands.Verify();
            case "sign" -> new TrustCommands.Sign();
            case "quickstart" -> new Quickstart();
            case "config" -> new ConfigCommand();
            case "version" -> new VersionCommand();
            case "completion" -> new Completion();
            case "help" -> new CommandLine.HelpCommand();
            default -> null;
        };
    }

    static final List<String> COMMANDS =
            List.of(
                    "pull",
                    "ls",
                    "inspect",
                    "tag",
                    "rm",
                    "gc",
                    "fsck",
                    "mount",
                    "unmount",
                    "bundle",
                    "import",
                    "export",
                    "push",
                    "copy",
                    "encrypt",
                    "decrypt",
                    "decode",
                    "login",
                    "logout",
                    "whoami",
                    "registry",
                    "manifest",
                    "blob",
                    "verify",
                    "sign",
                    "quickstart",
                    "config",
                    "version",
                    "completion",
                    "help");

    private static final Set<String> STORE_COMMANDS =
            Set.of(
                    "pull",
                    "ls",
                    "list",
                    "inspect",
                    "tag",
                    "rm",
                    "remove",
                    "gc",
                    "fsck",
                    "mount",
                    "unmount",
                    "umount",
                    "bundle",
                    "import",
                    "export",
                    "push",
                    "quickstart");

    /// Adds the commands that the arguments may mean: reading the options of all of them takes
    /// longer than running most. Words that are values of options may add one too many, which does
    /// no harm.
    private static void addCommands(CommandLine line, Set<String> named) {
        boolean all = named.isEmpty() || named.contains("help") || named.contains("completion");
        for (String name : all ? COMMANDS : named) {
            line.addSubcommand(name, Objects.requireNonNull(command(name)));
        }
    }

    /// The words that are commands.
    private static Set<String> named(String[] args) {
        Set<String> named = new LinkedHashSet<>();
        for (String arg : args) {
            if (command(arg) != null) {
                named.add(arg);
            }
        }
        return named;
    }

    /// Whether a store is about to be opened, as far as the words tell: a wrong guess only costs
    /// time.
    private static boolean opensStore(String[] args) {
        List<String> words = List.of(args);
        return words.contains("--root")
                || !(words.contains("--address")
                        || Files.exists(Config.defaults().get(Config.ADDRESS)));
    }

    /// Runs the program and exits.
    public static void main(String[] args) {
        // A client of the daemon uses the JDK's sockets, but gRPC loads Netty's native ones to see
        // whether
        // they are there.
        System.setProperty("io.netty.transport.noNative", "true");
        int code = run(args, stream(FileDescriptor.out), stream(FileDescriptor.err));
        // Halting skips shutdown hooks; what they guard is finished when run returns.
        Runtime.getRuntime().halt(code);
    }

    private static PrintStream stream(FileDescriptor descriptor) {
        return new PrintStream(
                new java.io.BufferedOutputStream(new FileOutputStream(descriptor), 8192),
                false,
                StandardCharsets.UTF_8);
    }

    /// Runs one command.
    ///
    /// @param out receives results, `err` everything else; both are flushed
    /// @return the exit code
    static int run(String[] args, PrintStream out, PrintStream err) {
        return run(args, out, err, Session::open);
    }

    /// Runs one command on what `sessions` opens.
    static int run(String[] args, PrintStream out, PrintStream err, Sessions sessions) {
        try {
            if (args.length == 1 && (args[0].equals("version") || args[0].equals("--version"))) {
                // Asked for by every script; not worth a command line parser.
                out.println(Version.line());
                return 0;
            }
            if (args.length > 0 && args[0].equals("-name")) {
                // How containerd calls an image verifier.
                args = Stream.concat(Stream.of("verify"), Stream.of(args)).toArray(String[]::new);
            }
            Set<String> named = named(args);
            if (named.stream().anyMatch(STORE_COMMANDS::contains)) {
                if (opensStore(args)) {
                    Warmup.ofStore();
                } else {
                    Warmup.ofDaemon();
                }
            }
            Console.set(new Console(out, err));
            Imgctl root = new Imgctl(sessions);
            CommandLine line = new CommandLine(root);
            addCommands(line, named);
            line.setCaseInsensitiveEnumValuesAllowed(true);
            line.setExpandAtFiles(false);
            line.setOut(new PrintWriter(out, true, StandardCharsets.UTF_8));
            line.setErr(new PrintWriter(err, true, StandardCharsets.UTF_8));
            line.setParameterExceptionHandler(UsageError::report);
            line.setExecutionStrategy(
                    parsed -> {
                        CliLogging.start(err, root.options.debug);
                        return new CommandLine.RunLast().execute(parsed);
                    });
            line.setExecutionExceptionHandler((e, command, parsed) -> report(e, root.options, err));
            return line.execute(args);
        } finally {
            out.flush();
            err.flush();
        }
    }

    /// Prints what failed, as one line of text or of JSON.
    ///
    /// @return the exit code
    static int report(Exception e, GlobalOptions options, PrintStream err) {
        ImageException error = Failure.of(e, "the output of --debug");
        if (Interruption.signalled() && error.kind() != ErrorKind.CANCELLED) {
            // A consequence: files that are being read or written are closed by an interrupt.
            error = new ImageException(ErrorKind.CANCELLED, "interrupted", error);
        }
        if (options.json()) {
            err.println(errorJson(error));
        } else {
            err.println("imgctl: " + Failure.line(error));
        }
        if (options.debug) {
            e.printStackTrace(err);
        }
        return error.kind().exitCode();
    }

    private static String errorJson(ImageException error) {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("code", error.kind().name())
                        .member("message", Failure.line(error))
                        .member("retryable", error.kind().retryable());
        if (error instanceof RegistryException registry && !registry.details().isEmpty()) {
            json.beginArray("registryErrors");
            for (RegistryException.Detail detail : registry.details()) {
                json.beginObject()
                        .member("code", detail.code())
                        .member("message", detail.message())
                        .endObject();
            }
            json.endArray();
        }
        return json.endObject().toString();
    }

    /// Without a command: the usage, and the exit code of a wrong command line.
    @Override
    public void run() {
        throw new ParameterException(
                Objects.requireNonNull(spec).commandLine(), "a command is missing");
    }
}
