package dev.imgd.model;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// Chooses the entry of an index that a platform runs best.
///
/// A platform also runs what its predecessors run, in this order of preference: amd64/vN the lower
/// variants, then 386; arm/vN the variants down to v5; arm64/v9.x the lower v9, v8.(x+5) and lower,
/// then arm/v8 and below. An image for Windows needs a compatible build; an image that needs
/// features of the operating system needs all of them to be there, and of two that fit, the one
/// that uses more is better. Immutable. **Source:** behaviour of containerd's `platforms.Only`.
public final class PlatformMatcher {
    private static final int WINDOWS_SERVER_2022 = 20348;
    private static final int WINDOWS_SERVER_2025 = 26100;
    private static final int MAX_OFFERED = 40;

    private final Platform wanted;
    private final List<Platform> vector;

    private PlatformMatcher(Platform wanted) {
        this.wanted = wanted;
        this.vector = vector(wanted);
    }

    /// The matcher of what `platform` can run.
    public static PlatformMatcher only(Platform platform) {
        return new PlatformMatcher(platform.normalized());
    }

    /// The entry of the index that the platform runs best; see [#candidates(Index)].
    public static Optional<Descriptor> best(Index index, Platform platform) {
        List<Descriptor> candidates = only(platform).candidates(index);
        return candidates.isEmpty() ? Optional.empty() : Optional.of(candidates.getFirst());
    }

    /// Whether the platform runs an image of that platform.
    public boolean matches(Platform image) {
        return rank(image) >= 0;
    }

    /// Whether the platform would rather run `one` than `other`; both match.
    public boolean prefers(Platform one, Platform other) {
        int difference = rank(one) - rank(other);
        return difference < 0
                || (difference == 0 && one.osFeatures().size() > other.osFeatures().size());
    }

    /// The manifests and indexes of the index that may be run, best first.
    ///
    /// Entries without a platform come last: whether they fit, only their config can tell (see
    /// [#matches]), or for a nested index, its entries. Entries of `unknown/unknown` and of types
    /// that are neither manifest nor index are left out.
    public List<Descriptor> candidates(Index index) {
        record Ranked(Descriptor entry, int rank, int features) {}
        List<Ranked> ranked = new ArrayList<>();
        for (Descriptor entry : index.manifests()) {
            if (!isManifestOrIndex(entry)) {
                continue;
            }
            if (entry.platform().isEmpty()) {
                ranked.add(new Ranked(entry, Integer.MAX_VALUE, 0));
                continue;
            }
            Platform platform = entry.platform().get();
            int rank = platform.isUnknown() ? -1 : rank(platform);
            if (rank >= 0) {
                ranked.add(new Ranked(entry, rank, platform.osFeatures().size()));
            }
        }
        ranked.sort(
                (a, b) ->
                        a.rank != b.rank
                                ? Integer.compare(a.rank, b.rank)
                                : Integer.compare(b.features, a.features));
        List<Descriptor> candidates = new ArrayList<>(ranked.size());
        for (Ranked one : ranked) {
            candidates.add(one.entry);
        }
        return List.copyOf(candidates);
    }

    /// The platforms an index offers, each once, in its order, fit for an error message; those of
    /// entries that are not meant to be run are left out.
    public static List<String> offered(Index index) {
        Set<String> offered = new LinkedHashSet<>();
        for (Descriptor entry : index.manifests()) {
            if (entry.platform().isPresent() && !entry.platform().get().isUnknown()) {
                offered.add(entry.platform().get().toString());
            }
        }
        return List.copyOf(offered);
    }

    /// The error for an image that the platform cannot run.
    ///
    /// @param what the image
    /// @param offered the platforms it has, from [#offered(Index)]
    public ImageException noMatch(String what, List<String> offered) {
        String list =
                offered.isEmpty()
                        ? "none"
                        : String.join(
                                ", ", offered.subList(0, Math.min(offered.size(), MAX_OFFERED)));
        return ImageException.notFound(
                "%s: no image for the platform: wanted %s, got %s%s; choose one with --platform"
                        .formatted(
                                what,
                                wanted,
                                list,
                                offered.size() > MAX_OFFERED
                                        ? " and " + (offered.size() - MAX_OFFERED) + " more"
                                        : ""));
    }

    private static boolean isManifestOrIndex(Descriptor entry) {
        MediaType type = entry.type();
        return type instanceof MediaType.ManifestType || type instanceof MediaType.IndexType;
    }

