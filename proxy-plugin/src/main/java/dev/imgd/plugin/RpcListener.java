package dev.imgd.plugin;

/// Told of every call a socket has answered. Called from many threads; must not block.
@FunctionalInterface
public interface RpcListener {
    /// A listener that ignores everything.
    RpcListener NONE = (service, method, code, nanos) -> {};

    /// @param service full name, for example `containerd.services.snapshots.v1.Snapshots`
    /// @param method for example `Prepare`
    /// @param code the gRPC status code, for example `NOT_FOUND`
    /// @param nanos from the arrival of the headers to the last answer
    void handled(String service, String method, String code, long nanos);
}
