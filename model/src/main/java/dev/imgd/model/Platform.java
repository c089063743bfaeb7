package dev.imgd.model;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.TreeSet;

/// An operating system and a processor that an image runs on.
///
/// The written form is `os[(version+feature…)]/architecture[/variant]`. Fields that came from an
/// image may hold any text; [#toString()] makes it printable. **Source:** OCI image-spec v1.1,
/// image-index.md; containerd's platform specifiers.
///
/// @param os for example `linux`
/// @param architecture for example `amd64`
/// @param variant for example `v7`; empty when there is none
/// @param osVersion for example `10.0.17763.1234`; empty when there is none
/// @param osFeatures features the image needs, sorted, without repetition
public record Platform(
        String os, String architecture, String variant, String osVersion, List<String> osFeatures) {

    private static final String HOST_OS = "linux";
    private static final int MAX_SPECIFIER_CHARS = 512;
    private static final int MAX_SHOWN_CHARS = 160;

    public Platform {
        osFeatures = osFeatures.isEmpty() ? List.of() : List.copyOf(new TreeSet<>(osFeatures));
    }

    public Platform(String os, String architecture, String variant) {
        this(os, architecture, variant, "", List.of());
    }

    /// The platform of this machine. Always Linux; on 32-bit ARM without a variant, which stands
    /// for `v7`.
    public static Platform host() {
        return new Platform(HOST_OS, hostArchitecture(), "");
    }

    private static String hostArchitecture() {
        String architecture = System.getProperty("os.arch", "amd64").toLowerCase(Locale.ROOT);
        return switch (architecture) {
            case "x86", "i386", "i486", "i586", "i686" -> "386";
            case "loongarch64" -> "loong64";
            default -> normalizedArchitecture(architecture);
        };
    }

    /// Parses a specifier: `linux/arm64`, `linux/arm/v7`, `windows(10.0.17763+win32k)/amd64`, or an
    /// operating system or a processor alone, where the other one is the host's. Common synonyms
    /// (`x86_64`, `aarch64`, `armhf`, `macos`) and upper case are understood. In versions and
    /// features, `%XX` stands for a byte that the syntax uses.
    ///
    /// @throws ImageException [ErrorKind#INVALID_ARGUMENT] when the text is not a specifier
    public static Platform parse(String specifier) throws ImageException {
        if (specifier.length() > MAX_SPECIFIER_CHARS) {
            throw invalid(specifier, "longer than " + MAX_SPECIFIER_CHARS + " characters");
        }
        if (specifier.indexOf('*') >= 0) {
            throw invalid(specifier, "wildcards are not supported");
        }
        List<String> parts = split(specifier, '/');
        if (parts.size() > 3) {
            throw invalid(specifier, "wanted at most os/architecture/variant");
        }
        for (int i = 1; i < parts.size(); i++) {
            if (!isWord(parts.get(i), "_.-")) {
                throw invalid(
                        specifier,
                        (i == 1 ? "the architecture" : "the variant")
                                + " may have only letters, digits, and any of _.-");
            }
        }
        Platform os = parseOs(specifier, parts.getFirst());
        if (parts.size() == 1) {
            return complete(specifier, parts.getFirst(), os);
        }
        Platform platform =
                new Platform(
                                os.os,
                                parts.get(1),
                                parts.size() == 3 ? parts.get(2) : "",
                                os.osVersion,
                                os.osFeatures)
                        .normalized();
        if (parts.size() == 3) {
            // A variant that was asked for is shown, though it is the default one.
            return platform.architecture.equals("arm64") && platform.variant.isEmpty()
                    ? platform.withVariant("v8")
                    : platform;
        }
        return platform.withoutDefaultArmVariant();
    }

    private static Platform complete(String specifier, String word, Platform os)
            throws ImageException {
        if (isKnownOs(os.os)) {
            return new Platform(os.os, host().architecture, "", os.osVersion, os.osFeatures);
        }
        Platform processor = new Platform(HOST_OS, word, "").normalized();
        if (isKnownArchitecture(processor.architecture)) {
            return processor.withoutDefaultArmVariant();
        }
        throw invalid(specifier, "unknown operating system or architecture");
    }

    private static Platform parseOs(String specifier, String part) throws ImageException {
        int open = part.indexOf('(');
        String name = open < 0 ? part : part.substring(0, open);
        if (!isWord(name, "_-")) {
            throw invalid(
                    specifier,
                    "the operating system may have only letters, digits, _ and -,"
                            + " then (version+feature)");
        }
        String os = normalizedOs(name);
        if (open < 0) {
            return new Platform(os, "", "");
        }
        if (!part.endsWith(")")) {
            throw invalid(specifier, "the bracket of the operating system's version is not closed");
        }
        List<String> options = split(part.substring(open + 1, part.length() - 1), '+');
        List<String> features = new ArrayList<>(options.size());
        for (int i = 0; i < options.size(); i++) {
            String option = options.get(i);
            if (i == 0 ? !option.isEmpty() && !isWord(option, "_.-%") : !isWord(option, "_.-%")) {
                throw invalid(
                        specifier,
                        "a version or feature may have only letters, digits, and any of _.-%");
            }
            if (i > 0) {
                features.add(decode(specifier, option));
            }
        }
        return new Platform(os, "", "", decode(specifier, options.getFirst()), features);
    }

    /// This platform with synonyms and default variants replaced: `x86_64` by `amd64`, `aarch64/v8`
    /// by `arm64`, `arm` by `arm/v7`, `macos` by `darwin`, everything in lower case. No operating
    /// system means Linux.
    public Platform normalized() {
        String lowArchitecture = architecture.toLowerCase(Locale.ROOT);
        String normalArchitecture = normalizedArchitecture(lowArchitecture);
        String low = variant.toLowerCase(Locale.ROOT);
        String normalVariant =
                switch (lowArchitecture) {
                    case "i386" -> "";
                    case "armhf" -> "v7";
                    case "armel" -> "v6";
                    default ->
                            switch (normalArchitecture) {
                                case "amd64" -> low.equals("v1") ? "" : low;
                                case "arm64" -> normalizedArm64Variant(low);
                                case "arm" -> normalizedArmVariant(low);
                                default -> low;
                            };
                };
        return new Platform(
                normalizedOs(os), normalArchitecture, normalVariant, osVersion, osFeatures);
    }

    private static String normalizedOs(String os) {
        String low = os.toLowerCase(Locale.ROOT);
        return switch (low) {
            case "" -> HOST_OS;
            case "macos" -> "darwin";
            default -> low;
        };
    }

    private static String normalizedArchitecture(String architecture) {
        return switch (architecture) {
            case "i386" -> "386";
            case "x86_64", "x86-64" -> "amd64";
            case "aarch64" -> "arm64";
            case "armhf", "armel" -> "arm";
            default -> architecture;
        };
    }

    private static String normalizedArm64Variant(String variant) {
        return switch (variant) {
            case "8", "v8", "v8.0" -> "";
            case "9", "9.0", "v9.0" -> "v9";
            default -> variant;
        };
    }

    private static String normalizedArmVariant(String variant) {
        return switch (variant) {
            case "", "7" -> "v7";
            case "5", "6", "8" -> "v" + variant;
            default -> variant;
        };
    }

    /// Whether this is the `unknown/unknown` of an entry that is not meant to be run, for example
    /// an attestation.
    public boolean isUnknown() {
        return os.equals("unknown") && architecture.equals("unknown");
    }

    /// The operating system, architecture and variant, without version and features.
    public String format() {
        return os.isEmpty() ? "unknown" : Text.printable(joined(os), MAX_SHOWN_CHARS);
    }

    /// The complete specifier, which [#parse] reads.
    @Override
    public String toString() {
        if (os.isEmpty() || (osVersion.isEmpty() && osFeatures.isEmpty())) {
            return format();
        }
        StringBuilder system = new StringBuilder(os).append('(');
        encode(osVersion, system);
        for (String feature : osFeatures) {
            if (!feature.isEmpty()) {
                encode(feature, system.append('+'));
            }
        }
        return Text.printable(joined(system.append(')').toString()), MAX_SHOWN_CHARS);
    }

    private String joined(String system) {
        StringBuilder out = new StringBuilder(system);
        if (!architecture.isEmpty()) {
            out.append('/').append(architecture);
        }
        if (!variant.isEmpty()) {
            out.append('/').append(variant);
        }
        return out.toString();
    }

    /// Reads the members of a platform, of an index entry or an image config.
    static Platform read(JsonNode node) throws ImageException {
        return new Platform(
                node.text("os", ""),
                node.text("architecture", ""),
                node.text("variant", ""),
                node.text("os.version", ""),
                node.texts("os.features"));
    }

    void write(JsonWriter json) {
        json.beginObject().member("architecture", architecture).member("os", os);
        if (!osVersion.isEmpty()) {
            json.member("os.version", osVersion);
        }
        if (!osFeatures.isEmpty()) {
            json.member("os.features", osFeatures);
        }
        if (!variant.isEmpty()) {
            json.member("variant", variant);
        }
        json.endObject();
    }

    private Platform withVariant(String newVariant) {
        return new Platform(os, architecture, newVariant, osVersion, osFeatures);
    }

    private Platform withoutDefaultArmVariant() {
        return architecture.equals("arm") && variant.equals("v7") ? withVariant("") : this;
    }

    private static boolean isKnownOs(String os) {
        return switch (os) {
            case "aix",
                    "android",
                    "darwin",
                    "dragonfly",
                    "freebsd",
                    "hurd",
                    "illumos",
                    "ios",
                    "js",
                    "linux",
                    "nacl",
                    "netbsd",
                    "openbsd",
                    "plan9",
                    "solaris",
                    "windows",
                    "zos" ->
                    true;
            default -> false;
        };
    }

    private static boolean isKnownArchitecture(String architecture) {
        return switch (architecture) {
            case "386",
                    "amd64",
                    "amd64p32",
                    "arm",
                    "armbe",
                    "arm64",
                    "arm64be",
                    "loong64",
                    "mips",
                    "mipsle",
                    "mips64",
                    "mips64le",
                    "mips64p32",
                    "mips64p32le",
                    "ppc",
                    "ppc64",
                    "ppc64le",
                    "riscv",
                    "riscv64",
                    "s390",
                    "s390x",
                    "sparc",
                    "sparc64",
                    "wasm" ->
                    true;
            default -> false;
        };
    }

    private static boolean isWord(String text, String alsoAllowed) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (!(c >= 'a' && c <= 'z')
                    && !(c >= 'A' && c <= 'Z')
                    && !(c >= '0' && c <= '9')
                    && alsoAllowed.indexOf(c) < 0) {
                return false;
            }
        }
        return !text.isEmpty();
    }

    private static List<String> split(String text, char separator) {
        List<String> parts = new ArrayList<>(4);
        int from = 0;
        for (int at = text.indexOf(separator); at >= 0; at = text.indexOf(separator, from)) {
            parts.add(text.substring(from, at));
            from = at + 1;
        }
        parts.add(text.substring(from));
        return parts;
    }

    private static void encode(String text, StringBuilder out) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '%' -> out.append("%25");
                case '+' -> out.append("%2B");
                case '(' -> out.append("%28");
                case ')' -> out.append("%29");
                case '/' -> out.append("%2F");
                default -> out.append(c);
            }
        }
    }

    private static String decode(String specifier, String text) throws ImageException {
        if (text.indexOf('%') < 0) {
            return text;
        }
        byte[] bytes = new byte[text.length()];
        int length = 0;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '%') {
                int high = i + 2 < text.length() ? Character.digit(text.charAt(i + 1), 16) : -1;
                int low = high < 0 ? -1 : Character.digit(text.charAt(i + 2), 16);
                if (low < 0) {
                    throw invalid(specifier, "% wants two hexadecimal digits after it");
                }
                bytes[length++] = (byte) (high << 4 | low);
                i += 2;
            } else {
                bytes[length++] = (byte) c;
            }
        }
        return new String(bytes, 0, length, StandardCharsets.UTF_8);
    }

    private static ImageException invalid(String specifier, String problem) {
        return ImageException.invalidArgument(
                "platform \"%s\": %s; write for example linux/amd64 or linux/arm/v7"
                        .formatted(Text.printable(specifier, MAX_SHOWN_CHARS), problem));
    }
}
