package dev.imgd.cli;

import dev.imgd.model.ImageException;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/// `imgctl config`.
@Command(
        name = "config",
        description = "Shows the configuration.",
        subcommands = {ConfigCommand.Dump.class, ConfigCommand.Containerd.class})
final class ConfigCommand implements Callable<Integer> {
    @ParentCommand @Nullable Imgctl parent;

    @Option(
            names = {"-h", "--help"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Override
    public Integer call() throws ImageException {
        Console.current().out().print(load().dump());
        return 0;
    }

    Config load() throws ImageException {
        GlobalOptions options = Objects.requireNonNull(parent).options;
        Config config = Config.load(options.config);
        return options.root == null
                ? config
                : config.with(Config.ROOT, options.root.toAbsolutePath().normalize());
    }

    /// `imgctl config dump`.
    @Command(name = "dump", description = "Prints the effective configuration.")
    static final class Dump implements Callable<Integer> {
        @ParentCommand @Nullable ConfigCommand parent;

        @Override
        public Integer call() throws ImageException {
            return Objects.requireNonNull(parent).call();
        }
    }

    /// `imgctl config containerd`.
    @Command(
            name = "containerd",
            description = "Prints what to add to containerd's config.toml (version 2, 1.6 and 1.7).")
    static final class Containerd implements Callable<Integer> {
        @ParentCommand @Nullable ConfigCommand parent;

        @Override
        public Integer call() throws ImageException {
            Config config = Objects.requireNonNull(parent).load();
            Console.current()
                    .out()
                    .print(
                            """
                            [proxy_plugins.imgd]
                              type = "snapshot"
                              address = "%s"

                            [plugins."io.containerd.grpc.v1.cri".containerd]
                              snapshotter = "imgd"
                              disable_snapshot_annotations = false
                            """
                                    .formatted(config.get(Config.SNAPSHOTTER_ADDRESS)));
            return 0;
        }
    }
}
