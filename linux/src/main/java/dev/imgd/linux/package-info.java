/// Linux system calls and native libraries with typed errors: the only user of `java.lang.foreign`.
@NullMarked
package dev.imgd.linux;

import org.jspecify.annotations.NullMarked;
