package dev.imgd.plugin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class TransportSettingsTest {
    /// A server and a client in a process of their own, because loggers stay as they were first
    /// made.
    static final class Conversation {
        public static void main(String[] args) throws Exception {
            Path socket = Path.of(args[0]);
            try (SocketServer _ =
                            SocketServer.start(
                                    SocketOptions.at(socket),
                                    List.of(new ImageEndpoint(new FakeImages(), "9")),
                                    RpcListener.NONE);
                    var remote = RemoteImageService.connect(socket)) {
                System.out.println("version " + remote.status().version());
            }
        }
    }

    @Test
    void conversation_writesNothingToStandardError() throws Exception {
        try (SocketDirectory directory = new SocketDirectory()) {
            File errors = directory.path().resolve("stderr").toFile();
            List<String> command =
                    new ArrayList<>(
                            List.of(
                                    Path.of(System.getProperty("java.home"), "bin", "java")
                                            .toString(),
                                    "--enable-native-access=ALL-UNNAMED",
                                    "--sun-misc-unsafe-memory-access=allow",
                                    "-Dslf4j.internal.verbosity=ERROR",
                                    "-Dimgd.native.dir=" + directory.path(),
                                    "-cp",
                                    System.getProperty("java.class.path"),
                                    Conversation.class.getName(),
                                    directory.socket().toString()));

            Process process = new ProcessBuilder(command).redirectError(errors).start();
            String output =
                    new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

            assertEquals(0, process.waitFor());
            assertTrue(output.contains("version 9\n"), output);
            assertEquals("", Files.readString(errors.toPath()));
        }
    }
}
