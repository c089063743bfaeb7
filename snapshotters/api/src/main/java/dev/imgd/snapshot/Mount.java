package dev.imgd.snapshot;

import java.util.List;

/// How to show a snapshot: the arguments of one mount. **Source:** containerd
/// `api/types/mount.proto`.
///
/// @param type `bind` or `overlay`
/// @param source a directory for `bind`, `overlay` for `overlay`
/// @param options in the order mount(8) would take them, for example `ro`, `rbind`,
///   `lowerdir=/a:/b`
public record Mount(String type, String source, List<String> options) {
    public Mount {
        options = List.copyOf(options);
    }
}
