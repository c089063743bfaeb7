package dev.imgd.image;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/// What this process sees mounted. **Source:** proc_pid_mountinfo(5).
final class MountTable {
    private MountTable() {}

    /// Whether something is mounted exactly at the directory.
    static boolean isMounted(Path directory) throws ImageException {
        return typeAt(directory).isPresent();
    }

    /// The type of the file system that is mounted exactly at the path, of the topmost if there are
    /// several.
    static Optional<String> typeAt(Path path) throws ImageException {
        String wanted = escape(path.toString());
        Optional<String> type = Optional.empty();
        try {
            for (String line :
                    Files.readAllLines(
                            Path.of("/proc/self/mountinfo"), StandardCharsets.ISO_8859_1)) {
                int start = 0;
                for (int field = 0; field < 4; field++) {
                    start = line.indexOf(' ', start) + 1;
                }
                int end = line.indexOf(' ', start);
                if (end > 0 && line.substring(start, end).equals(wanted)) {
                    // The fields before the dash vary in number; none of them is a dash.
                    int dash = line.indexOf(" - ", end) + 3;
                    int after = dash < 3 ? -1 : line.indexOf(' ', dash);
                    type = Optional.of(after < 0 ? "unknown" : line.substring(dash, after));
                }
            }
            return type;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL, "cannot read /proc/self/mountinfo: " + e.getMessage(), e);
        }
    }

    /// The kernel writes blanks, tabs, line ends and backslashes as octal, and the bytes of the
    /// path as they are.
    private static String escape(String path) {
        byte[] bytes = path.getBytes(StandardCharsets.UTF_8);
        StringBuilder out = new StringBuilder(bytes.length);
        for (byte b : bytes) {
            switch (b) {
                case ' ' -> out.append("\\040");
                case '\t' -> out.append("\\011");
                case '\n' -> out.append("\\012");
                case '\\' -> out.append("\\134");
                default -> out.append((char) (b & 0xff));
            }
        }
        return out.toString();
    }
}
