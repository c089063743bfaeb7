package dev.imgd.cli;

import dev.imgd.model.ImageException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/// The options that every command takes, before or after its name.
final class GlobalOptions {
    /// How results are printed.
    enum Output {
        table,
        json
    }

    /// How progress is shown.
    enum ProgressMode {
        auto,
        tty,
        plain,
        json,
        none
    }

    @Option(
            names = "--root",
            scope = ScopeType.INHERIT,
            paramLabel = "DIR",
            description = "Use the store in DIR (with --address: if no daemon answers there).")
    @Nullable Path root;

    @Option(
            names = "--address",
            scope = ScopeType.INHERIT,
            paramLabel = "SOCK",
            description =
                    "Use the daemon at this socket (default: /run/imgd/imgd.sock if it answers).")
    @Nullable Path address;

    @Option(
            names = "--config",
            scope = ScopeType.INHERIT,
            paramLabel = "FILE",
            description = "Configuration file (default: /etc/imgd/config.toml if it exists).")
    @Nullable Path config;

    @Option(
            names = "--authfile",
            scope = ScopeType.INHERIT,
            paramLabel = "FILE",
            description = "Use this credentials file and no other (default: registry.auth_file).")
    @Nullable Path authFile;

    @Option(
            names = {"--output", "-o"},
            scope = ScopeType.INHERIT,
            paramLabel = "table|json",
            description = "Format of results (default: table).")
    Output output = Output.table;

    @Option(
            names = "--progress",
            scope = ScopeType.INHERIT,
            paramLabel = "MODE",
            description = "auto, tty, plain, json or none (default: auto).")
    ProgressMode progress = ProgressMode.auto;

    @Option(
            names = "--debug",
            scope = ScopeType.INHERIT,
            description = "Log what is done, and stack traces of errors.")
    boolean debug;

    /// Keys for encrypted layers, of commands that have an option for them.
    List<String> decryptionKeys = List.of();

    /// Whether the command makes no store where there is none, but says so.
    boolean onlyExisting;

    /// The configuration, with what these options say instead of it; `--root` and `--address` are
    /// for [Session].
    Config configuration() throws ImageException {
        Config loaded = Config.load(config);
        return authFile == null
                ? loaded
                : loaded.with(Config.AUTH_FILE, Optional.of(authFile.toAbsolutePath().normalize()));
    }

    boolean json() {
        return output == Output.json;
    }
}
