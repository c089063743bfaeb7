/// Which hosts serve a registry, in which order and with which settings.
@NullMarked
package dev.imgd.hosts;

import org.jspecify.annotations.NullMarked;
