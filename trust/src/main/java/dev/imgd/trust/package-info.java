/// Which images may be used: the policy file, and the signatures that satisfy it.
@NullMarked
package dev.imgd.trust;

import org.jspecify.annotations.NullMarked;
