package dev.imgd.cli;

import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonWriter;
import dev.imgd.registry.CredentialSource;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/// One run of the command line on something that stands in for the store.
///
/// @param exit the exit code
record Cli(int exit, String out, String err) {
    static Cli run(FakeImages images, String... args) {
        return run(images, CredentialSource.anonymous(), args);
    }

    /// @param callers what the caller's own files have
    static Cli run(FakeImages images, CredentialSource callers, String... args) {
        return run(options -> new Session(images, null, callers, Interruption.guard()), args);
    }

    static Cli run(Sessions sessions, String... args) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        int exit =
                Imgctl.run(
                        args,
                        new PrintStream(out, false, StandardCharsets.UTF_8),
                        new PrintStream(err, false, StandardCharsets.UTF_8),
                        sessions);
        return new Cli(
                exit, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    /// The result without white space; fails when it is not one JSON document.
    String json() throws ImageException {
        return compact(out);
    }

    static String compact(String json) throws ImageException {
        return JsonWriter.compact()
                .value(Json.parse("output", json.getBytes(StandardCharsets.UTF_8)))
                .toString();
    }
}
