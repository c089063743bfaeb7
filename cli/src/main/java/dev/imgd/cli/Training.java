package dev.imgd.cli;

import dev.imgd.registry.EmbeddedRegistry;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/// Runs the usual work once, so that the JVM can record which classes it loads. The launcher calls
/// it with `-XX:AOTCacheOutput` after a build.
public final class Training {
    private Training() {}

    /// @param args `cli` or `daemon`
    public static void main(String[] args) throws Exception {
        Path directory = Files.createTempDirectory("imgd-training-");
        try {
            if (args.length > 0 && args[0].equals("daemon")) {
                daemon(directory, true);
                run("quickstart");
            } else {
                cli(directory);
                daemon(directory, false);
            }
        } finally {
            try (Stream<Path> tree = Files.walk(directory)) {
                for (Path path : tree.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(path);
                }
            }
        }
    }

    private static void cli(Path directory) throws IOException {
        String root = directory.resolve("store").toString();
        run("version", "-o", "json");
        run("--help");
        run("pull", "--help");
        run("--root", root, "ls");
        run("--root", root, "pull", "--progress", "plain", "localhost:1/none:1");
        run("quickstart");
        try (EmbeddedRegistry registry =
                EmbeddedRegistry.start(SampleImage.build().served("sample"))) {
            String reference = registry.authority() + "/sample:latest";
            run("--root", root, "pull", "--no-unpack", reference);
            run("--root", root, "tag", reference, "sample:1");
            run("--root", root, "ls");
            run("--root", root, "-o", "json", "ls");
            run("--root", root, "inspect", "sample:1");
            run("--root", root, "inspect", "none");
            run("--root", root, "export", directory.resolve("export.tar").toString(), "sample:1");
            run("--root", root, "rm", "sample:1", reference);
            run("--root", root, "gc");
            String layout = "oci:" + directory.resolve("layout") + ":1";
            run("copy", "docker://" + reference, layout);
            run("copy", layout, "oci-archive:" + directory.resolve("layout.tar") + ":1");
            run("copy", layout, "docker://localhost:1/none:1");
            run("registry", "tags", registry.authority() + "/sample");
            run("manifest", "get", reference);
        }
    }

    /// A daemon and its client, in this process.
    private static void daemon(Path directory, boolean logging) throws Exception {
        Path socket = directory.resolve("run/imgd.sock");
        String address = socket.toString();
        Config config =
                Config.defaults()
                        .with(Config.ROOT, directory.resolve("daemon"))
                        .with(Config.ADDRESS, socket)
                        .with(
                                Config.SNAPSHOTTER_ADDRESS,
                                directory.resolve("run/snapshotter.sock"));
        if (logging) {
            DaemonLogging.start(config);
        }
        try (Imgd _ = Imgd.start(config);
                EmbeddedRegistry registry =
                        EmbeddedRegistry.start(SampleImage.build().served("sample"))) {
            String reference = registry.authority() + "/sample:latest";
            run("--address", address, "ls");
            run("--address", address, "pull", "--progress", "none", "localhost:1/none:1");
            run("--address", address, "pull", "--progress", "plain", reference);
            run("--address", address, "ls");
            run("--address", address, "inspect", reference);
            run("--address", address, "rm", reference);
            run("--address", address, "gc");
        }
    }

    private static void run(String... args) {
        ByteArrayOutputStream sink = new ByteArrayOutputStream();
        PrintStream out = new PrintStream(sink, true, StandardCharsets.UTF_8);
        int code = Imgctl.run(args, out, out);
        System.out.println(List.of(args) + " " + code);
        System.out.print(sink.toString(StandardCharsets.UTF_8));
    }
}
