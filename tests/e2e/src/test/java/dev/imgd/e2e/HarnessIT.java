package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// The harness itself, on containerd's own overlayfs: what the other tests claim about imgd is
/// false for it where it must be, and their ways of looking work.
@Tag("root")
class HarnessIT {
    @RegisterExtension final Workspace workspace = new Workspace();

    @Test
    void containerd_ownSnapshotter_treeEqualsUmoci() throws Exception {
        Containerd containerd =
                workspace.keep(
                        Containerd.start(
                                workspace.path("c"), "overlayfs", workspace.path("none.sock")));
        containerd.ctr("images", "pull", "--plain-http", workspace.reference()).ok();
        Tree tree =
                containerd.tree(
                        "default", "overlayfs", workspace.reference(), workspace.newDirectory("m"));
        Tree reference = Tree.of(workspace.image().unpack(workspace.path("u")));

        assertEquals(List.of(), reference.differencesTo(tree));
        assertTrue(tree.size() > 5000, "only " + tree.size());
        assertEquals(
                "hello\n",
                containerd.ctr("run", "--rm", workspace.reference(), "c1", "echo", "hello").ok());
    }

    @Test
    void accessLog_criPullByContainerd_showsItsFetches() throws Exception {
        Containerd containerd =
                workspace.keep(
                        Containerd.start(
                                workspace.path("c"), "overlayfs", workspace.path("none.sock")));
        int mark = workspace.registry().mark();
        String id;
        try (Cri cri = containerd.cri()) {
            id = cri.pull(workspace.reference());
            assertTrue(cri.has(workspace.reference()));
        }

        assertEquals(workspace.image().configDigest(), id);
        for (Image.Layer layer : workspace.image().layers()) {
            List<DockerRegistry.Access> fetches =
                    workspace.registry().accesses(mark).stream()
                            .filter(access -> access.fetched(layer.digest()))
                            .toList();
            assertEquals(1, fetches.size(), layer.digest());
            assertEquals(layer.size(), fetches.getFirst().bytes());
            assertTrue(fetches.getFirst().userAgent().startsWith("containerd/"));
        }
    }
}
