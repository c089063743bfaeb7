/// The programs `imgctl` and `imgd`: the only place where the parts are put together.
@NullMarked
package dev.imgd.cli;

import org.jspecify.annotations.NullMarked;
