package dev.imgd.model;

import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// The name of an image: a registry, a repository, and a tag, a digest or both.
///
/// Short names are completed as Docker does: `redis` is `docker.io/library/redis`, `a/b` is
/// `docker.io/a/b`; the first component is a registry when it is `localhost`, has a dot, a colon or
/// an upper-case letter. The only way to make one is a strict parser, so a `Reference` is safe in a
/// URL, and after escaping of `/` and `:`, in a path. **Source:** distribution reference grammar,
/// distribution-spec v1.1 § Pulling manifests.
public final class Reference implements Comparable<Reference> {
    /// The registry of names that have none.
    public static final String DEFAULT_REGISTRY = "docker.io";

    /// The tag of [#withDefaultTag()].
    public static final String DEFAULT_TAG = "latest";

    private static final String LEGACY_DEFAULT_REGISTRY = "index.docker.io";
    private static final String OFFICIAL = "library/";
    private static final int MAX_REPOSITORY_CHARS = 255;
    private static final int MAX_REGISTRY_CHARS = 255;
    private static final int MAX_TAG_CHARS = 128;
    private static final int MAX_CHARS = 1024;
    private static final int MAX_SHOWN_CHARS = 160;

    private final String registry;
    private final String repository;
    private final @Nullable String tag;
    private final @Nullable Digest digest;

    private Reference(
            String registry, String repository, @Nullable String tag, @Nullable Digest digest) {
        this.registry = registry;
        this.repository = repository;
        this.tag = tag;
        this.digest = digest;
    }

    /// Parses `[registry/]repository[:tag][@digest]`.
    ///
    /// @throws ImageException [ErrorKind#INVALID_ARGUMENT] that says what is wrong and where
    public static Reference parse(String text) throws ImageException {
        if (text.isEmpty()) {
            throw invalid(text, "the name is empty");
        }
        if (text.length() > MAX_CHARS) {
            throw invalid(text, "longer than " + MAX_CHARS + " characters");
        }
        if (text.contains("://")) {
            throw invalid(text, "remove the scheme, a reference begins with the registry's host");
        }
        if (text.lastIndexOf('@', pinStart(text) - 1) >= 0) {
            throw invalid(
                    text,
                    "wanted a digest after the @, sha256:<64 hex digits> or sha512:<128>; a user name and a password do not belong into a name, log in to the registry instead");
        }
        if (isBareHash(text)) {
            throw invalid(
                    text, "64 hexadecimal digits are an image ID; write name@sha256:<digits>");
        }
        String registry = DEFAULT_REGISTRY;
        String remainder = text;
        int slash = text.indexOf('/');
        if (slash >= 0 && isRegistry(text.substring(0, slash))) {
            registry = text.substring(0, slash);
            remainder = text.substring(slash + 1);
            if (registry.equals(LEGACY_DEFAULT_REGISTRY)) {
                registry = DEFAULT_REGISTRY;
            }
        }
        int at = remainder.indexOf('@');
        String named = at < 0 ? remainder : remainder.substring(0, at);
        int colon = named.indexOf(':');
        String repository = colon < 0 ? named : named.substring(0, colon);
        if (registry.equals(DEFAULT_REGISTRY)
                && repository.indexOf('/') < 0
                && !repository.isEmpty()) {
            repository = OFFICIAL + repository;
        }
        checkRegistry(text, registry);
        checkRepository(text, repository);
        String tag = colon < 0 ? null : named.substring(colon + 1);
        if (tag != null) {
            checkTag(text, tag);
        }
        return new Reference(
                registry, repository, tag, at < 0 ? null : digest(text, remainder, at + 1));
    }

