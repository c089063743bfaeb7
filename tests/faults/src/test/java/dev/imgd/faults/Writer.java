package dev.imgd.faults;

import dev.imgd.image.ImageService.ImageSummary;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.image.LayerProvider;
import dev.imgd.model.ChainId;
import dev.imgd.model.Digest;
import dev.imgd.model.Reference;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/// Pulls, imports, removes, collects and provides layers until the power goes, and says on standard
/// output what was acknowledged.
///
/// ```
/// begin <name>              a pull or an import begins
/// named <name> <digest>     it returned
/// going <name>              a removal begins
/// gone <name>               it returned
/// shown <snapshot>          the view has the top layer of a provided image
/// ```
final class Writer {
    private final Node node;
    private final String registry;
    private final Path archives;
    private final int images;

    private Writer(Node node, String registry, Path archives, int images) {
        this.node = node;
        this.registry = registry;
        this.archives = archives;
        this.images = images;
    }

    @FunctionalInterface
    private interface Work {
        void run(Random random) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        Node node = new Node(Path.of(args[0]));
        Random random = new Random(Long.parseLong(args[1]));
        Writer writer = new Writer(node, args[2], Path.of(args[3]), Integer.parseInt(args[4]));
        say("open");
        for (Work work :
                List.<Work>of(
                        own -> writer.pull(own, 0),
                        own -> writer.pull(own, 1),
                        writer::bringIn,
                        writer::provide,
                        writer::sweep)) {
            Random own = new Random(random.nextLong());
            Thread.ofPlatform().start(() -> again(work, own));
        }
    }

    /// After the cut everything fails; the end comes by a kill.
    private static void again(Work work, Random random) {
        try {
            while (true) {
                work.run(random);
            }
        } catch (Exception e) {
            say("stopped " + e);
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private String reference(int number) {
        return "%s/i%d:1".formatted(registry, number);
    }

    /// @param half of the names; two pullers never touch the same, so what they say has an order
    private void pull(Random random, int half) throws Exception {
        String name = reference(random.nextInt(images / 2) * 2 + half);
        say("begin " + name);
        PullResult result = node.images.pull(PullRequest.of(name), ProgressListener.NONE);
        say("named %s %s".formatted(result.name(), result.digest()));
        if (random.nextInt(3) == 0) {
            remove(result.name());
        }
    }

    private void bringIn(Random random) throws Exception {
        int number = random.nextInt(images);
        String name = "localhost/imported/i%d:1".formatted(number);
        say("begin " + name);
        for (ImageSummary image :
                node.images.importImages(
                        archives.resolve(number + ".tar"), Optional.of(name), true)) {
            say("named %s %s".formatted(image.name(), image.digest()));
        }
        if (random.nextInt(3) == 0) {
            remove(name);
        }
    }

    private void remove(String name) throws Exception {
        say("going " + name);
        node.images.remove(List.of(name));
        say("gone " + name);
    }

    private void sweep(Random random) throws Exception {
        if (random.nextInt(4) == 0) {
            node.images.gc(false, false);
        } else {
            node.images.sweep();
        }
    }

    private void provide(Random random) throws Exception {
        int number = random.nextInt(images);
        List<Digest> diffIds = Images.build(number).diffIds();
        List<Digest> chain = ChainId.of(diffIds);
        String parent = "";
        for (int i = 0; i < chain.size(); i++) {
            String name = chain.get(i).toString();
            LayerProvider.Layer layer =
                    node.provider.provide(
                            Reference.parse(reference(number)), Optional.empty(), chain.get(i));
            node.snapshots.link(
                    Node.VIEW, name, parent, layer.diffId(), layer.parentChain(), Map.of());
            parent = name;
        }
        say("shown " + parent);
    }
}
