package dev.imgd.cli;

import dev.imgd.content.Store;
import dev.imgd.linux.NativeInflate;
import dev.imgd.linux.NativeSha256;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.channels.spi.SelectorProvider;
import java.nio.charset.StandardCharsets;

/// Initialises on another thread what a command is about to need, while the first one does
/// something else.
///
/// A cold JVM spends as long on the class initialisers of the HTTP client, the JSON parser and the
/// native bindings as on opening the store; side by side they cost the time of one of them.
final class Warmup {
    private Warmup() {}

    /// For a command that is likely to open the store: its native library, while the command line
    /// is parsed.
    static void ofStore() {
        start(Store::preload);
    }

    /// For a command that is likely to ask a daemon.
    static void ofDaemon() {
        start(SelectorProvider::provider);
    }

    /// For a pull.
    static void ofPull() {
        start(Warmup::pull);
    }

    /// Starts and returns at once. Whatever fails here fails again, with its message, where it is
    /// used.
    private static void start(Runnable work) {
        Thread.ofPlatform()
                .name("imgctl-warmup")
                .daemon()
                .uncaughtExceptionHandler((_, _) -> {})
                .start(work);
    }

    private static void pull() {
        RegistryClient.create(RegistryOptions.defaults()).close();
        // Asking links them.
        boolean _ = NativeSha256.available() && NativeInflate.available();
        try {
            Json.parse("warm-up", "{\"size\":1}".getBytes(StandardCharsets.US_ASCII));
        } catch (ImageException e) {
            throw new AssertionError(e);
        }
        try {
            // The first lookup of a name makes the JDK search all jars for other resolvers.
            InetAddress _ = InetAddress.getByName("localhost");
        } catch (UnknownHostException e) {
            throw new AssertionError(e);
        }
    }
}
