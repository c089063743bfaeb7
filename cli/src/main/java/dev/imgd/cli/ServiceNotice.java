package dev.imgd.cli;

import dev.imgd.linux.NotifySocket;
import dev.imgd.model.ImageException;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What the daemon tells the service manager that started it, if it wants to know. **Source:**
/// sd_notify(3).
final class ServiceNotice {
    private static final Logger LOG = LoggerFactory.getLogger(ServiceNotice.class);

    private final String address;

    /// @param environment of the process
    ServiceNotice(Map<String, String> environment) {
        address = environment.getOrDefault("NOTIFY_SOCKET", "");
    }

    /// The sockets accept.
    void ready() {
        tell("READY=1");
    }

    /// No more calls are taken.
    void stopping() {
        tell("STOPPING=1");
    }

    /// A daemon that cannot tell serves all the same.
    private void tell(String message) {
        if (address.isEmpty()) {
            return;
        }
        try {
            NotifySocket.send(address, message);
        } catch (ImageException e) {
            LOG.warn("cannot tell the service manager {}: {}", message, e.getMessage());
        }
    }
}
