package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SuperuserTest {
    @TempDir Path directory;

    @Test
    void running_here_agreesWithTheOwnerOfNewFiles() throws IOException {
        Path file = Files.createFile(directory.resolve("mine"));
        Object owner = Files.getAttribute(file, "unix:uid");
        assertEquals(owner.equals(0), Superuser.running());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "Name:\\tx\\nUid:\\t1000\\t0\\t0\\t0\\nGid:\\t5\\t5\\t5\\t5|0",
                "Uid:\\t0\\t1000\\t0\\t0|1000",
                "Uid:\\t0|-1",
                "Uid:\\tx\\ty\\tz\\tz|-1",
                "Name:\\troot|-1",
                "''|-1"
            })
    void effectiveUid_ofAStatus_isTheSecondNumber(String status, long expected) throws IOException {
        Path file =
                Files.writeString(
                        directory.resolve("status"),
                        status.replace("\\t", "\t").replace("\\n", "\n"));
        assertEquals(expected, Superuser.effectiveUid(file));
    }

    @Test
    void effectiveUid_noProc_isUnknown() {
        assertEquals(-1, Superuser.effectiveUid(directory.resolve("none")));
    }
}
