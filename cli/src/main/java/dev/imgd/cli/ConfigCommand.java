package dev.imgd.cli;

import dev.imgd.model.ImageException;
import dev.imgd.model.Platform;
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
        Config config = options.configuration();
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
            description = {
                "Prints what to add to containerd's config.toml.",
                "Version 2 is for containerd 1.6 and later, version 3 for 2.0 and later."
            })
    static final class Containerd implements Callable<Integer> {
        @ParentCommand @Nullable ConfigCommand parent;

        @Option(
                names = {"-h", "--help"},
                usageHelp = true,
                description = "Shows this text.")
        boolean help;

        @Option(
                names = "--config-version",
                paramLabel = "2|3",
                description = "What that file's line \"version =\" says (default: 2).")
        int version = 2;

        @Override
        public Integer call() throws ImageException {
            Config config = Objects.requireNonNull(parent).load();
            String address = ConfigKey.PATH.write(config.get(Config.SNAPSHOTTER_ADDRESS));
            String root = ConfigKey.PATH.write(config.get(Config.ROOT));
            String text =
                    switch (version) {
                        case 2 -> VERSION_2.formatted(address);
                        case 3 -> VERSION_3.formatted(address, root, Platform.host().format());
                        default ->
                                throw ImageException.invalidArgument(
                                        "--config-version: wanted 2 or 3, got " + version);
                    };
            Console.current().out().print(text);
            return 0;
        }

        private static final String VERSION_2 =
                """
                # For a config.toml with: version = 2
                [proxy_plugins.imgd]
                  type = "snapshot"
                  address = %s

                [plugins."io.containerd.grpc.v1.cri".containerd]
                  snapshotter = "imgd"
                  disable_snapshot_annotations = false
                """;

        /// The exports are for the CRI plugin's disk figures and for the labels of the transfer
        /// service, which pulls images from 2.1 on and unpacks into no snapshotter that it has no
        /// entry for.
        private static final String VERSION_3 =
                """
                # For a config.toml with: version = 3
                [proxy_plugins.imgd]
                  type = "snapshot"
                  address = %s
                  [proxy_plugins.imgd.exports]
                    root = %s
                    enable_remote_snapshot_annotations = "true"

                [plugins.'io.containerd.cri.v1.images']
                  snapshotter = "imgd"
                  disable_snapshot_annotations = false

                [[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
                  platform = "%s"
                  snapshotter = "imgd"
                """;
    }
}
