package dev.imgd.registry;

import dev.imgd.model.Bytes;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Text;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/// Asks a `docker-credential-…` program. **Source:** docker/docker-credential-helpers README.
final class CredentialHelper {
    private static final int MAX_ANSWER_BYTES = 1 << 20;
    private static final long TIMEOUT_SECONDS = 30;
    private static final String NOT_FOUND = "credentials not found";
    static final String TOKEN_USER = "<token>";

    private CredentialHelper() {}

    /// Returns what the program knows about a server, or nothing when it says it knows nothing.
    ///
    /// @param name what follows `docker-credential-`
    /// @param server the key of the registry
    static Optional<Credentials> ask(String name, String server) throws ImageException {
        String program = program(name);
        Answer answer = run(program, "get", server, server.getBytes(StandardCharsets.UTF_8));
        return interpret(program, server, answer.exitCode(), answer.output().toArray());
    }

    /// Gives the program credentials to keep.
    ///
    /// @param username [#TOKEN_USER] for an identity token
    static void store(String name, String server, String username, String secret)
            throws ImageException {
        String program = program(name);
        byte[] input =
                JsonWriter.compact()
                        .beginObject()
                        .member("ServerURL", server)
                        .member("Username", username)
                        .member("Secret", secret)
                        .endObject()
                        .toBytes();
        Answer answer = run(program, "store", server, input);
        requireSuccess(program, "store", server, answer);
    }

    /// Makes the program forget a server.
    ///
    /// @return whether it knew it
    static boolean erase(String name, String server) throws ImageException {
        boolean known = ask(name, server).isPresent();
        if (known) {
            String program = program(name);
            byte[] input = server.getBytes(StandardCharsets.UTF_8);
            Answer answer = run(program, "erase", server, input);
            requireSuccess(program, "erase", server, answer);
        }
        return known;
    }

    /// Its output is not repeated: helpers print errors where secrets go on success.
    private static void requireSuccess(String program, String action, String server, Answer answer)
            throws ImageException {
        if (answer.exitCode() != 0) {
            String problem = "failed with exit code " + answer.exitCode();
            throw failed(program, action, server, problem, null);
        }
    }

    private record Answer(int exitCode, Bytes output) {}

    private static Answer run(String program, String action, String server, byte[] input)
            throws ImageException {
        Process process = start(program, action, server, input);
        try {
            FutureTask<byte[]> reader =
                    new FutureTask<>(
                            () -> {
                                try (InputStream out = process.getInputStream()) {
                                    return out.readNBytes(MAX_ANSWER_BYTES + 1);
                                }
                            });
            Thread.ofVirtual().name("credential-helper").start(reader);
            byte[] output = await(program, action, server, process, reader);
            return new Answer(process.exitValue(), Bytes.of(output));
        } finally {
            process.destroyForcibly();
        }
    }

    private static String program(String name) throws ImageException {
        boolean fine = !name.isEmpty() && name.length() <= 128;
        for (int i = 0; fine && i < name.length(); i++) {
            char c = name.charAt(i);
            fine = Character.isLetterOrDigit(c) || c == '-' || c == '_' || c == '.';
        }
        if (!fine) {
            throw ImageException.invalidArgument(
                    "credential helper \"%s\": not a name; wanted letters, digits, '-', '_', '.'"
                            .formatted(Text.printable(name, 80)));
        }
        return "docker-credential-" + name;
    }

    private static Process start(String program, String action, String server, byte[] input)
            throws ImageException {
        try {
            Process process =
                    new ProcessBuilder(program, action)
                            .redirectError(ProcessBuilder.Redirect.DISCARD)
                            .start();
            try (OutputStream in = process.getOutputStream()) {
                in.write(input);
            } catch (IOException e) {
                // A helper may exit without reading; its exit code says more than a broken pipe.
                return process;
            }
            return process;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.UNAUTHENTICATED,
                    "%s: cannot be run for %s; install it or remove it from the credentials file"
                            .formatted(program, server),
                    e);
        }
    }

    private static byte[] await(
            String program,
            String action,
            String server,
            Process process,
            FutureTask<byte[]> reader)
            throws ImageException {
        try {
            byte[] answer = reader.get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
            if (answer.length <= MAX_ANSWER_BYTES
                    && process.waitFor(TIMEOUT_SECONDS, TimeUnit.SECONDS)) {
                return answer;
            }
            throw failed(program, action, server, "did not end properly", null);
        } catch (TimeoutException e) {
            throw failed(program, action, server, "gave no answer within 30 s", e);
        } catch (ExecutionException e) {
            throw failed(program, action, server, "gave no answer", e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ImageException(ErrorKind.CANCELLED, program + ": cancelled", e);
        }
    }

    private static Optional<Credentials> interpret(
            String program, String server, int exitCode, byte[] answer) throws ImageException {
        if (exitCode != 0) {
            String text = new String(answer, StandardCharsets.UTF_8).strip();
            if (text.startsWith(NOT_FOUND)) {
                return Optional.empty();
            }
            // Helpers print errors where secrets go on success, so nothing of it is repeated.
            throw failed(program, "get", server, "failed with exit code " + exitCode, null);
        }
        JsonNode json = Json.parse(program + " for " + server, answer);
        String username = json.text("Username", "");
        String secret = json.text("Secret", "");
        if (secret.isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(
                username.equals(TOKEN_USER)
                        ? new Credentials.IdentityToken(secret)
                        : new Credentials.Login(username, secret));
    }

    private static ImageException failed(
            String program,
            String action,
            String server,
            String problem,
            @Nullable Throwable cause) {
        return new ImageException(
                ErrorKind.UNAUTHENTICATED,
                "%s: %s when asked to %s the credentials of %s"
                        .formatted(program, problem, action, server),
                cause);
    }
}
