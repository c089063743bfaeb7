/// What a user does with images: pull, list, inspect, tag, remove, mount, import and export.
@NullMarked
package dev.imgd.image;

import org.jspecify.annotations.NullMarked;
