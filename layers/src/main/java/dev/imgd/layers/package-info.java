/// One verified pass from the bytes of a layer blob to a file tree.
@NullMarked
package dev.imgd.layers;

import org.jspecify.annotations.NullMarked;
