/// The snapshotter contract of containerd and the metadata behind every implementation.
@NullMarked
package dev.imgd.snapshot;

import org.jspecify.annotations.NullMarked;
