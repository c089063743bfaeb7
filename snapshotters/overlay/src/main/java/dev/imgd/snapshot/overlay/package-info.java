/// Snapshots as directories that overlayfs stacks.
@NullMarked
package dev.imgd.snapshot.overlay;

import org.jspecify.annotations.NullMarked;
