package dev.imgd.image;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.trust.PolicyGate;
import dev.imgd.trust.RegistrySignatures;
import dev.imgd.trust.Verdict;
import java.util.List;
import java.util.Optional;

/// Asks the policy, at the moments at which an image may be refused. Thread-safe.
final class Admission {
    private final PolicyGate gate;

    Admission(PolicyGate gate) {
        this.gate = gate;
    }

    /// Before the registry is asked: refuses what no signature could change.
    ///
    /// @throws ImageException `PERMISSION_DENIED`
    void beforeResolving(Reference reference) throws ImageException {
        Optional<Verdict> verdict = gate.settled(reference, reference.digest());
        if (verdict.isPresent()) {
            verdict.get().require(reference);
        }
    }

    /// Before any layer is fetched: refuses an image whose index and manifests the policy does not
    /// accept.
    ///
    /// @param manifests that are used of the target, where it is an index
    /// @throws ImageException `PERMISSION_DENIED`, or why it cannot be decided
    void beforeFetching(
            Reference reference,
            RegistryClient client,
            Descriptor target,
            List<Descriptor> manifests)
            throws ImageException {
        var _ = gate.admit(reference, target, manifests, new RegistrySignatures(client, reference));
    }

    /// Whether a manifest is admitted under a name without asking the registry.
    ///
    /// @throws ImageException `PERMISSION_DENIED` when it is refused without asking
    boolean settled(Reference reference, Optional<Digest> manifest) throws ImageException {
        Optional<Verdict> verdict = gate.settled(reference, manifest);
        if (verdict.isEmpty()) {
            return false;
        }
        verdict.get().require(reference);
        return true;
    }
}