    private static Digest digest(String text, String remainder, int from) throws ImageException {
        try {
            return Digest.parse(remainder.substring(from));
        } catch (ImageException e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT,
                    "reference \"%s\": %s"
                            .formatted(Text.printable(text, MAX_SHOWN_CHARS), e.getMessage()),
                    e);
        }
    }

    /// The host, and the port where the reference has one: `docker.io`, `localhost:5000`,
    /// `[::1]:5000`.
    public String registry() {
        return registry;
    }

    /// The path in the registry, for example `library/redis`.
    public String repository() {
        return repository;
    }

    /// The tag.
    public Optional<String> tag() {
        return Optional.ofNullable(tag);
    }

    /// The digest, which decides the content when there is also a tag.
    public Optional<Digest> digest() {
        return Optional.ofNullable(digest);
    }

    /// The registry and the repository.
    public String name() {
        return registry + "/" + repository;
    }

    /// This reference with another digest, and its tag.
    public Reference withDigest(Digest newDigest) {
        return new Reference(registry, repository, tag, newDigest);
    }

    /// This reference with another tag and no digest.
    ///
    /// @throws ImageException [ErrorKind#INVALID_ARGUMENT] when the text is not a tag
    public Reference withTag(String newTag) throws ImageException {
        checkTag(name() + ":" + newTag, newTag);
        return new Reference(registry, repository, newTag, null);
    }

    /// This reference without its tag.
    public Reference withoutTag() {
        return new Reference(registry, repository, null, digest);
    }

    /// This reference, with the tag `latest` when it has neither tag nor digest.
    public Reference withDefaultTag() {
        return tag == null && digest == null
                ? new Reference(registry, repository, DEFAULT_TAG, null)
                : this;
    }

    /// The shortest form that [#parse] reads as the same reference.
    public String familiar() {
        if (!registry.equals(DEFAULT_REGISTRY)) {
            return toString();
        }
        String shortName = repository;
        if (repository.startsWith(OFFICIAL) && repository.indexOf('/', OFFICIAL.length()) < 0) {
            shortName = repository.substring(OFFICIAL.length());
        } else if (isRegistry(repository.substring(0, Math.max(0, repository.indexOf('/'))))) {
            return toString();
        }
        String familiar = shortName + suffix();
        return isBareHash(familiar) ? toString() : familiar;
    }

    /// The canonical form: registry, repository, tag and digest as far as known.
    @Override
    public String toString() {
        return name() + suffix();
    }

    private String suffix() {
        return (tag == null ? "" : ":" + tag) + (digest == null ? "" : "@" + digest);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Reference r
                && r.registry.equals(registry)
                && r.repository.equals(repository)
                && Objects.equals(r.tag, tag)
                && Objects.equals(r.digest, digest);
    }

    @Override
    public int hashCode() {
        return Objects.hash(registry, repository, tag, digest);
    }

    /// Compares the canonical forms.
    @Override
    public int compareTo(Reference other) {
        return toString().compareTo(other.toString());
    }

    private static boolean isRegistry(String component) {
        if (component.equals("localhost")) {
            return true;
        }
        for (int i = 0; i < component.length(); i++) {
            char c = component.charAt(i);
            if (c == '.' || c == ':' || (c >= 'A' && c <= 'Z')) {
                return true;
            }
        }
        return false;
    }

    private static boolean isBareHash(String text) {
        if (text.length() != 64) {
            return false;
        }
        for (int i = 0; i < 64; i++) {
            char c = text.charAt(i);
            if (!isDigit(c) && !(c >= 'a' && c <= 'f')) {
                return false;
            }
        }
        return true;
    }

    private static void checkRegistry(String text, String registry) throws ImageException {
        if (registry.length() > MAX_REGISTRY_CHARS) {
            throw invalid(
                    text, "the registry is longer than " + MAX_REGISTRY_CHARS + " characters");
        }
        int end = registry.startsWith("[") ? registry.indexOf(']') + 1 : registry.indexOf(':');
        String host = end <= 0 ? registry : registry.substring(0, end);
        if (host.startsWith("[") ? !isIpv6(host) : !isDomain(host)) {
            throw invalid(
                    text,
                    "\"%s\" is not a registry: wanted host, host:port or [IPv6]:port"
                            .formatted(Text.printable(registry, MAX_SHOWN_CHARS)));
        }
        String port = registry.substring(host.length());
        if (!port.isEmpty() && !isPort(port)) {
            throw invalid(
                    text,
                    "the registry's port \"%s\" is not a number from 1 to 65535"
                            .formatted(Text.printable(port.substring(1), MAX_SHOWN_CHARS)));
        }
    }

    private static boolean isPort(String colonAndDigits) {
        int port = 0;
        for (int i = 1; i < colonAndDigits.length(); i++) {
            char c = colonAndDigits.charAt(i);
            if (!isDigit(c) || port > 65535) {
                return false;
            }
            port = port * 10 + (c - '0');
        }
        return colonAndDigits.charAt(0) == ':' && port >= 1 && port <= 65535;
    }

    private static boolean isDomain(String host) {
        boolean labelOpen = false;
        char last = '.';
        for (int i = 0; i < host.length(); i++) {
            char c = host.charAt(i);
            if (c == '.') {
                if (!labelOpen || last == '-') {
                    return false;
                }
                labelOpen = false;
            } else if (isDigit(c) || isLetter(c) || (c == '-' && labelOpen)) {
                labelOpen = true;
            } else {
                return false;
            }
            last = c;
        }
        return labelOpen && last != '-';
    }

    /// Whether the text is an IPv6 address in brackets, without a zone and without a dotted IPv4
    /// tail.
    private static boolean isIpv6(String host) {
        if (!host.endsWith("]")) {
            return false;
        }
        int groups = 0;
        int digits = 0;
        boolean gap = false;
        for (int i = 1; i < host.length() - 1; i++) {
            char c = host.charAt(i);
            if (Character.digit(c, 16) >= 0 && c < 128) {
                if (digits == 0) {
                    groups++;
                }
                if (++digits > 4) {
                    return false;
                }
            } else if (c != ':') {
                return false;
            } else if (host.charAt(i + 1) == ':') {
                if (gap) {
                    return false;
                }
                gap = true;
                digits = 0;
                i++;
            } else if (digits == 0 || i + 2 == host.length()) {
                return false;
            } else {
                digits = 0;
            }
        }
        return gap ? groups < 8 : groups == 8;
    }

    private static void checkRepository(String text, String repository) throws ImageException {
        if (repository.isEmpty()) {
            throw invalid(text, "the repository is empty");
        }
        if (repository.length() > MAX_REPOSITORY_CHARS) {
            throw invalid(
                    text, "the repository is longer than " + MAX_REPOSITORY_CHARS + " characters");
        }
        int from = 0;
        while (from <= repository.length()) {
            int slash = repository.indexOf('/', from);
            int end = slash < 0 ? repository.length() : slash;
            checkComponent(text, repository.substring(from, end));
            from = end + 1;
        }
    }

    private static void checkComponent(String text, String component) throws ImageException {
        if (component.isEmpty()) {
            throw invalid(text, "the repository has an empty component");
        }
        int i = 0;
        while (i < component.length()) {
            int word = i;
            while (i < component.length() && isLowerOrDigit(component.charAt(i))) {
                i++;
            }
            boolean wordFound = i > word;
            int separator = i;
            while (i < component.length() && isSeparator(component.charAt(i))) {
                i++;
            }
            if (i == word) {
                throw wrongCharacter(text, component, component.charAt(i));
            }
            boolean atEnd = i == component.length();
            if (!wordFound
                    || (atEnd && i > separator)
                    || (i > separator && !isSeparatorRun(component, separator, i))) {
                throw invalid(
                        text,
                        ("the repository component \"%s\" has a separator at its start or end,"
                                        + " or more than one ., two _ or mixed ones in a row")
                                .formatted(Text.printable(component, MAX_SHOWN_CHARS)));
            }
            if (!atEnd && i == separator) {
                throw wrongCharacter(text, component, component.charAt(i));
            }
        }
    }

    private static boolean isSeparatorRun(String text, int from, int end) {
        char first = text.charAt(from);
        for (int i = from + 1; i < end; i++) {
            if (text.charAt(i) != first) {
                return false;
            }
        }
        return switch (first) {
            case '.' -> end - from == 1;
            case '_' -> end - from <= 2;
            default -> true;
        };
    }

    private static ImageException wrongCharacter(String text, String component, char c) {
        if (c >= 'A' && c <= 'Z') {
            return invalid(
                    text,
                    "the repository component \"%s\" has an upper-case letter; use lower case"
                            .formatted(Text.printable(component, MAX_SHOWN_CHARS)));
        }
        return invalid(
                text,
                "the repository component \"%s\" has the character '%s'; wanted a-z, 0-9 and . _ -"
                        .formatted(
                                Text.printable(component, MAX_SHOWN_CHARS),
                                Text.printable(String.valueOf(c), 8)));
    }

    private static void checkTag(String text, String tag) throws ImageException {
        if (tag.isEmpty()) {
            throw invalid(text, "the tag is empty");
        }
        if (tag.length() > MAX_TAG_CHARS) {
            throw invalid(text, "the tag is longer than " + MAX_TAG_CHARS + " characters");
        }
        for (int i = 0; i < tag.length(); i++) {
            char c = tag.charAt(i);
            if (!isLetter(c) && !isDigit(c) && c != '_' && (i == 0 || (c != '.' && c != '-'))) {
                throw invalid(
                        text,
                        "the tag \"%s\" may have only letters, digits, _, and after them . and -"
                                .formatted(Text.printable(tag, MAX_SHOWN_CHARS)));
            }
        }
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    private static boolean isLetter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }

    private static boolean isLowerOrDigit(char c) {
        return (c >= 'a' && c <= 'z') || isDigit(c);
    }

    private static boolean isSeparator(char c) {
        return c == '.' || c == '_' || c == '-';
    }

    private static ImageException invalid(String text, String problem) {
        return ImageException.invalidArgument(
                "reference \"%s\": %s".formatted(printable(text), problem));
    }

    /// What may be shown of a text that may be no reference: not a password in it.
    ///
    /// @return on one line, and not too long
    public static String printable(String text) {
        int end = text.contains("://") ? text.length() : pinStart(text);
        return Text.printable(
                Text.withoutSecret(text.substring(0, end)) + text.substring(end), MAX_SHOWN_CHARS);
    }

    /// Where the `@` of a digest stands, if it is the only one; else the text's length.
    private static int pinStart(String text) {
        int at = text.indexOf('@');
        for (Digest.Algorithm algorithm : Digest.Algorithm.values()) {
            if (at >= 0
                    && text.startsWith(algorithm.label() + ":", at + 1)
                    && text.indexOf('@', at + 1) < 0) {
                return at;
            }
        }
        return text.length();
    }
}
