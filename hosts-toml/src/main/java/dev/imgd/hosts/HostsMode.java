package dev.imgd.hosts;

/// What happens when a `hosts.toml` is not right.
public enum HostsMode {
    /// It is an error that names file, line, column and key, and so is everything in it that
    /// containerd would silently pass over.
    STRICT,
    /// What containerd passes over is passed over; a file that containerd cannot read is replaced
    /// by the certificate files beside it, which means the registry itself without its mirrors.
    /// Both are logged and counted.
    CONTAINERD
}
