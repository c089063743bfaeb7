package dev.imgd.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

class MountInfoTest {
    @Test
    void parse_exampleOfTheManual_hasAllFields() throws Exception {
        List<MountInfo> mounts =
                MountInfo.parse(
                        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3"
                                + " /dev/root rw,errors=continue\n"
                                + "37 36 0:5 / /a\\040b\\134c ro - tmpfs none rw\n");
        assertEquals(
                new MountInfo(
                        36,
                        35,
                        98,
                        0,
                        "/mnt1",
                        "/mnt2",
                        List.of("rw", "noatime"),
                        List.of("master:1", "propagate_from:2"),
                        "ext3",
                        "/dev/root",
                        List.of("rw", "errors=continue")),
                mounts.get(0));
        assertEquals("/a b\\c", mounts.get(1).mountPoint());
        assertEquals(List.of(), mounts.get(1).tags());
        assertTrue(mounts.get(1).isReadOnly());
        assertEquals(2, mounts.size());
    }

    @Test
    void parse_otherText_fails() {
        for (String line :
                List.of(
                        "",
                        "36",
                        "36 35 98:0 /a /b rw ext3 /dev/root rw",
                        "36 35 98 /a /b rw - ext3 /dev/root rw",
                        "36 35 98:x /a /b rw - ext3 /dev/root rw",
                        "36 35 98:0 /a /b rw - ext3")) {
            ImageException e =
                    assertThrows(ImageException.class, () -> MountInfo.parse(line + "\n"));
            assertEquals(ErrorKind.INVALID_CONTENT, e.kind());
        }
    }

    @Test
    void list_thisProcess_hasEveryMount() throws Exception {
        List<MountInfo> mounts = MountInfo.list();
        assertEquals(Files.readAllLines(Path.of("/proc/self/mountinfo")).size(), mounts.size());
        assertTrue(
                mounts.stream()
                        .anyMatch(m -> m.mountPoint().equals("/proc") && m.type().equals("proc")));
    }
}
