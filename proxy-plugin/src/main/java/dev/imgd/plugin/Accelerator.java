package dev.imgd.plugin;

import dev.imgd.model.ImageException;

/// Brings the layers of an image onto this host before containerd fetches them.
///
/// containerd asks for one layer after the other, lowest first; the first request for an image is
/// the moment to fetch and unpack all of them. Safe for use by many threads: requests for layers of
/// one image, also from several namespaces, may run at once and should share the work.
public interface Accelerator {
    /// Refuses an image that may not be used on this host. Asked before each of its layers is shown
    /// or provided, also when the layer is here already.
    ///
    /// @throws ImageException when the image is refused, or when it cannot be decided; containerd's
    ///   call fails with it, since containerd would otherwise fetch the image itself
    void admit(AccelerateRequest request) throws ImageException;

    /// Blocks until the layer is verified and on disk.
    ///
    /// The caller compares the chainID of the result with [AccelerateRequest#chainId] and then
    /// shows the layer in the view; an implementation only has to make it present, as by
    /// [dev.imgd.snapshot.SnapshotService#stage], and to keep it for at least a minute after
    /// returning. Interrupting the calling thread ends the wait with `CANCELLED`; work that other
    /// requests share may go on.
    ///
    /// @return which layer it is, taken from the verified configuration of the image and from
    ///   nothing else
    /// @throws ImageException when the layer cannot be provided; the caller lets containerd fetch
    ///   it and logs the message
    ProvidedLayer provide(AccelerateRequest request) throws ImageException;
}
