package dev.imgd.e2e;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/// The directory of one test, what runs there, and what the tests share.
///
/// After the test everything is ended in reverse order. A mount or a process that is left over then
/// is a failure of the test; it is removed all the same.
final class Workspace implements BeforeEachCallback, AfterEachCallback {
    private static final ExtensionContext.Namespace NAMESPACE =
            ExtensionContext.Namespace.create(Workspace.class);

    private final Deque<AutoCloseable> open = new ArrayDeque<>();
    private @Nullable Path directory;
    private @Nullable Shared shared;

    /// The registry with the test image, one for all tests.
    private static final class Shared implements AutoCloseable {
        final Path directory;
        final DockerRegistry registry;
        final Image image;
        final String reference;

        Shared() {
            try {
                directory = temporaryDirectory();
                image = Image.small();
                registry = DockerRegistry.open(directory.resolve("registry"));
                reference = registry.push(image.layout(), "debian:12");
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        }

        @Override
        public void close() {
            registry.close();
            delete(directory);
        }
    }

    @Override
    public void beforeEach(ExtensionContext context) throws IOException {
        if (!Files.getOwner(Path.of("/proc/self")).getName().equals("root")) {
            throw new AssertionError(
                    "these tests mount file systems: run them as root, or leave them out with"
                            + " -DexcludedGroups=root");
        }
        directory = temporaryDirectory();
        shared =
                context.getRoot()
                        .getStore(NAMESPACE)
                        .getOrComputeIfAbsent(Shared.class, key -> new Shared(), Shared.class);
    }

    @Override
    public void afterEach(ExtensionContext context) throws Exception {
        Path place = directory();
        List<String> problems = new ArrayList<>();
        while (!open.isEmpty()) {
            try {
                open.pop().close();
            } catch (Exception | AssertionError e) {
                problems.add(e.toString());
            }
        }
        for (String mount : mountsBelow(place).reversed()) {
            problems.add("left mounted: " + mount);
            Program.of("umount", "-l", mount).run();
        }
        for (ProcessHandle process : processesNaming(place)) {
            problems.add("left running: " + process.pid() + " " + commandLine(process));
            process.destroyForcibly();
        }
        delete(place);
        if (!problems.isEmpty()) {
            throw new AssertionError(String.join("\n", problems));
        }
    }

    /// The test's own empty directory; short, since paths of sockets are.
    Path directory() {
        return Objects.requireNonNull(directory);
    }

    /// A path in it.
    Path path(String name) {
        return directory().resolve(name);
    }

    /// A new directory in it.
    Path newDirectory(String name) throws IOException {
        return Files.createDirectories(path(name));
    }

    /// Ends something after the test, the last one first.
    <T extends AutoCloseable> T keep(T resource) {
        open.push(resource);
        return resource;
    }

    DockerRegistry registry() {
        return shared().registry;
    }

    Image image() {
        return shared().image;
    }

    /// What [#image] is called in [#registry].
    String reference() {
        return shared().reference;
    }

    /// The mount points below a directory, in order of mounting.
    static List<String> mountsBelow(Path directory) throws IOException {
        List<String> mounts = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of("/proc/self/mountinfo"))) {
            String target = line.split(" ")[4];
            if (target.startsWith(directory + "/")) {
                mounts.add(target);
            }
        }
        return mounts;
    }

    private Shared shared() {
        return Objects.requireNonNull(shared);
    }

    private static List<ProcessHandle> processesNaming(Path directory) {
        return ProcessHandle.allProcesses()
                .filter(process -> process.pid() != ProcessHandle.current().pid())
                .filter(process -> commandLine(process).contains(directory + "/"))
                .toList();
    }

    private static String commandLine(ProcessHandle process) {
        try {
            byte[] words = Files.readAllBytes(Path.of("/proc", "" + process.pid(), "cmdline"));
            return new String(words, StandardCharsets.ISO_8859_1).replace('\0', ' ').strip();
        } catch (IOException e) {
            return ""; // it ended meanwhile
        }
    }

    private static Path temporaryDirectory() throws IOException {
        return Files.createTempDirectory(Path.of("/var/tmp"), "e2e-").toRealPath();
    }

    private static void delete(Path directory) {
        Program.of("rm", "-rf", "--one-file-system", directory).ok();
    }
}
