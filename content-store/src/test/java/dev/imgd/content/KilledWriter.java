package dev.imgd.content;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/// Pulls made-up images into a store until it is killed, and says on standard output what was
/// acknowledged: `blob <digest> <size>`, `image <name> <digest>`, `gone <name>`; and, before it
/// deletes, `going <name>`.
final class KilledWriter {
    static final String NS = "default";

    private KilledWriter() {}

    public static void main(String[] args) throws Exception {
        Path root = Path.of(args[0]);
        long seed = Long.parseLong(args[1]);
        Store store = Store.open(root, StoreOptions.defaults());
        say("open");
        Thread[] threads = new Thread[3];
        for (int t = 0; t < threads.length; t++) {
            Random random = new Random(seed * 10 + t);
            String prefix = "localhost/t" + t + "-" + seed + "/";
            threads[t] = Thread.ofVirtual().start(() -> pulls(store, random, prefix));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        throw new IllegalStateException("a writer ended");
    }

    private static void pulls(Store store, Random random, String prefix) {
        try {
            for (int i = 0; ; i++) {
                pull(store, random, prefix + i);
                if (i > 2 && random.nextInt(3) == 0) {
                    String old = prefix + (i - 2);
                    say("going " + old);
                    store.images().delete(NS, old);
                    say("gone " + old);
                }
            }
        } catch (Exception e) {
            e.printStackTrace();
            System.exit(3);
        }
    }

    private static void pull(Store store, Random random, String name) throws Exception {
        String lease = "lease-" + name.replace('/', '-');
        byte[] layer = new byte[1 + random.nextInt(400_000)];
        random.nextBytes(layer);
        Digest layerDigest = Digest.sha256(layer);
        byte[] manifest = ("{\"n\":\"" + name + "\"}").getBytes(StandardCharsets.UTF_8);
        Digest manifestDigest = Digest.sha256(manifest);
        store.leases().create(NS, lease, Duration.ofHours(1), Map.of());
        store.leases()
                .hold(NS, lease, List.of(NodeId.blob(layerDigest), NodeId.blob(manifestDigest)));
        try (Ingest ingest = store.content().ingest(NS, name, Optional.empty())) {
            for (int at = 0; at < layer.length; at += 50_000) {
                ingest.write(ByteBuffer.wrap(layer, at, Math.min(50_000, layer.length - at)));
            }
            ingest.commit(layer.length, layerDigest, Map.of("of", name), List.of());
        }
        say("blob " + layerDigest + " " + layer.length);
        store.content().write(NS, manifestDigest, manifest, Map.of(), List.of(layerDigest));
        say("blob " + manifestDigest + " " + manifest.length);
        Instant now = Instant.now();
        store.images()
                .put(
                        new ImageRecord(
                                NS,
                                name,
                                new Descriptor("m", manifestDigest, manifest.length),
                                List.of(),
                                Map.of(),
                                now,
                                now));
        say("image " + name + " " + manifestDigest);
        store.leases().delete(NS, lease);
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
