package dev.imgd.layers;

/// An extended attribute of an entry.
///
/// @param name with its namespace, as in `user.comment`
@SuppressWarnings("ArrayRecordComponent") // passed on to the kernel, never compared
record Xattr(String name, byte[] value) {}
