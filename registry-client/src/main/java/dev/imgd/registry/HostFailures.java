package dev.imgd.registry;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.RegistryException;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/// What the hosts of a registry said that were asked for the same thing in vain. For one thread.
final class HostFailures {
    private final String what;
    private final List<RegistryHost> hosts;
    private final @Nullable ImageException[] failures;
    private final int own;

    /// @param what they were asked for
    /// @param hosts in the order of the configuration, each once
    HostFailures(String what, List<RegistryHost> hosts) {
        this.what = what;
        this.hosts = hosts;
        this.failures = new ImageException[hosts.size()];
        this.own = own(hosts);
    }

    /// Where the registry itself stands, or what its configuration names in its place: last, unless
    /// a table has moved it up.
    private static int own(List<RegistryHost> hosts) {
        for (int i = hosts.size() - 1; i >= 0; i--) {
            if (hosts.get(i).role() == RegistryHost.Role.ORIGIN) {
                return i;
            }
        }
        return hosts.size() - 1;
    }

    /// The registry itself, or the last host where it is not among them.
    RegistryHost own() {
        return hosts.get(own);
    }

    /// @throws ImageException the failure itself if it is that nobody wants to know any longer
    void add(RegistryHost host, ImageException failure) throws ImageException {
        if (failure.kind() == ErrorKind.CANCELLED) {
            throw failure;
        }
        failures[hosts.indexOf(host)] = failure;
    }

    boolean hasOwn() {
        return failures[own] != null;
    }

    /// Receives each host that failed.
    interface Receiver {
        void accept(RegistryHost host, ImageException failure, String reason);
    }

    void forEach(Receiver receiver) {
        for (int i = 0; i < failures.length; i++) {
            ImageException failure = failures[i];
            if (failure != null) {
                receiver.accept(hosts.get(i), failure, reason(what, failure));
            }
        }
    }

    /// The failure of [#own()], with what the others said.
    ///
    /// @throws NullPointerException if that did not fail
    ImageException report() {
        Map<String, ImageException> others = new LinkedHashMap<>();
        for (int i = 0; i < failures.length; i++) {
            ImageException other = failures[i];
            if (other != null && i != own) {
                others.put(label(hosts.get(i)), other);
            }
        }
        return beside(what, Objects.requireNonNull(failures[own]), others);
    }

    /// As [#report], with what one more host said.
    ImageException reportBeside(String host, ImageException failure) {
        return beside(what, report(), Map.of(host, failure));
    }

    /// A failure with those of other hosts.
    ///
    /// @param others by what the hosts are called
    static ImageException beside(
            String what, ImageException last, Map<String, ImageException> others) {
        if (others.isEmpty()) {
            return last;
        }
        // What is wrong with bytes is told by the class of the exception.
        boolean rebuilt =
                last instanceof RegistryException || last.getClass() == ImageException.class;
        ImageException reported = rebuilt ? withMessage(last, message(what, last, others)) : last;
        others.values().forEach(reported::addSuppressed);
        return reported;
    }

    private static String message(
            String what, ImageException last, Map<String, ImageException> others) {
        StringBuilder out = new StringBuilder(last.getMessage());
        String between = "; also asked: ";
        for (Map.Entry<String, ImageException> other : others.entrySet()) {
            out.append(between).append(other.getKey());
            out.append(" (").append(reason(what, other.getValue())).append(')');
            between = ", ";
        }
        return out.toString();
    }

    private static ImageException withMessage(ImageException failure, String message) {
        return failure instanceof RegistryException r
                ? new RegistryException(r.kind(), message, r.status(), r.details(), r)
                : new ImageException(failure.kind(), message, failure);
    }

    /// A failure without what was asked for, which the reader knows.
    static String reason(String what, IOException failure) {
        String reason = BlobSource.reason(failure);
        String known = what + ": ";
        return reason.startsWith(known) ? reason.substring(known.length()) : reason;
    }

    /// What a host is called in reports.
    static String label(RegistryHost host) {
        return host.path().equals("/v2") ? host.authority() : host.authority() + host.path();
    }
}
