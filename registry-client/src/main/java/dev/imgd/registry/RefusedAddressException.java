package dev.imgd.registry;

import java.net.UnknownHostException;

/// A name that leads to an address where this request may not go.
final class RefusedAddressException extends UnknownHostException {
    RefusedAddressException(String message) {
        super(message);
    }
}
