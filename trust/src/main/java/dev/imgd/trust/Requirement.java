package dev.imgd.trust;

import dev.imgd.model.ImageException;
import java.util.List;

/// One requirement of a rule of the policy.
sealed interface Requirement {
    String ACCEPTED = "no signature is asked for";
    String REJECTED = "the policy rejects every image of this scope";

    /// As in the policy.
    String type();

    /// @throws ImageException when it cannot be found out, which refuses the image
    Verdict.Check check(Examination examination) throws ImageException;

    /// Anything is accepted.
    record AcceptAnything() implements Requirement {
        @Override
        public String type() {
            return "insecureAcceptAnything";
        }

        @Override
        public Verdict.Check check(Examination examination) {
            return examination.met(type(), ACCEPTED);
        }
    }

    /// Nothing is accepted.
    record Reject() implements Requirement {
        @Override
        public String type() {
            return "reject";
        }

        @Override
        public Verdict.Check check(Examination examination) {
            return examination.unmet(type(), REJECTED);
        }
    }

    /// A requirement of the containers policy that imgd cannot check: nothing meets it.
    record Unsupported(String type, String reason) implements Requirement {
        @Override
        public Verdict.Check check(Examination examination) {
            return examination.unmet(type, reason);
        }
    }

    /// A signature by one of some keys.
    record SigstoreSigned(List<VerificationKey> keys, SignedIdentity identity)
            implements Requirement {
        public SigstoreSigned {
            keys = List.copyOf(keys);
        }

        @Override
        public String type() {
            return "sigstoreSigned";
        }

        @Override
        public Verdict.Check check(Examination examination) throws ImageException {
            return new KeySignatures(this, examination).check();
        }
    }

    /// A signature of the Notary Project.
    record Notation(NotationPolicy policy) implements Requirement {
        @Override
        public String type() {
            return "notation";
        }

        @Override
        public Verdict.Check check(Examination examination) throws ImageException {
            return new NotationSignatures(policy, examination).check();
        }
    }
}
