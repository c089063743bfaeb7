@NullMarked
package dev.imgd.trust;

import org.jspecify.annotations.NullMarked;
