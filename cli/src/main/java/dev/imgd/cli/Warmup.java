package dev.imgd.cli;

import dev.imgd.linux.NativeInflate;
import dev.imgd.linux.NativeSha256;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryOptions;
import java.nio.charset.StandardCharsets;

/// Initialises on another thread what a pull is about to need, while the store opens on the first one.
///
/// A cold JVM spends as long on the class initialisers of the HTTP client, the JSON parser and the native
/// bindings as on opening the store; side by side they cost the time of one of them.
final class Warmup {
    private Warmup() {}

    /// Starts and returns at once. Whatever fails here fails again, with its message, where it is used.
    static void start() {
        Thread.ofPlatform().name("imgctl-warmup").daemon().start(Warmup::run);
    }

    private static void run() {
        RegistryClient.create(RegistryOptions.defaults()).close();
        // Asking links them.
        boolean _ = NativeSha256.available() && NativeInflate.available();
        try {
            Json.parse("warm-up", "{\"size\":1}".getBytes(StandardCharsets.US_ASCII));
        } catch (ImageException e) {
            throw new AssertionError(e);
        }
    }
}
