/// A client of registries that follow the OCI distribution specification.
@NullMarked
package dev.imgd.registry;

import org.jspecify.annotations.NullMarked;
