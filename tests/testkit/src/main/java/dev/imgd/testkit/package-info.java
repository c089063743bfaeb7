/// Contracts that implementations run, fakes, an in-memory registry and an image builder.
@NullMarked
package dev.imgd.testkit;

import org.jspecify.annotations.NullMarked;
