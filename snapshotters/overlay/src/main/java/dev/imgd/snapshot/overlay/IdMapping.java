package dev.imgd.snapshot.overlay;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import dev.imgd.snapshot.SnapshotMetadata;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The user namespace of a container as its snapshot's labels give it.
///
/// Only honoured without the label that names a target: there labels may come from an image's
/// annotations, and an image must not choose owners. **Source:** containerd `core/snapshots`
/// `LabelSnapshotUIDMapping`, `internal/userns` (`container:host:length`, comma-separated).
///
/// @param uids as mount options want it
/// @param gids as mount options want it
/// @param rootUid the host's id of the container's root
/// @param rootGid the host's id of the container's root group
record IdMapping(String uids, String gids, long rootUid, long rootGid) {
    static final String UID_LABEL = "containerd.io/snapshot/uidmapping";
    static final String GID_LABEL = "containerd.io/snapshot/gidmapping";

    private static final int MAX_RANGES = 340; // the kernel's UID_GID_MAP_MAX_EXTENTS
    private static final long MAX_ID = 0xffff_fffeL;

    private record Range(long container, long host, long length) {}

    /// @throws ImageException `INVALID_ARGUMENT` for a malformed mapping or one without root
    static Optional<IdMapping> of(Map<String, String> labels) throws ImageException {
        String uids = labels.get(UID_LABEL);
        String gids = labels.get(GID_LABEL);
        if (uids == null || gids == null || labels.containsKey(SnapshotMetadata.REF_LABEL)) {
            return Optional.empty();
        }
        List<Range> uidRanges = parse(UID_LABEL, uids);
        List<Range> gidRanges = parse(GID_LABEL, gids);
        return Optional.of(
                new IdMapping(
                        format(uidRanges),
                        format(gidRanges),
                        root(UID_LABEL, uidRanges),
                        root(GID_LABEL, gidRanges)));
    }

    private static List<Range> parse(String label, String value) throws ImageException {
        List<Range> ranges = new ArrayList<>();
        for (String part : value.split(",", -1)) {
            String[] numbers = part.split(":", -1);
            if (numbers.length != 3 || ranges.size() == MAX_RANGES) {
                throw malformed(label, value);
            }
            Range range =
                    new Range(
                            number(label, value, numbers[0]),
                            number(label, value, numbers[1]),
                            number(label, value, numbers[2]));
            if (range.length() == 0
                    || range.container() + range.length() - 1 > MAX_ID
                    || range.host() + range.length() - 1 > MAX_ID) {
                throw malformed(label, value);
            }
            ranges.add(range);
        }
        return ranges;
    }

    private static long number(String label, String value, String digits) throws ImageException {
        if (digits.isEmpty() || digits.length() > 10) {
            throw malformed(label, value);
        }
        for (int i = 0; i < digits.length(); i++) {
            if (digits.charAt(i) < '0' || digits.charAt(i) > '9') {
                throw malformed(label, value);
            }
        }
        return Long.parseLong(digits);
    }

    private static String format(List<Range> ranges) {
        StringBuilder out = new StringBuilder();
        for (Range range : ranges) {
            out.append(out.isEmpty() ? "" : ",")
                    .append(range.container())
                    .append(':')
                    .append(range.host())
                    .append(':')
                    .append(range.length());
        }
        return out.toString();
    }

    private static long root(String label, List<Range> ranges) throws ImageException {
        for (Range range : ranges) {
            if (range.container() == 0) {
                return range.host();
            }
        }
        throw ImageException.invalidArgument(
                "label %s: wanted a range for id 0 of the container, got none".formatted(label));
    }

    private static ImageException malformed(String label, String value) {
        return ImageException.invalidArgument(
                "label %s: wanted ranges like 0:100000:65536, got \"%s\""
                        .formatted(label, Text.printable(value, 100)));
    }
}
