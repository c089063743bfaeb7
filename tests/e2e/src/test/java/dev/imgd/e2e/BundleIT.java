package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Bundles run by real runtimes.
@Tag("root")
class BundleIT {
    @RegisterExtension final Workspace workspace = new Workspace();

    @Test
    void bundle_runByRunc_printsTheOutput() throws Exception {
        assertEquals("12.", runs("runc").substring(0, 3));
    }

    @Test
    void bundle_runByCrun_printsTheOutput() throws Exception {
        // crun refuses hosts with both versions of cgroups; without version 2 in sight it runs
        // there, too.
        assertEquals(
                "12.",
                runs(
                                "unshare",
                                "--mount",
                                "--propagation",
                                "private",
                                "sh",
                                "-c",
                                "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"",
                                "sh",
                                "crun")
                        .substring(0, 3));
    }

    private String runs(Object... runtime) throws Exception {
        Imgctl imgctl = Imgctl.embedded(workspace.path("store"));
        imgctl.ok("pull", "--plain-http", workspace.reference());
        Path bundle = workspace.path("bundle");
        imgctl.ok(
                "bundle",
                workspace.reference(),
                bundle,
                "sh",
                "-c",
                "cat /etc/debian_version.moved; echo $PATH; id -u; touch /written");
        List<Object> command = new ArrayList<>(List.of(runtime));
        command.addAll(
                List.of("--root", workspace.newDirectory("state"), "run", "--bundle", bundle));
        command.add(workspace.directory().getFileName());
        Program.Finished finished = Program.of(command.toArray()).run().expectExit(0);
        boolean written = Files.exists(bundle.resolve("rootfs/written"));
        imgctl.ok("unmount", bundle);
        assertTrue(Files.notExists(bundle), "unmount left the bundle");

        List<String> lines = finished.out().lines().toList();
        assertEquals("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", lines.get(1));
        assertEquals("0", lines.get(2));
        assertTrue(written);
        assertEquals("", imgctl.ok("fsck"));
        return lines.getFirst();
    }
}
