package dev.imgd.hosts;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Hosts from directories in the layout of containerd's `certs.d`.
///
/// For the registry `host:port` each root is searched for `host_port_`, `host:port` and `_default`;
/// the first that exists counts alone, nothing is merged. Its `hosts.toml` is read whole, and again
/// when it has changed: a list of hosts is always that of one state of the file. When a file that
/// was good becomes bad while the process runs, the good list stays in use, with a warning in the
/// log. **Source:** containerd docs/hosts.md and `core/remotes/docker/config`.
public final class DirectoryHosts implements RegistryHosts {
    private static final String FILE = "hosts.toml";
    private static final int MAX_FILE_BYTES = 256 << 10;
    private static final int MAX_KNOWN = 1_000;
    private static final int READ_ATTEMPTS = 5;

    private final List<Path> roots;
    private final HostsMode mode;
    private final DirectHosts direct;
    private final Clock clock;
    private final ConcurrentHashMap<String, Known> known = new ConcurrentHashMap<>();
    private final LongAdder badFiles = new LongAdder();

    /// What was found out about a registry.
    ///
    /// @param directory null when there is none
    /// @param stamps of all files that were read
    private record Known(
            @Nullable Path directory,
            List<FileStamp> stamps,
            Instant readAt,
            HostListing listing,
            List<RegistryHost> hosts) {

        boolean isFresh() throws ImageException {
            for (FileStamp stamp : stamps) {
                if (stamp.isRacy(readAt) || !stamp.equals(stamp.again())) {
                    return false;
                }
            }
            return true;
        }
    }

    DirectoryHosts(List<Path> roots, HostsMode mode, Set<String> plainHttp, Clock clock) {
        this.roots = List.copyOf(roots);
        this.mode = mode;
        this.direct = new DirectHosts(plainHttp);
        this.clock = clock;
    }

    @Override
    public List<RegistryHost> hostsFor(String registry) throws ImageException {
        return known(registry).hosts;
    }

    @Override
    public HostListing listing(String registry) throws ImageException {
        return known(registry).listing;
    }

    /// How many times so far a `hosts.toml` was found to be bad and something else was used: in the
    /// mode of containerd the certificate files, or the file without what was passed over of it;
    /// otherwise the file's last good state.
    public long badFiles() {
        return badFiles.sum();
    }

    private Known known(String registry) throws ImageException {
        Path directory = find(registry);
        Known last = known.get(registry);
        if (last != null && sameDirectory(last.directory, directory) && last.isFresh()) {
            return last;
        }
        Known now = directory == null ? none(registry) : load(registry, directory, last);
        if (known.size() >= MAX_KNOWN) {
            known.clear(); // names come from users; what is needed is read again
        }
        known.put(registry, now);
        return now;
    }

    private static boolean sameDirectory(@Nullable Path a, @Nullable Path b) {
        return a == null ? b == null : a.equals(b);
    }

    /// The directory that decides for a registry, or null.
    private @Nullable Path find(String registry) throws ImageException {
        if (registry.isEmpty() || registry.startsWith(".") || registry.indexOf('/') >= 0) {
            throw new IllegalArgumentException("not a registry: " + registry);
        }
        int colon = registry.lastIndexOf(':');
        boolean port = colon > registry.lastIndexOf(']') && colon > 0;
        for (Path root : roots) {
            if (!FileStamp.of(root).exists()) {
                continue;
            }
            Path found = null;
            if (port) {
                found =
                        existing(
                                root,
                                registry.substring(0, colon)
                                        + "_"
                                        + registry.substring(colon + 1)
                                        + "_");
            }
            found = found == null ? existing(root, registry) : found;
            found = found == null ? existing(root, "_default") : found;
            if (found != null) {
                return found;
            }
        }
        return null;
    }

    private static @Nullable Path existing(Path root, String name) throws ImageException {
        Path path = root.resolve(name);
        FileStamp stamp = FileStamp.of(path);
        if (stamp.exists() && !stamp.isDirectory()) {
            throw ImageException.invalidArgument(
                    path + ": wanted a directory with hosts.toml in it, got a file");
        }
        return stamp.exists() ? path : null;
    }

    private Known none(String registry) {
        List<RegistryHost> hosts = direct.hostsFor(registry);
        List<HostListing.Entry> entries = new ArrayList<>();
        hosts.forEach(host -> entries.add(new HostListing.Entry(host, "built in")));
        HostListing listing = new HostListing(registry, Optional.empty(), entries, List.of());
        return new Known(null, List.of(), clock.instant(), listing, hosts);
    }

