package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.e2e.DockerRegistry.Access;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// An unmodified containerd with imgd as its proxy plugin.
@Tag("root")
class ContainerdIT {
    /// After a pull that imgd did for containerd the layers are kept for some seconds of grace.
    private static final Duration LIMIT = Duration.ofSeconds(60);

    @RegisterExtension final Workspace workspace = new Workspace();

    @ParameterizedTest
    @EnumSource(Imgd.Mode.class)
    void ctr_pullAndRun_imgdKilledBetween(Imgd.Mode mode) throws Exception {
        Imgd first = workspace.keep(Imgd.start(workspace.path("d"), mode));
        Containerd containerd = containerd(first);
        containerd.ctr("images", "pull", "--snapshotter", "imgd", "--plain-http", reference()).ok();
        first.kill();
        Imgd second = workspace.keep(first.again());
        containerd.awaitProxy("default");

        assertRuns(containerd, "default");
        assertTreeEqualsUmoci(containerd, "default");
        containerd.ctr("images", "rm", "--sync", reference()).ok();
        assertNothingLeft(containerd, second, "default");
    }

    @Test
    void cri_accelerated_fetchesEveryLayerOnceByImgd() throws Exception {
        Imgd first = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.ACCELERATE));
        Containerd containerd = containerd(first);
        int mark = workspace.registry().mark();
        try (Cri cri = containerd.cri()) {
            assertEquals(workspace.image().configDigest(), cri.pull(reference()));
            assertTrue(cri.has(reference()));
        }
        assertLayersFetchedOnceByImgd(mark);
        first.kill();
        Imgd second = workspace.keep(first.again());
        containerd.awaitProxy("k8s.io");

        assertRuns(containerd, "k8s.io");
        assertTreeEqualsUmoci(containerd, "k8s.io");
        try (Cri cri = containerd.cri()) {
            cri.remove(reference());
        }
        // CRI removes names; the sweep comes with the next synchronous deletion.
        containerd.ctr("--namespace", "k8s.io", "images", "rm", "--sync", reference()).run();
        collect(containerd, "k8s.io");
        assertNothingLeft(containerd, second, "k8s.io");
    }

    @Test
    void cri_acceleratedInTwoNamespaces_sharesTheLayers() throws Exception {
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.ACCELERATE));
        Containerd containerd = containerd(imgd);
        int mark = workspace.registry().mark();
        try (Cri cri = containerd.cri()) {
            cri.pull(reference());
        }
        rpull(containerd);

        assertLayersFetchedOnceByImgd(mark);
        assertRuns(containerd, "k8s.io");
        assertRuns(containerd, "default");
    }

    @Test
    void rpull_accelerated_fetchesEveryLayerOnceByImgd() throws Exception {
        Imgd first = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.ACCELERATE));
        Containerd containerd = containerd(first);
        int mark = workspace.registry().mark();
        rpull(containerd);
        assertLayersFetchedOnceByImgd(mark);
        first.kill();
        Imgd second = workspace.keep(first.again());
        containerd.awaitProxy("default");

        assertRuns(containerd, "default");
        assertTreeEqualsUmoci(containerd, "default");
        containerd.ctr("images", "rm", "--sync", reference()).ok();
        assertNothingLeft(containerd, second, "default");
    }

    @Test
    void cri_passive_containerdFetches() throws Exception {
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.PASSIVE));
        Containerd containerd = containerd(imgd);
        int mark = workspace.registry().mark();
        try (Cri cri = containerd.cri()) {
            assertEquals(workspace.image().configDigest(), cri.pull(reference()));
        }

        for (Access access : workspace.registry().accesses(mark)) {
            assertTrue(access.userAgent().startsWith("containerd/"), access.toString());
        }
        assertRuns(containerd, "k8s.io");
    }

    @Test
    void cri_imgdWithoutCredentials_fallsBackAndSaysWhy() throws Exception {
        DockerRegistry guarded =
                workspace.keep(DockerRegistry.withPassword(workspace.path("guarded")));
        String reference = pushGuarded(guarded);
        Imgd imgd = workspace.keep(Imgd.start(workspace.path("d"), Imgd.Mode.ACCELERATE));
        Containerd containerd = guardedContainerd(guarded, imgd);
        try (Cri cri = containerd.cri()) {
            assertEquals(workspace.image().configDigest(), cri.pull(reference));
        }

        for (Image.Layer layer : workspace.image().layers()) {
            List<Access> fetches = fetches(guarded, 0, layer);
            assertEquals(1, fetches.size(), layer.digest());
            assertTrue(fetches.getFirst().userAgent().startsWith("containerd/"));
        }
        String why =
                imgd.log().lines().filter(line -> line.contains(reference)).findFirst().orElse("");
        assertTrue(why.contains("user name and a password"), imgd.log());
    }

    @Test
    void cri_imgdWithItsOwnCredentials_accelerates() throws Exception {
        DockerRegistry guarded =
                workspace.keep(DockerRegistry.withPassword(workspace.path("guarded")));
        String reference = pushGuarded(guarded);
        Path docker = guarded.dockerConfig(workspace.newDirectory("docker"));
        Imgd imgd =
                workspace.keep(
                        Imgd.start(
                                workspace.path("d"),
                                Imgd.Mode.ACCELERATE,
                                Map.of("DOCKER_CONFIG", docker.toString())));
        int mark = guarded.mark();
        Containerd containerd = guardedContainerd(guarded, imgd);
        try (Cri cri = containerd.cri()) {
            assertEquals(workspace.image().configDigest(), cri.pull(reference));
        }

        for (Image.Layer layer : workspace.image().layers()) {
            for (Access access : fetches(guarded, mark, layer)) {
                assertTrue(access.userAgent().startsWith("imgd/"), access.toString());
            }
        }
    }

    private String reference() {
        return workspace.reference();
    }

    private Containerd containerd(Imgd imgd) throws Exception {
        return workspace.keep(
                Containerd.start(workspace.path("c"), "imgd", imgd.place().snapshotterAddress()));
    }

    private String pushGuarded(DockerRegistry guarded) {
        return guarded.push(
                workspace.image().layout(),
                "debian:12",
                "--dest-creds",
                DockerRegistry.CREDENTIALS);
    }

    private Containerd guardedContainerd(DockerRegistry guarded, Imgd imgd) throws Exception {
        String user = DockerRegistry.CREDENTIALS;
        String more =
                """
                [plugins."io.containerd.grpc.v1.cri".registry.configs."localhost:%d".auth]
                  username = "%s"
                  password = "%s"
                """
                        .formatted(
                                guarded.port(),
                                user.substring(0, user.indexOf(':')),
                                user.substring(user.indexOf(':') + 1));
        return workspace.keep(
                Containerd.start(
                        workspace.path("c"), "imgd", imgd.place().snapshotterAddress(), more));
    }

    private void rpull(Containerd containerd) {
        containerd
                .ctrRemote("images", "rpull", "--plain-http", "--snapshotter", "imgd", reference())
                .ok();
    }

    private void assertRuns(Containerd containerd, String namespace) {
        String output =
                containerd
                        .ctr(
                                "--namespace",
                                namespace,
                                "run",
                                "--rm",
                                "--snapshotter",
                                "imgd",
                                reference(),
                                "e2e-" + workspace.directory().getFileName(),
                                "cat",
                                "/etc/debian_version.moved")
                        .ok();
        assertTrue(output.startsWith("12."), output);
    }

    private void assertTreeEqualsUmoci(Containerd containerd, String namespace) throws Exception {
        Tree tree = containerd.tree(namespace, "imgd", reference(), workspace.newDirectory("m"));
        Tree reference = Tree.of(workspace.image().unpack(workspace.path("u")));
        assertEquals(List.of(), reference.differencesTo(tree));
    }

    private void assertLayersFetchedOnceByImgd(int mark) {
        for (Image.Layer layer : workspace.image().layers()) {
            List<Access> fetches = fetches(workspace.registry(), mark, layer);
            long bytes = fetches.stream().mapToLong(Access::bytes).sum();
            assertEquals(layer.size(), bytes, layer.digest() + " " + fetches);
            fetches.forEach(f -> assertTrue(f.userAgent().startsWith("imgd/"), f.toString()));
        }
    }

    private static List<Access> fetches(DockerRegistry registry, int mark, Image.Layer layer) {
        return registry.accesses(mark).stream()
                .filter(access -> access.fetched(layer.digest()))
                .toList();
    }

    /// Makes containerd collect garbage now.
    private static void collect(Containerd containerd, String namespace) {
        containerd
                .ctr(
                        "--namespace",
                        namespace,
                        "leases",
                        "create",
                        "--id",
                        "collect",
                        "--expires",
                        "1h")
                .ok();
        containerd.ctr("--namespace", namespace, "leases", "rm", "--sync", "collect").ok();
    }

    private static void assertNothingLeft(Containerd containerd, Imgd imgd, String namespace) {
        String listed = containerd.snapshots(namespace, "imgd", "ls").ok();
        assertEquals(1, listed.lines().count(), listed);
        StoreFiles files = new StoreFiles(imgd.place().root());
        Await.until(
                "no snapshot directory is left",
                LIMIT,
                () -> files.snapshotDirectories().isEmpty() && files.trash().isEmpty());
        assertEquals("", imgd.imgctl().ok("fsck"));
    }
}
