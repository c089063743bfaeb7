package dev.imgd.content;

import dev.imgd.model.ImageException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/// Leases of a namespace: while one lives, what it holds is not collected. Safe for use by many
/// threads.
public interface LeaseStore {
    /// @param expires when the lease ends by itself; [Instant#MAX] for never
    record Lease(
            String namespace,
            String id,
            Instant created,
            Instant expires,
            Map<String, String> labels) {}

    /// Creates a lease.
    ///
    /// @throws ImageException `ALREADY_EXISTS`
    Lease create(String namespace, String id, Duration ttl, Map<String, String> labels)
            throws ImageException;

    /// Adds objects to a lease; idempotent.
    ///
    /// @throws ImageException `NOT_FOUND` when there is no such lease
    void hold(String namespace, String id, List<NodeId> objects) throws ImageException;

    /// What the lease holds.
    List<NodeId> held(String namespace, String id) throws ImageException;

    List<Lease> list(String namespace) throws ImageException;

    /// Ends a lease.
    ///
    /// @throws ImageException `NOT_FOUND`
    void delete(String namespace, String id) throws ImageException;
}
