package dev.imgd.faults;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/// An ext4 file system in a file, whose power can be cut.
final class Disk implements AutoCloseable {
    private static final long BYTES = 512L << 20;

    /// **Source:** Linux, include/uapi/linux/ext4.h: EXT4_IOC_SHUTDOWN.
    private static final long SHUTDOWN = 0x8004587dL;

    private static final Duration PATIENCE = Duration.ofSeconds(30);

    /// What the file system does before it stops.
    enum Cut {
        /// Brings its own log to the disk: renames are there, data that nobody synced is not.
        LOG_FLUSHED(1),
        /// Nothing.
        NOTHING_FLUSHED(2);

        private final int flag;

        Cut(int flag) {
            this.flag = flag;
        }
    }

    private final String device;
    private final Path mount;
    private boolean mounted;

    private Disk(String device, Path mount) {
        this.device = device;
        this.mount = mount;
    }

    static Disk make(Path directory) throws IOException {
        Path file = directory.resolve("disk");
        try (RandomAccessFile disk = new RandomAccessFile(file.toFile(), "rw")) {
            disk.setLength(BYTES);
        }
        run("mkfs.ext4", "-q", "-F", file.toString());
        String device = run("losetup", "--find", "--show", file.toString());
        return new Disk(device, Files.createDirectory(directory.resolve("mount")));
    }

    Path path() {
        return mount;
    }

    void mount(String options) throws IOException {
        // A process that was killed gives its mounts back a moment after its end.
        awaitFree();
        run("mount", "-t", "ext4", "-o", options, device, mount.toString());
        mounted = true;
    }

    void unmount() throws IOException {
        run("umount", mount.toString());
        mounted = false;
    }

    /// From now on the disk takes nothing.
    void cut(Cut cut) throws IOException {
        run(
                "perl",
                "-e",
                "open(my $f, '<', $ARGV[0]) or die $!;"
                        + " ioctl($f, $ARGV[1], pack('I', $ARGV[2])) or die $!",
                mount.toString(),
                Long.toString(SHUTDOWN),
                Integer.toString(cut.flag));
    }

    private void awaitFree() throws IOException {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (exit(
                        "perl",
                        "-e",
                        "use Fcntl; sysopen(my $f, $ARGV[0], O_RDWR|O_EXCL) or exit 1",
                        device)
                != 0) {
            if (System.nanoTime() > end) {
                throw new IOException(device + " is still in use");
            }
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(20));
        }
    }

    private static int exit(String... command) throws IOException {
        Process process = new ProcessBuilder(command).inheritIO().start();
        return ended(process);
    }

    private static int ended(Process process) throws IOException {
        try {
            return process.waitFor();
        } catch (InterruptedException e) {
            process.destroyForcibly();
            throw new IOException("interrupted", e);
        }
    }

    private static String run(String... command) throws IOException {
        Process process =
                new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        List<String> lines = new ArrayList<>();
        try (var out = process.inputReader()) {
            out.lines().forEach(lines::add);
        }
        assertEquals(0, ended(process), String.join(" ", command));
        return lines.isEmpty() ? "" : lines.getFirst();
    }

    @Override
    public void close() throws IOException {
        if (mounted) {
            run("umount", "-l", mount.toString());
        }
        run("losetup", "--detach", device);
    }
}
