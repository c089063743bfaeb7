package dev.imgd.trust;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/// What the policy says of one image, and why.
///
/// @param accepted whether every requirement is met
/// @param digest the manifest or index that was decided on; empty where the rule needs none
/// @param policy the file the rule stands in; empty when there is none
/// @param rule the scope that applies, for example `docker: quay.io/team`, or `default`
/// @param checks one for each requirement of the rule, in order
/// @param until when an acceptance has to be decided again at the latest
public record Verdict(
        boolean accepted,
        Optional<Digest> digest,
        String policy,
        String rule,
        List<Check> checks,
        Instant until) {

    /// One requirement of a rule.
    ///
    /// @param requirement its type, for example `sigstoreSigned`
    /// @param reason why it is met or not, in one line
    /// @param signatures what was tried, in order
    public record Check(
            String requirement, boolean satisfied, String reason, List<Tried> signatures) {
        public Check {
            signatures = List.copyOf(signatures);
        }
    }

    /// One signature that was looked at.
    ///
    /// @param kind `cosign`, `bundle`, `notation`
    /// @param where the digest of what holds it
    /// @param good whether it satisfies the requirement
    /// @param key the key or certificate that made it; empty unless the signature itself is right
    /// @param reason why it counts or does not
    public record Tried(
            String kind, Digest where, boolean good, Optional<String> key, String reason) {}

    public Verdict {
        checks = List.copyOf(checks);
    }

    /// Throws when the image is refused.
    ///
    /// @throws ImageException `PERMISSION_DENIED` naming the rule and every reason
    public void require(Reference reference) throws ImageException {
        if (!accepted) {
            throw new ImageException(ErrorKind.PERMISSION_DENIED, refusal(reference));
        }
    }

    private String refusal(Reference reference) {
        StringBuilder out = new StringBuilder();
        out.append("image ").append(reference);
        digest.ifPresent(d -> out.append(" (").append(d).append(')'));
        out.append(": refused by rule \"%s\" of %s".formatted(rule, policy));
        for (Check check : checks) {
            if (!check.satisfied) {
                out.append(": ").append(check.requirement).append(": ").append(check.reason);
                for (Tried tried : check.signatures) {
                    out.append("; %s %s: %s".formatted(tried.kind, tried.where, tried.reason));
                }
                break;
            }
        }
        return out.toString();
    }
}
