/// The vocabulary of images: digests, descriptors, manifests, platforms, references and errors.
///
/// Everything here is an immutable value. Bytes that came from outside are parsed strictly, within
/// limits, and kept beside the parsed view, so that a digest is always computed over what was
/// received.
@NullMarked
package dev.imgd.model;

import org.jspecify.annotations.NullMarked;
