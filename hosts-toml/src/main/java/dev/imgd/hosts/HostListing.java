package dev.imgd.hosts;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// The hosts of a registry, and where each of them was found.
///
/// @param registry as references name it
/// @param directory the configuration that was used; empty when there is none for this registry
/// @param entries in the order in which they are asked, never empty
/// @param warnings what is doubtful about the configuration, one sentence each
public record HostListing(
        String registry, Optional<Path> directory, List<Entry> entries, List<String> warnings) {

    /// One host.
    ///
    /// @param from for people: a file and a line, files, or `built in`
    public record Entry(RegistryHost host, String from) {}

    public HostListing {
        entries = List.copyOf(entries);
        warnings = List.copyOf(warnings);
    }
}
