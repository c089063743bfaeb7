/// Tests of the image service on real stores, real overlay mounts and a scripted registry.
@NullMarked
package dev.imgd.image;

import org.jspecify.annotations.NullMarked;
