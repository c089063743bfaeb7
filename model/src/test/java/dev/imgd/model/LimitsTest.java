package dev.imgd.model;

import static dev.imgd.model.Errors.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import org.junit.jupiter.api.Test;

class LimitsTest {
    @Test
    void defaults_areTheDocumentedOnes() {
        assertEquals(
                "limits.manifest_bytes=4 MiB, limits.json_depth=64, limits.json_tokens=500000,"
                        + " limits.json_string_chars=1048576, limits.index_depth=4,"
                        + " limits.descriptors=10000,"
                        + " limits.layers=500, limits.config_history=2000, limits.config_env=4096,"
                        + " limits.config_labels=1024, limits.config_label_bytes=64 KiB,"
                        + " limits.layer_compressed_bytes=64 GiB,"
                        + " limits.layer_uncompressed_bytes=256 GiB,"
                        + " limits.image_uncompressed_bytes=512 GiB, limits.gzip_ratio=1100:1,"
                        + " limits.zstd_ratio=40000:1, limits.disk_reserve_bytes=1 GiB,"
                        + " limits.zstd_window_log=128 MiB, limits.tar_entries=5000000,"
                        + " limits.archive_entries=100000, limits.path_depth=1024,"
                        + " limits.name_bytes=4 KiB, limits.link_bytes=4 KiB,"
                        + " limits.pax_bytes=1 MiB, limits.xattrs=64,"
                        + " limits.xattr_value_bytes=64 KiB,"
                        + " limits.directory_bytes=96 MiB, limits.redirects=5,"
                        + " limits.http_header_bytes=16 KiB, limits.challenge_bytes=8 KiB,"
                        + " limits.token_answer_bytes=1 MiB, limits.token_bytes=64 KiB,"
                        + " limits.error_body_bytes=64 KiB, limits.error_shown_bytes=1 KiB,"
                        + " limits.list_pages=10000, limits.referrers_pages=100,"
                        + " limits.signatures=64",
                Limits.defaults().toString());
        for (Limits.Key key : Limits.Key.values()) {
            assertEquals(key.defaultValue(), Limits.defaults().value(key));
        }
    }

    @Test
    void with_changesOneLimit() throws Exception {
        Limits changed = Limits.defaults().with("limits.tar_entries", 7);
        assertEquals(7, changed.tarEntries());
        assertEquals(4 << 20, changed.manifestBytes());
        assertNotEquals(Limits.defaults(), changed);
        assertEquals(Limits.defaults(), changed.with(Limits.Key.TAR_ENTRIES, 5_000_000));
        for (Limits.Key key : Limits.Key.values()) {
            assertEquals(key.max(), changed.with(key.configKey(), key.max()).value(key));
            assertEquals(key.min(), changed.with(key.configKey(), key.min()).value(key));
        }
    }

    @Test
    void with_badKeyOrValue_fails() {
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                "limits.tar_entry: no such limit; wanted one of limits.manifest_bytes, ",
                () -> Limits.defaults().with("limits.tar_entry", 7));
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                "limits.zstd_window_log: wanted 10 to 31, got 32",
                () -> Limits.defaults().with("limits.zstd_window_log", 32));
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                "got -1",
                () -> Limits.defaults().with("limits.layers", -1));
    }

    @Test
    void check_atTheLimit_passes() throws Exception {
        Limits limits = Limits.defaults();
        limits.check(Limits.Key.LINK_BYTES, "link of x", 4096);
        assertFails(
                ErrorKind.LIMIT_EXCEEDED,
                "link of x: exceeds the limit of 4 KiB; raise limits.link_bytes if you"
                        + " trust the source",
                () -> limits.check(Limits.Key.LINK_BYTES, "link of x", 4097));
    }
}
