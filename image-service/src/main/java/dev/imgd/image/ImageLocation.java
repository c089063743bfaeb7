package dev.imgd.image;

import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.model.Text;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;

/// Where an image is, or is to be: `docker://REF`, `store:REF`, `oci:DIR[:NAME]`,
/// `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:REF]` or `dir:DIR`, as skopeo writes them.
///
/// @param place a reference, or a path without `:`
/// @param name which image in a layout or archive that may have several
public record ImageLocation(Transport transport, String place, Optional<String> name) {
    /// A kind of place.
    public enum Transport {
        DOCKER("docker://"),
        STORE("store:"),
        OCI("oci:"),
        OCI_ARCHIVE("oci-archive:"),
        DOCKER_ARCHIVE("docker-archive:"),
        DIR("dir:");

        private final String prefix;

        Transport(String prefix) {
            this.prefix = prefix;
        }

        /// How a location of this kind begins.
        public String prefix() {
            return prefix;
        }
    }

    /// Reads a location.
    ///
    /// @throws ImageException `INVALID_ARGUMENT`
    public static ImageLocation parse(String text) throws ImageException {
        for (Transport transport : Transport.values()) {
            if (text.startsWith(transport.prefix)) {
                return of(text, transport, text.substring(transport.prefix.length()));
            }
        }
        String shown = Reference.printable(text);
        throw ImageException.invalidArgument(
                "\"%s\": wanted docker://, store:, oci:, oci-archive:, docker-archive: or dir: before"
                                .formatted(shown)
                        + " it; an image in a registry is docker://%s".formatted(shown));
    }

    private static ImageLocation of(String text, Transport transport, String rest)
            throws ImageException {
        String place = rest;
        Optional<String> name = Optional.empty();
        switch (transport) {
            case DOCKER, STORE -> place = Reference.parse(rest).withDefaultTag().toString();
            case OCI, OCI_ARCHIVE, DOCKER_ARCHIVE -> {
                int colon = rest.indexOf(':');
                if (colon >= 0) {
                    place = rest.substring(0, colon);
                    name = Optional.of(rest.substring(colon + 1)).filter(n -> !n.isEmpty());
                }
            }
            case DIR -> {}
        }
        if (place.isEmpty()) {
            throw ImageException.invalidArgument(
                    "\"%s\": wanted a path after %s"
                            .formatted(Text.printable(text, 160), transport.prefix));
        }
        if (transport == Transport.DOCKER_ARCHIVE && name.isPresent()) {
            name = Optional.of(Reference.parse(name.get()).withDefaultTag().familiar());
        }
        return new ImageLocation(transport, place, name);
    }

    /// An image in a registry.
    public static ImageLocation docker(Reference reference) {
        return new ImageLocation(Transport.DOCKER, reference.toString(), Optional.empty());
    }

    /// An image in the store.
    public static ImageLocation store(Reference reference) {
        return new ImageLocation(Transport.STORE, reference.toString(), Optional.empty());
    }

    /// The reference of a `docker://` or `store:` location.
    public Reference reference() throws ImageException {
        return Reference.parse(place);
    }

    /// The path of the other locations.
    public Path path() throws ImageException {
        try {
            return Path.of(place);
        } catch (InvalidPathException e) {
            throw ImageException.invalidArgument(
                    "\"%s\": not a path".formatted(Text.printable(place, 160)));
        }
    }

    /// This location with an absolute path, for a process in another directory.
    public ImageLocation absolute() throws ImageException {
        return switch (transport) {
            case DOCKER, STORE -> this;
            case OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR ->
                    new ImageLocation(
                            transport, path().toAbsolutePath().normalize().toString(), name);
        };
    }

    /// Whether another location is this one under the same or another spelling.
    public boolean sameAs(ImageLocation other) throws ImageException {
        if (transport != other.transport) {
            return false;
        }
        return switch (transport) {
            case DOCKER, STORE -> {
                Reference mine = reference();
                Reference others = other.reference();
                yield host(mine).equals(host(others))
                        && mine.repository().equals(others.repository())
                        && mine.tag().equals(others.tag())
                        && mine.digest().equals(others.digest());
            }
            case OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR -> absolute().equals(other.absolute());
        };
    }

    /// The registry in one spelling of several: letter case, the port of https, Docker Hub's host.
    private static String host(Reference reference) {
        String host = reference.registry().toLowerCase(Locale.ROOT);
        if (host.endsWith(":443")) {
            host = host.substring(0, host.length() - ":443".length());
        }
        return host.equals("registry-1.docker.io") ? Reference.DEFAULT_REGISTRY : host;
    }

    /// Whether an image of several platforms fits.
    boolean holdsIndexes() {
        return transport != Transport.DOCKER_ARCHIVE;
    }

    /// The form that [#parse] reads.
    @Override
    public String toString() {
        return transport.prefix + place + name.map(n -> ":" + n).orElse("");
    }
}
