package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.e2e.DockerRegistry.Access;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// SIGKILL at random moments: what was complete stays, the next run ends right, and nothing is left
/// over.
///
/// `-Dimgd.e2e.kills=50` is the long form; `-Dimgd.e2e.seed=N` repeats the moments of a run, as far
/// as two runs of a machine are alike.
@Tag("root")
class KillIT {
    private static final int ROUNDS = Integer.getInteger("imgd.e2e.kills", 12);

    /// An ingest of this size has a checkpoint to go on from.
    private static final long RESUMABLE_BYTES = 16 << 20;

    private static Random random = new Random(0);

    @RegisterExtension final Workspace workspace = new Workspace();

    @BeforeAll
    static void seed() {
        String property = System.getProperty("imgd.e2e.seed", "");
        long seed = property.isEmpty() ? System.nanoTime() : Long.parseLong(property);
        System.out.println("KillIT: " + ROUNDS + " rounds, -Dimgd.e2e.seed=" + seed);
        random = new Random(seed);
    }

    @Test
    void imgctlPull_killedAtRandomMoments_nextRunEndsRight() throws Exception {
        Tree reference = Tree.of(workspace.image().unpack(workspace.path("u")));
        Duration whole = undisturbed();
        for (int round = 0; round < ROUNDS; round++) {
            Path root = workspace.path("store-" + round);
            Imgctl imgctl = Imgctl.embedded(root);
            Duration moment = moment(whole);
            Program.Running pull = pull(imgctl).start();
            if (pull.ends(moment)) {
                pull.end().expectExit(0);
            } else {
                pull.kill();
            }
            String what = "round " + round + ", killed after " + moment;

            assertNextPullEndsRight(imgctl, new StoreFiles(root), what);
            if (round % 4 == 0) {
                assertSameTree(imgctl, reference, "m-" + round, what);
            }
            assertEmptiesWithoutRest(imgctl, new StoreFiles(root), what);
            Program.of("rm", "-rf", root).ok();
        }
    }

    @Test
    void imgd_killedAtRandomMomentsOfAPull_nextRunEndsRight() throws Exception {
        Tree reference = Tree.of(workspace.image().unpack(workspace.path("u")));
        Duration whole = undisturbed();
        for (int round = 0; round < ROUNDS; round++) {
            Imgd first = workspace.keep(Imgd.start(workspace.path("d" + round), Imgd.Mode.PASSIVE));
            Duration moment = moment(whole);
            Program.Running pull = pull(first.imgctl()).start();
            boolean ended = pull.ends(moment);
            first.kill();
            Program.Finished finished = pull.end();
            String what = "round " + round + ", killed after " + moment;
            if (!ended) {
                assertTrue(finished.exit() == 6 || finished.exit() == 0, what + "\n" + finished);
            }

            Imgd second = workspace.keep(first.again());
            Imgctl imgctl = second.imgctl();
            StoreFiles files = new StoreFiles(second.place().root());
            assertNextPullEndsRight(imgctl, files, what);
            if (round % 4 == 0) {
                assertSameTree(imgctl, reference, "m-" + round, what);
            }
            assertEmptiesWithoutRest(imgctl, files, what);
            assertEquals(0, second.terminate(), second.log());
        }
    }

    @Test
    void imgd_killedAtRandomMomentsOfACriPull_nextRunEndsRight() throws Exception {
        Duration whole = undisturbed();
        for (int round = 0; round < Math.max(3, ROUNDS / 3); round++) {
            Imgd first =
                    workspace.keep(Imgd.start(workspace.path("d" + round), Imgd.Mode.ACCELERATE));
            Containerd containerd =
                    workspace.keep(
                            Containerd.start(
                                    workspace.path("c" + round),
                                    "imgd",
                                    first.place().snapshotterAddress()));
            Duration moment = moment(whole);
            String what = "round " + round + ", killed after " + moment;
            Thread pull =
                    Thread.startVirtualThread(
                            () -> {
                                try (Cri cri = containerd.cri()) {
                                    cri.pull(workspace.reference());
                                } catch (io.grpc.StatusRuntimeException e) {
                                    // The plugin went away in the middle; the kubelet would retry,
                                    // as we do.
                                    System.out.println(what + ": " + e.getStatus().getCode());
                                }
                            });
            pull.join(moment);
            first.kill();
            Imgd second = workspace.keep(first.again());
            pull.join();

            try (Cri cri = containerd.cri()) {
                Await.until(
                        what + ": a pull through the restarted daemon",
                        Duration.ofSeconds(60),
                        () -> pulls(cri));
            }
            String output =
                    containerd
                            .ctr(
                                    "-n",
                                    "k8s.io",
                                    "run",
                                    "--rm",
                                    "--snapshotter",
                                    "imgd",
                                    workspace.reference(),
                                    "kill-" + round,
                                    "cat",
                                    "/etc/debian_version.moved")
                            .ok();
            assertTrue(output.startsWith("12."), what + ": " + output);
            assertEquals("", second.imgctl().ok("fsck", "--rehash"), what);
            containerd.close();
            assertEquals(0, second.terminate(), second.log());
        }
    }

