package dev.imgd.e2e;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/// The command line on one store, embedded or behind a daemon.
final class Imgctl {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final List<Object> prefix;

    private Imgctl(Object... prefix) {
        this.prefix = List.of(prefix);
    }

    /// On the store in that directory, without a daemon.
    static Imgctl embedded(Path root) {
        return new Imgctl(Installation.IMGCTL, "--root", root);
    }

    /// Through the daemon at that socket.
    static Imgctl remote(Path address) {
        return new Imgctl(Installation.IMGCTL, "--address", address);
    }

    Program command(Object... words) {
        List<Object> all = new ArrayList<>(prefix);
        all.addAll(List.of(words));
        return Program.of(all.toArray());
    }

    /// Runs a command that must succeed and returns its standard output without the last line
    /// break.
    String ok(Object... words) {
        return command(words).ok().stripTrailing();
    }

    /// Runs a command that must fail with this code, and with one line that says why.
    ///
    /// @return the line
    String fails(int exit, Object... words) {
        Program.Finished finished = command(words).run().expectExit(exit);
        if (!finished.out().isEmpty()) {
            throw new AssertionError("a failure printed a result\n" + finished);
        }
        String text = finished.err().stripTrailing();
        if (text.isEmpty() || text.lines().count() != 1) {
            throw new AssertionError("wanted one line that says what failed\n" + finished);
        }
        return text;
    }

    /// Runs a command that must succeed and prints JSON.
    JsonNode json(Object... words) {
        List<Object> all = new ArrayList<>(List.of("--output", "json"));
        all.addAll(List.of(words));
        return JSON.readTree(ok(all.toArray()));
    }
}
