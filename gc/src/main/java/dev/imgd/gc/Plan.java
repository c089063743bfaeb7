package dev.imgd.gc;

import dev.imgd.content.NodeId;
import java.util.List;

/// What a collection would remove and what it would keep, on one consistent state.
///
/// @param removable what nothing needs
/// @param kept everything else; each with the reason
public record Plan(List<Item> removable, List<Item> kept) {
    public Plan {
        removable = List.copyOf(removable);
        kept = List.copyOf(kept);
    }

    /// What the removable items take, in bytes.
    public long removableBytes() {
        long bytes = 0;
        for (Item item : removable) {
            bytes += item.sizeBytes();
        }
        return bytes;
    }

    /// Something that may be removed.
    public sealed interface Subject {
        /// A blob, a snapshot, a layer or a lease.
        record Node(NodeId node) implements Subject {}

        /// An ingest.
        record PartialBlob(String namespace, String ref) implements Subject {}
    }

    /// A subject with its fate.
    ///
    /// @param sizeBytes what it takes on disk itself, 0 when unknown
    /// @param reason for people: why it goes or what needs it
    public record Item(Subject subject, long sizeBytes, String reason) {
        /// `blob`, `layer`, `snapshot`, `lease`, `image` or `ingest`.
        public String kind() {
            return switch (subject) {
                case Subject.Node(NodeId node) ->
                        switch (node.type()) {
                            case BLOB -> "blob";
                            case LAYER -> "layer";
                            case SNAPSHOT -> "snapshot";
                            case LEASE -> "lease";
                            case IMAGE -> "image";
                        };
                case Subject.PartialBlob _ -> "ingest";
            };
        }

        /// The digest of a blob, else namespace or view, a slash, and the name.
        public String id() {
            return switch (subject) {
                case Subject.Node(NodeId node) -> node.key();
                case Subject.PartialBlob(String namespace, String ref) -> namespace + "/" + ref;
            };
        }
    }
}
