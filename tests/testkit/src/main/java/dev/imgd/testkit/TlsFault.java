package dev.imgd.testkit;

/// What happens to new connections of an [InMemoryRegistry] with TLS.
public enum TlsFault {
    /// A handshake as it should be.
    NONE,
    /// Nothing is ever said.
    STALL,
    /// The connection is reset before the handshake.
    ABORT,
    /// Plain HTTP is spoken.
    PLAIN
}
