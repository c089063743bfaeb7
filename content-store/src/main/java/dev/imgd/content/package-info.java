/// The content-addressed store: blobs on disk, their metadata, images and leases in RocksDB.
@NullMarked
package dev.imgd.content;

import org.jspecify.annotations.NullMarked;
