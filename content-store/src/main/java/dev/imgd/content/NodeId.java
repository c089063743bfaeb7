package dev.imgd.content;

import dev.imgd.model.Digest;

/// The identity of an object in the reference graph.
///
/// @param type which kind of object
/// @param key unique within the type; may hold any character but NUL
public record NodeId(Type type, String key) {
    /// The kinds of objects. Images, leases and active snapshots are roots: they live without
    /// references.
    public enum Type {
        IMAGE('i'),
        LEASE('l'),
        BLOB('b'),
        SNAPSHOT('s'),
        /// An unpacked layer on disk, shared by the snapshots that show it.
        LAYER('y');

        private final char tag;

        Type(char tag) {
            this.tag = tag;
        }

        /// The letter that stands for the type in database keys.
        public char tag() {
            return tag;
        }
    }

    public static NodeId blob(Digest digest) {
        return new NodeId(Type.BLOB, digest.toString());
    }

    public static NodeId image(String namespace, String name) {
        return new NodeId(Type.IMAGE, namespace + "/" + name);
    }

    public static NodeId lease(String namespace, String id) {
        return new NodeId(Type.LEASE, namespace + "/" + id);
    }

    /// @param view which snapshotter's snapshot; never contains a slash
    public static NodeId snapshot(String view, String key) {
        return new NodeId(Type.SNAPSHOT, view + "/" + key);
    }

    public static NodeId layer(String id) {
        return new NodeId(Type.LAYER, id);
    }

    /// Reads the form that [#toString] gives.
    static NodeId parse(String text) {
        if (text.length() >= 2 && text.charAt(1) == ':') {
            for (Type type : Type.values()) {
                if (type.tag == text.charAt(0)) {
                    return new NodeId(type, text.substring(2));
                }
            }
        }
        throw new IllegalArgumentException("not a node: " + text);
    }

    /// The type's letter, a colon and the key.
    @Override
    public String toString() {
        return type.tag() + ":" + key;
    }
}
