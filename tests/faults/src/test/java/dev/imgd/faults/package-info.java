/// Faults of the machine under a working store.
@NullMarked
package dev.imgd.faults;

import org.jspecify.annotations.NullMarked;