    /// A pull as a kubelet tries it, again and again: containerd dials the plugin with growing
    /// pauses.
    private boolean pulls(Cri cri) {
        try {
            assertEquals(workspace.image().configDigest(), cri.pull(workspace.reference()));
            return true;
        } catch (io.grpc.StatusRuntimeException e) {
            if (e.getStatus().getCode() == io.grpc.Status.Code.UNAVAILABLE) {
                return false;
            }
            throw e;
        }
    }

    private Program pull(Imgctl imgctl) {
        return imgctl.command("--progress", "none", "pull", "--plain-http", workspace.reference());
    }

    /// How long a pull takes when nobody disturbs it.
    private Duration undisturbed() {
        Path root = workspace.path("undisturbed");
        Duration took = pull(Imgctl.embedded(root)).run().expectExit(0).took();
        Program.of("rm", "-rf", root).ok();
        return took;
    }

    private static Duration moment(Duration whole) {
        return Duration.ofNanos(random.nextLong(whole.toNanos()));
    }

    private void assertNextPullEndsRight(Imgctl imgctl, StoreFiles files, String what) {
        assertEquals(List.of(), files.damagedBlobs(), what);
        Set<String> complete = files.blobs();
        boolean resumable =
                files.ingests().values().stream()
                        .anyMatch(size -> size > RESUMABLE_BYTES && !isWholeLayer(size));
        int mark = workspace.registry().mark();

        pull(imgctl).run().expectExit(0);

        List<Access> accesses = workspace.registry().accesses(mark);
        for (String digest : complete) {
            assertTrue(
                    accesses.stream().noneMatch(access -> access.fetched(digest)),
                    what + ": fetched again: " + digest);
        }
        if (resumable) {
            assertTrue(
                    accesses.stream().anyMatch(access -> access.status() == 206),
                    what + ": started again at the beginning: " + accesses);
        }
        assertEquals(Set.of(), files.ingests().keySet(), what);
        assertEquals("", imgctl.ok("fsck", "--rehash"), what);
        List<String> names = new ArrayList<>();
        imgctl.json("ls").forEach(image -> names.add(image.get("digest").asString()));
        assertEquals(List.of(workspace.image().manifestDigest()), names, what);
    }

    /// Of a layer that was all there nothing is fetched.
    private boolean isWholeLayer(long size) {
        return workspace.image().layers().stream().anyMatch(layer -> layer.size() == size);
    }

    private void assertSameTree(Imgctl imgctl, Tree reference, String name, String what)
            throws Exception {
        Path mounted = workspace.newDirectory(name);
        imgctl.ok("mount", workspace.reference(), mounted);
        Tree tree = Tree.of(mounted);
        imgctl.ok("unmount", mounted);
        assertEquals(List.of(), reference.differencesTo(tree), what);
    }

    private void assertEmptiesWithoutRest(Imgctl imgctl, StoreFiles files, String what) {
        imgctl.ok("rm", workspace.reference());
        imgctl.ok("gc");
        assertEquals(Set.of(), files.blobs(), what);
        Await.until(
                what + ": no snapshot directory and no trash is left",
                Duration.ofSeconds(60),
                () -> files.snapshotDirectories().isEmpty() && files.trash().isEmpty());
        assertEquals("", imgctl.ok("fsck"), what);
    }
}
