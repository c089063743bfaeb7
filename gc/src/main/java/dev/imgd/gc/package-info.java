/// Finds and deletes what no image, lease or snapshot needs any more.
@NullMarked
package dev.imgd.gc;

import org.jspecify.annotations.NullMarked;
