/// The registry client against scripted registries that misbehave, and against real ones.
@NullMarked
package dev.imgd.registrytest;

import org.jspecify.annotations.NullMarked;
