package dev.imgd.trust;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Descriptor;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.trust.Verdict.Check;
import dev.imgd.trust.Verdict.Tried;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;

/// Policies on disk and what they say.
final class Policies {
    private final Path directory;
    private int files;

    Policies(Path directory) {
        this.directory = directory;
    }

    /// A policy with one rule for everything.
    ImagePolicy everywhere(String requirement) throws Exception {
        return read("{\"default\":[" + requirement + "]}");
    }

    ImagePolicy read(String json) throws Exception {
        return ImagePolicy.read(write(json), directory.resolve("notation"));
    }

    Path write(String json) throws Exception {
        return Files.writeString(directory.resolve("policy-" + files++ + ".json"), json);
    }

    static String signedBy(Path key) {
        return "{\"type\":\"sigstoreSigned\",\"keyPath\":\"" + key + "\"}";
    }

    static String signedBy(Path key, String identity) {
        return "{\"type\":\"sigstoreSigned\",\"keyPath\":\"%s\",\"signedIdentity\":%s}"
                .formatted(key, identity);
    }

    static Verdict decide(
            ImagePolicy policy, String reference, Descriptor image, SignatureLookup lookup)
            throws ImageException {
        return policy.decide(
                Reference.parse(reference).withDefaultTag(),
                image,
                lookup,
                Effort.defaults(),
                Instant.now());
    }

    /// That an image is refused because of its only signature, which itself was refused with a
    /// reason.
    static void assertRefused(Verdict verdict, String reason) {
        assertFalse(verdict.accepted(), verdict::toString);
        Check check = verdict.checks().getFirst();
        assertEquals(1, check.signatures().size(), verdict::toString);
        Tried tried = check.signatures().getFirst();
        assertFalse(tried.good());
        assertTrue(tried.reason().contains(reason), () -> "wanted " + reason + ": " + tried);
    }

    static void assertAccepted(Verdict verdict) {
        assertTrue(verdict.accepted(), verdict::toString);
        Tried last = verdict.checks().getFirst().signatures().getLast();
        assertTrue(last.good() && last.key().isPresent(), verdict::toString);
    }
}