    private Known load(String registry, Path directory, @Nullable Known last)
            throws ImageException {
        Path file = directory.resolve(FILE);
        for (int attempt = 1; ; attempt++) {
            Instant readAt = clock.instant();
            List<FileStamp> stamps = new ArrayList<>();
            stamps.add(FileStamp.of(directory));
            stamps.add(FileStamp.of(file));
            List<FileStamp> before = List.copyOf(stamps);
            byte[] content = read(file);
            if (!before.get(1).equals(FileStamp.of(file)) && attempt < READ_ATTEMPTS) {
                continue; // it was replaced meanwhile
            }
            boolean news = last == null || !last.stamps.containsAll(before);
            try {
                HostsFile parsed = parse(file, content, directory);
                Known now = known(registry, directory, parsed, parsed.warnings(), readAt, stamps);
                if (news) {
                    List<String> ignored = parsed.warnings();
                    if (!ignored.isEmpty()) {
                        badFiles.increment();
                    }
                    for (String warning : now.listing.warnings()) {
                        Log.warn(ignored.contains(warning) ? numbered(warning) : warning);
                    }
                }
                return now;
            } catch (ImageException e) {
                if (mode == HostsMode.CONTAINERD) {
                    String warning =
                            e.getMessage()
                                    + "; the file is not used and neither are its mirrors, as with"
                                    + " containerd";
                    report(news, warning);
                    return known(
                            registry,
                            directory,
                            certificates(directory),
                            List.of(warning),
                            readAt,
                            stamps);
                }
                if (last == null || !directory.equals(last.directory)) {
                    throw e;
                }
                String warning = e.getMessage() + "; the file's last good state stays in use";
                report(news, warning);
                last.stamps.subList(2, last.stamps.size()).forEach(stamps::add);
                HostListing kept =
                        new HostListing(
                                registry,
                                Optional.of(directory),
                                last.listing.entries(),
                                List.of(warning));
                return new Known(directory, List.copyOf(stamps), readAt, kept, last.hosts);
            }
        }
    }

    private void report(boolean news, String warning) {
        if (news) {
            badFiles.increment();
            Log.warn(numbered(warning));
        }
    }

    private String numbered(String warning) {
        return "%s (bad hosts.toml number %d)".formatted(warning, badFiles.sum());
    }

    /// Null when there is no such file.
    private static byte @Nullable [] read(Path file) throws ImageException {
        byte[] content;
        try (InputStream in = Files.newInputStream(file)) {
            content = in.readNBytes(MAX_FILE_BYTES + 1);
        } catch (NoSuchFileException e) {
            return null;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s: cannot be read; check that it is a file and its permissions"
                            .formatted(file),
                    e);
        }
        if (content.length > MAX_FILE_BYTES) {
            throw ImageException.invalidArgument(file + ": larger than 256 KiB");
        }
        return content;
    }

    private HostsFile parse(Path file, byte @Nullable [] content, Path directory)
            throws ImageException {
        if (content == null || content.length == 0) {
            return certificates(directory);
        }
        String text;
        try {
            text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString();
        } catch (CharacterCodingException e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT, file + ": not TOML: it is not UTF-8", e);
        }
        return HostsFile.parse(file, text, mode);
    }

    private static HostsFile certificates(Path directory) throws ImageException {
        return new HostsFile(List.of(), CertificateFiles.of(directory), List.of());
    }

    private Known known(
            String registry,
            Path directory,
            HostsFile file,
            List<String> found,
            Instant readAt,
            List<FileStamp> stamps)
            throws ImageException {
        List<String> warnings = new ArrayList<>(found);
        List<HostListing.Entry> entries = new ArrayList<>();
        for (HostEntry entry : file.hosts()) {
            entries.add(place(registry, entry, RegistryHost.Role.MIRROR, warnings, stamps));
        }
        entries.add(place(registry, file.server(), RegistryHost.Role.ORIGIN, warnings, stamps));
        List<RegistryHost> hosts = new ArrayList<>();
        entries.forEach(entry -> hosts.add(entry.host()));
        HostListing listing = new HostListing(registry, Optional.of(directory), entries, warnings);
        return new Known(directory, List.copyOf(stamps), readAt, listing, List.copyOf(hosts));
    }

    private HostListing.Entry place(
            String registry,
            HostEntry entry,
            RegistryHost.Role position,
            List<String> warnings,
            List<FileStamp> stamps)
            throws ImageException {
        HostUrl url = entry.url();
        HostUrl at = url == null ? itself(registry, entry) : url;
        String authority = DirectHosts.authority(at.authority());
        boolean proxy = !authority.equalsIgnoreCase(DirectHosts.authority(registry));
        boolean http = at.scheme() == RegistryHost.Scheme.HTTP;
        if (http && entry.explicitTls()) {
            warnings.add(
                    "%s: http://%s has settings for TLS, which plain http does not use; write https:// if it speaks TLS"
                            .formatted(entry.from(), authority));
        } else if (Boolean.TRUE.equals(entry.skipVerify())) {
            warnings.add(
                    "%s: skip_verify: anybody can claim to be %s; name its certificate authority in ca instead"
                            .formatted(entry.from(), authority));
        }
        RegistryHost host =
                new RegistryHost(
                        at.scheme(),
                        authority,
                        at.path(),
                        entry.capabilities(),
                        entry.headers(),
                        http ? TlsSettings.SYSTEM : FileTls.of(entry, authority, stamps),
                        proxy ? position : RegistryHost.Role.ORIGIN,
                        proxy ? Optional.of(registry) : Optional.empty(),
                        Optional.ofNullable(entry.dialTimeout()),
                        entry.rewrites());
        return new HostListing.Entry(host, entry.from());
    }

    /// Where a registry is when its file does not say: settings for TLS mean that it speaks TLS.
    private HostUrl itself(String registry, HostEntry entry) {
        RegistryHost.Scheme scheme =
                entry.explicitTls() && !direct.isPlainHttp(registry)
                        ? RegistryHost.Scheme.HTTPS
                        : direct.scheme(registry);
        return new HostUrl(scheme, registry, "/v2");
    }

    /// Apart, so that a program without anything to say does not start the logging system.
    private static final class Log {
        private static final Logger LOGGER = LoggerFactory.getLogger(DirectoryHosts.class);

        static void warn(String warning) {
            LOGGER.warn("{}", warning);
        }
    }
}