    /// The position of the first platform of the vector that the image is for, or -1.
    private int rank(Platform image) {
        Platform normal = image.normalized();
        if (!normal.os().equals(wanted.os())
                || !runsOsVersion(image.osVersion())
                || !hasFeatures(normal.osFeatures())) {
            return -1;
        }
        for (int i = 0; i < vector.size(); i++) {
            Platform possible = vector.get(i);
            if (possible.architecture().equals(normal.architecture())
                    && possible.variant().equals(normal.variant())) {
                return i;
            }
        }
        return -1;
    }

    private static List<Platform> vector(Platform platform) {
        List<Platform> vector = new ArrayList<>();
        vector.add(platform);
        int number = variantNumber(platform.variant());
        switch (platform.architecture()) {
            case "amd64" -> {
                for (int v = number - 1; v >= 1; v--) {
                    vector.add(with(platform, "amd64", "v" + v));
                }
                vector.add(with(platform, "386", ""));
            }
            case "arm" -> addArm(vector, platform, number - 1);
            case "arm64" -> addArm64(vector, platform);
            default -> {}
        }
        return List.copyOf(vector);
    }

    private static void addArm(List<Platform> vector, Platform platform, int from) {
        for (int v = from; v >= 5; v--) {
            vector.add(with(platform, "arm", "v" + v));
        }
    }

    private static void addArm64(List<Platform> vector, Platform platform) {
        String variant = platform.variant().isEmpty() ? "v8" : platform.variant();
        boolean known = variant.startsWith("v8") || variant.startsWith("v9");
        int minor =
                variant.length() == 2
                        ? 0
                        : variant.length() == 4 && variant.charAt(2) == '.'
                                ? Character.digit(variant.charAt(3), 10)
                                : -1;
        if (!known || minor < 0) {
            return;
        }
        int v8Minor = minor - 1;
        if (variant.startsWith("v9")) {
            for (int m = minor - 1; m >= 0; m--) {
                vector.add(with(platform, "arm64", "v9." + m));
            }
            v8Minor = Math.min(minor + 5, 9);
        }
        for (int m = v8Minor; m >= 0; m--) {
            vector.add(with(platform, "arm64", "v8." + m));
        }
        addArm(vector, platform, 8);
    }

    private static int variantNumber(String variant) {
        return variant.length() == 2 && variant.charAt(0) == 'v'
                ? Character.digit(variant.charAt(1), 10)
                : -1;
    }

    private static Platform with(Platform platform, String architecture, String variant) {
        return new Platform(
                        platform.os(),
                        architecture,
                        variant,
                        platform.osVersion(),
                        platform.osFeatures())
                .normalized();
    }

    private boolean hasFeatures(List<String> needed) {
        for (String feature : needed) {
            // Every Windows image with a desktop names win32k, and Windows hosts do not.
            boolean implied = wanted.os().equals("windows") && feature.equals("win32k");
            if (!implied && !wanted.osFeatures().contains(feature)) {
                return false;
            }
        }
        return true;
    }

    private boolean runsOsVersion(String imageVersion) {
        if (!wanted.os().equals("windows") || imageVersion.isEmpty()) {
            return true;
        }
        int[] host = windowsVersion(wanted.osVersion());
        if (host[0] == 0 && host[1] == 0 && host[2] == 0) {
            return true;
        }
        int[] image = windowsVersion(imageVersion);
        if (host[0] != image[0] || host[1] != image[1]) {
            return false;
        }
        if (host[2] < WINDOWS_SERVER_2022) {
            return host[2] == image[2];
        }
        // A host runs images from the last long-term release before its own.
        int oldest = host[2] > WINDOWS_SERVER_2025 ? WINDOWS_SERVER_2025 : WINDOWS_SERVER_2022;
        return image[2] >= oldest && image[2] <= host[2];
    }

    /// Major, minor and build, or zeros when the text does not begin with them.
    private static int[] windowsVersion(String text) {
        int[] version = new int[3];
        int at = 0;
        for (int i = 0; i < 3; i++) {
            int end = at;
            int number = 0;
            while (end < text.length() && end - at < 5 && isDigit(text.charAt(end))) {
                number = number * 10 + (text.charAt(end) - '0');
                end++;
            }
            boolean last = end == text.length();
            if (end == at || (!last && text.charAt(end) != '.') || (last && i < 2)) {
                return new int[3];
            }
            version[i] = number;
            at = end + 1;
        }
        return version;
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    @Override
    public String toString() {
        return wanted.toString();
    }
}
