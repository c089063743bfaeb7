package dev.imgd.registry;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
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

/// Asks a `docker-credential-…` program. **Source:** docker/docker-credential-helpers README.
final class CredentialHelper {
    private static final int MAX_ANSWER_BYTES = 1 << 20;
    private static final long TIMEOUT_SECONDS = 30;
    private static final String NOT_FOUND = "credentials not found";
    private static final String TOKEN_USER = "<token>";

    private CredentialHelper() {}

    /// Returns what the program knows about a server, or nothing when it says it knows nothing.
    ///
    /// @param name what follows `docker-credential-`
    /// @param server the key of the registry
    static Optional<Credentials> ask(String name, String server) throws ImageException {
        String program = program(name);
        Process process = start(program, server);
        try {
            FutureTask<byte[]> reader =
                    new FutureTask<>(
                            () -> {
                                try (InputStream out = process.getInputStream()) {
                                    return out.readNBytes(MAX_ANSWER_BYTES + 1);
                                }
                            });
            Thread.ofVirtual().name("credential-helper").start(reader);
            byte[] answer = await(program, server, process, reader);
            return interpret(program, server, process.exitValue(), answer);
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

    private static Process start(String program, String server) throws ImageException {
        try {
            Process process =
                    new ProcessBuilder(program, "get")
                            .redirectError(ProcessBuilder.Redirect.DISCARD)
                            .start();
            try (OutputStream in = process.getOutputStream()) {
                in.write(server.getBytes(StandardCharsets.UTF_8));
            } catch (IOException e) {
                // A helper may exit without reading; its exit code says more than a broken pipe.
                return process;
            }
            return process;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.FAILED_PRECONDITION,
                    "%s: cannot be run for %s; install it or remove it from the credentials file"
                            .formatted(program, server),
                    e);
        }
    }

    private static byte[] await(
            String program, String server, Process process, FutureTask<byte[]> reader)
            throws ImageException {
        try {
            byte[] answer = reader.get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
            if (answer.length <= MAX_ANSWER_BYTES
                    && process.waitFor(TIMEOUT_SECONDS, TimeUnit.SECONDS)) {
                return answer;
            }
            throw failed(program, server, "did not end properly", null);
        } catch (TimeoutException e) {
            throw failed(program, server, "gave no answer within 30 s", e);
        } catch (ExecutionException e) {
            throw failed(program, server, "gave no answer", e.getCause());
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
            throw failed(program, server, "failed with exit code " + exitCode, null);
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
            String server,
            String problem,
            @org.jspecify.annotations.Nullable Throwable cause) {
        return new ImageException(
                ErrorKind.UNAUTHENTICATED,
                "%s: %s when asked for the credentials of %s".formatted(program, problem, server),
                cause);
    }
}
