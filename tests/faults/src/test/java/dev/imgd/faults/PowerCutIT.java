package dev.imgd.faults;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.faults.Disk.Cut;
import dev.imgd.image.ImageService.ExportFormat;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.testkit.InMemoryRegistry;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The power goes while a store is at work: what was acknowledged is there afterwards, and whatever
/// is visible is right.
///
/// The store lies on a file system in a file. This process keeps the ledger, outside of it.
@Tag("root")
@Timeout(3600)
class PowerCutIT {
    private static final int CUTS = Integer.getInteger("imgd.faults.cuts", 6);
    private static final int IMAGES = 6;

    /// Different promises of the file system about what it keeps without being asked.
    private static final List<String> OPTIONS =
            List.of(
                    "data=ordered",
                    "data=writeback,commit=1",
                    "data=ordered,commit=1",
                    "data=writeback,nodelalloc");

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private Disk disk;

    private final Map<String, String> named = new HashMap<>();
    private final Set<String> begun = new HashSet<>();
    private final Set<String> going = new HashSet<>();
    private final Set<String> shown = new HashSet<>();
    private int acknowledged;

    @BeforeEach
    void prepare() throws IOException {
        registry = InMemoryRegistry.start();
        disk = Disk.make(directory);
        Path archives = Files.createDirectory(directory.resolve("archives"));
        try (Node node = new Node(directory.resolve("source"))) {
            for (int i = 0; i < IMAGES; i++) {
                String reference = registry.push("i" + i, "1", Images.build(i));
                node.images.pull(PullRequest.of(reference), ProgressListener.NONE);
                node.images.export(
                        List.of(reference),
                        archives.resolve(i + ".tar"),
                        i % 2 == 0 ? ExportFormat.OCI_ARCHIVE : ExportFormat.DOCKER_ARCHIVE);
            }
        }
    }

    @AfterEach
    void cleanUp() throws IOException {
        disk.close();
        registry.close();
    }

    @Test
    void powerCut_duringEverything_losesNothingAcknowledged() throws Exception {
        String given = System.getProperty("imgd.faults.seed", "");
        long seed = given.isEmpty() ? new Random().nextLong() : Long.parseLong(given);
        System.out.printf("%d power cuts, -Dimgd.faults.seed=%d%n", CUTS, seed);
        Random random = new Random(seed);
        for (int round = 0; round < CUTS; round++) {
            String options = OPTIONS.get(round % OPTIONS.size());
            Cut cut = Cut.values()[round / 2 % 2];
            String what = "seed %d, round %d, %s, %s".formatted(seed, round, options, cut);
            disk.mount(options);
            work(random, cut, what);
            disk.unmount();
            disk.mount(options);
            compare(say("check"), what);
            disk.unmount();
        }
        disk.mount("defaults");
        assertEquals(List.of(), bad(say("empty")), "seed " + seed);
        disk.unmount();
        assertTrue(acknowledged > CUTS * 3, "only " + acknowledged + " acknowledged");
    }

    /// A process in which the machine has just been started: the kernel gives each boot an
    /// identity, and what was not synced is only lost with the next one.
    private Process start(Class<?> main, List<String> arguments) throws IOException {
        Path boot = Files.writeString(directory.resolve("boot"), UUID.randomUUID() + "\n");
        List<String> command =
                new ArrayList<>(
                        List.of(
                                "unshare",
                                "--mount",
                                "sh",
                                "-c",
                                "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"",
                                boot.toString(),
                                System.getProperty("java.home") + File.separator + "bin/java",
                                "-XX:+UseSerialGC",
                                "-XX:TieredStopAtLevel=1",
                                "-Xmx192m",
                                "--enable-native-access=ALL-UNNAMED",
                                "--sun-misc-unsafe-memory-access=allow",
                                "-Djava.io.tmpdir=" + directory,
                                "-cp",
                                System.getProperty("java.class.path"),
                                main.getName()));
        command.addAll(arguments);
        return new ProcessBuilder(command).redirectError(directory.resolve("log").toFile()).start();
    }

    private Path root() {
        return disk.path().resolve("store");
    }

    private void work(Random random, Cut cut, String what) throws Exception {
        Process writer =
                start(
                        Writer.class,
                        List.of(
                                root().toString(),
                                Long.toString(random.nextLong()),
                                registry.authority(),
                                directory.resolve("archives").toString(),
                                Integer.toString(IMAGES)));
        try (BufferedReader out = writer.inputReader()) {
            for (int lines = 5 + random.nextInt(50); lines > 0; lines--) {
                String line = out.readLine();
                assertNotNull(line, () -> what + ": the writer ended early; " + log());
                assertTrue(!line.startsWith("stopped"), () -> what + ": " + line);
                note(line);
            }
            disk.cut(cut);
            // What it says from now on was done before the cut, or it is wrong.
            writer.toHandle().destroyForcibly();
            for (String line = out.readLine(); line != null; line = out.readLine()) {
                note(line);
            }
        } finally {
            writer.destroyForcibly().waitFor();
        }
    }

    private void note(String line) {
        String[] words = line.split(" ");
        switch (words[0]) {
            case "begin" -> begun.add(words[1]);
            case "named" -> {
                named.put(words[1], words[2]);
                begun.remove(words[1]);
                acknowledged++;
            }
            case "going" -> going.add(words[1]);
            case "gone" -> {
                named.remove(words[1]);
                going.remove(words[1]);
                acknowledged++;
            }
            case "shown" -> {
                shown.add(words[1]);
                acknowledged++;
            }
            case "open", "stopped" -> {}
            default -> throw new AssertionError(line);
        }
    }

    private List<String> say(String task) throws Exception {
        Path mount = Files.createDirectories(directory.resolve("looking"));
        Process checker = start(Checker.class, List.of(root().toString(), mount.toString(), task));
        List<String> lines = new ArrayList<>();
        try (BufferedReader out = checker.inputReader()) {
            out.lines().forEach(lines::add);
        } finally {
            checker.destroyForcibly().waitFor();
        }
        assertTrue(lines.contains("end"), () -> "the check broke off: " + lines + " " + log());
        return lines;
    }

    private String log() {
        try {
            return Files.readString(directory.resolve("log"));
        } catch (IOException e) {
            return e.toString();
        }
    }

    private static List<String> bad(List<String> lines) {
        return lines.stream().filter(line -> line.startsWith("bad ")).toList();
    }

    private void compare(List<String> lines, String what) {
        assertEquals(List.of(), bad(lines), what);
        Map<String, String> names = new HashMap<>();
        Set<String> snapshots = new HashSet<>();
        for (String line : lines) {
            String[] words = line.split(" ");
            if (words[0].equals("name")) {
                names.put(words[1], words[2]);
            } else if (words[0].equals("snapshot")) {
                snapshots.add(words[1]);
            }
        }
        named.forEach(
                (name, digest) -> {
                    String got = names.get(name);
                    assertTrue(
                            digest.equals(got) || (got == null && going.contains(name)),
                            () -> "%s: %s: wanted %s, got %s".formatted(what, name, digest, got));
                });
        for (String name : names.keySet()) {
            assertTrue(
                    named.containsKey(name) || begun.contains(name),
                    () -> "%s: %s came back".formatted(what, name));
        }
        assertTrue(snapshots.containsAll(shown), () -> what + ": " + shown + " " + snapshots);
        // What was not acknowledged may be there or not; from here on it counts.
        named.clear();
        named.putAll(names);
        begun.clear();
        going.clear();
    }
}
