package dev.imgd.trust;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Decides on the images of a process, by the policy as it is on disk at that moment.
///
/// Acceptances are remembered for a while by the policy's hash, the name and the digest, so that a
/// policy that changed decides anew at once; refusals are not, so that a signature that was added
/// counts at once. Thread-safe.
public final class PolicyGate {
    private static final int MAX_REMEMBERED = 1000;
    private static final String NO_POLICY = "no policy file";

    private final @Nullable Path file;
    private final boolean required;
    private final Path notation;
    private final Effort effort;
    private final Clock clock;
    private final Map<Key, Verdict> accepted =
            new LinkedHashMap<>(16, 0.75f, true) {
                @Override
                protected boolean removeEldestEntry(Map.Entry<Key, Verdict> eldest) {
                    return size() > MAX_REMEMBERED;
                }
            };

    private record Key(Digest policy, Reference reference, Digest image) {}

    private PolicyGate(
            @Nullable Path file, boolean required, Path notation, Effort effort, Clock clock) {
        this.file = file;
        this.required = required;
        this.notation = notation;
        this.effort = effort;
        this.clock = clock;
    }

    /// A gate that lets everything through.
    public static PolicyGate open() {
        return new PolicyGate(null, false, Path.of("/"), Effort.defaults(), Clock.systemUTC());
    }

    /// A gate by a policy file.
    ///
    /// @param required whether the file must exist; else its absence accepts everything
    /// @param notation the directory of [ImagePolicy#read]
    public static PolicyGate of(
            Path file, boolean required, Path notation, Effort effort, Clock clock) {
        return new PolicyGate(file, required, notation, effort, clock);
    }

    /// Reads the policy only to see whether it is right.
    ///
    /// @throws ImageException as of [ImagePolicy#read]
    public void check() throws ImageException {
        policy();
    }

    private Optional<ImagePolicy> policy() throws ImageException {
        if (file == null || (!required && Files.notExists(file, LinkOption.NOFOLLOW_LINKS))) {
            return Optional.empty();
        }
        return Optional.of(ImagePolicy.read(file, notation));
    }

    /// Decides on one manifest or index.
    ///
    /// @throws ImageException when it cannot be decided, which must be taken for a refusal
    public Verdict decide(Reference reference, Descriptor resolved, SignatureLookup lookup)
            throws ImageException {
        Instant now = clock.instant();
        Optional<ImagePolicy> policy = policy();
        if (policy.isEmpty()) {
            return withoutPolicy(Optional.of(resolved.digest()), now);
        }
        Key key = new Key(policy.get().hash(), reference, resolved.digest());
        Verdict known = remembered(key, now);
        if (known != null) {
            return known;
        }
        Verdict verdict = policy.get().decide(reference, resolved, lookup, effort, now);
        if (verdict.accepted()) {
            synchronized (accepted) {
                accepted.put(key, verdict);
            }
        }
        return verdict;
    }

    /// What can be said of an image without asking the registry: that there is no policy, that it
    /// was accepted a moment ago, or that its rule wants no signatures.
    ///
    /// @param digest of the manifest or index, where known
    public Optional<Verdict> settled(Reference reference, Optional<Digest> digest)
            throws ImageException {
        Optional<ImagePolicy> policy = policy();
        Instant now = clock.instant();
        if (policy.isPresent() && digest.isPresent()) {
            Verdict known = remembered(new Key(policy.get().hash(), reference, digest.get()), now);
            if (known != null) {
                return Optional.of(known);
            }
        }
        return policy.isPresent()
                ? policy.get().decideAlone(reference, digest, now)
                : Optional.of(withoutPolicy(digest, now));
    }

    /// What an accepted index lists is accepted with it.
    private void remember(Reference reference, List<Descriptor> selected, Verdict whole)
            throws ImageException {
        Optional<ImagePolicy> policy = policy();
        if (policy.isEmpty()) {
            return;
        }
        synchronized (accepted) {
            // Only if it is still the policy that accepted.
            Verdict known =
                    accepted.get(
                            new Key(policy.get().hash(), reference, whole.digest().orElseThrow()));
            if (whole.equals(known)) {
                for (Descriptor manifest : selected) {
                    accepted.put(new Key(policy.get().hash(), reference, manifest.digest()), whole);
                }
            }
        }
    }

    private @Nullable Verdict remembered(Key key, Instant now) {
        synchronized (accepted) {
            Verdict known = accepted.get(key);
            return known != null && now.isBefore(known.until()) ? known : null;
        }
    }

    private Verdict withoutPolicy(Optional<Digest> digest, Instant now) {
        return new Verdict(
                true,
                digest,
                NO_POLICY,
                "default",
                List.of(
                        new Verdict.Check(
                                "insecureAcceptAnything",
                                true,
                                file == null ? "no policy is configured" : file + " does not exist",
                                List.of())),
                now.plus(ImagePolicy.MAX_AGE));
    }

    /// Lets an image through or throws: the index or manifest that the name resolves to must be
    /// accepted, or, where that is an index, each manifest that is used of it.
    ///
    /// @param selected the manifests that are used
    /// @return the verdicts that were taken, the deciding ones last
    /// @throws ImageException `PERMISSION_DENIED` when it is refused, or why it cannot be decided
    public List<Verdict> admit(
            Reference reference,
            Descriptor target,
            List<Descriptor> selected,
            SignatureLookup lookup)
            throws ImageException {
        Verdict whole = decide(reference, target, lookup);
        if (whole.accepted()) {
            remember(reference, selected, whole);
            return List.of(whole);
        }
        if (!(target.type() instanceof MediaType.IndexType) || selected.isEmpty()) {
            whole.require(reference);
        }
        List<Verdict> verdicts = new ArrayList<>(List.of(whole));
        for (Descriptor manifest : selected) {
            Verdict verdict = decide(reference, manifest, lookup);
            verdicts.add(verdict);
            if (!verdict.accepted()) {
                // The index has what an operator signs; its reasons say more.
                whole.require(reference);
            }
        }
        return List.copyOf(verdicts);
    }
}
