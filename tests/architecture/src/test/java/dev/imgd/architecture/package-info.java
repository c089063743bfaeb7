/// Rules about the modules, checked on compiled classes.
@NullMarked
package dev.imgd.architecture;

import org.jspecify.annotations.NullMarked;
