package dev.imgd.registry;

import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;

/// What is asked for, as far as it matters for what a failure says of the host.
enum Part {
    /// The image: its manifests, its configuration, its layers.
    IMAGE,
    /// What is found by the image, such as its signatures. Who has the image may not have, or not
    /// give, these.
    BESIDE;

    /// Whether a host that failed like this is asked last from then on: not where it only does not
    /// have something.
    boolean isFault(ImageException failure) {
        return switch (failure.kind()) {
            case NOT_FOUND, CANCELLED -> false;
            case UNAUTHENTICATED, PERMISSION_DENIED -> this == IMAGE || !isAnswer(failure);
            default -> true;
        };
    }

    /// Whether the host was reached and said so itself.
    private static boolean isAnswer(ImageException failure) {
        return failure instanceof RegistryException answer && answer.status() != 0;
    }
}
