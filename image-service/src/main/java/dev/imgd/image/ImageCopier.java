package dev.imgd.image;

import dev.imgd.image.ImageService.CopyPlatforms;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.CopyResult;
import dev.imgd.image.ImageService.LayerProgress;
import dev.imgd.image.ImageService.LayerState;
import dev.imgd.image.ImageService.Progress;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageTree.PlatformImage;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.Limits;
import dev.imgd.model.Manifest;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.model.PlatformMatcher;
import dev.imgd.model.Reference;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryWriter.BlobOutcome;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/// Copies images between registries, files and the store.
///
/// Blobs go from the source straight to the destination, several at once, each hashed on the way;
/// manifests follow when all that they point to is there, and the name comes last. Thread-safe.
public final class ImageCopier {
    private static final long PROGRESS_MILLIS = 100;
    private static final int BUFFER_BYTES = 256 << 10;

    /// Images of a store, while they are read or written.
    interface Images {
        CopySource source(Reference reference) throws ImageException;

        CopyDestination destination(Reference reference) throws ImageException;
    }

    private final RegistryClients registries;
    private final Limits limits;
    private final int parallel;
    private final @Nullable Images store;

    /// A copier between registries and files.
    ///
    /// @param parallel how many blobs are copied at once
    public ImageCopier(RegistryClients registries, Limits limits, int parallel) {
        this(registries, limits, parallel, null);
    }

    ImageCopier(RegistryClients registries, Limits limits, int parallel, @Nullable Images store) {
        this.registries = registries;
        this.limits = limits;
        this.parallel = parallel;
        this.store = store;
    }

    /// Whether a copy needs the store.
    public static boolean needsStore(CopyRequest request) {
        return request.source().transport() == ImageLocation.Transport.STORE
                || request.destination().transport() == ImageLocation.Transport.STORE;
    }

    /// As [ImageService#copy].
    public CopyResult copy(CopyRequest request, ProgressListener progress) throws ImageException {
        return copy(request, progress, null);
    }

    /// As [#copy(CopyRequest, ProgressListener)], with other layers on the way; then without
    /// referrers.
    ///
    /// @param rewriting what happens to the layers; null for nothing
    /// @throws ImageException also `FAILED_PRECONDITION` when nothing is to be rewritten or the
    ///   destination cannot hold encrypted layers, and `INVALID_ARGUMENT` for what would put a
    ///   decrypted layer into the store
    public CopyResult copy(
            CopyRequest request, ProgressListener progress, @Nullable LayerRewriting rewriting)
            throws ImageException {
        if (needsStore(request) && store == null) {
            throw new IllegalArgumentException("a copier without a store: " + request);
        }
        if (rewriting != null) {
            rewriting.requireFit(request.destination());
        }
        Run run = new Run(request, progress, rewriting);
        try {
            return Interruptible.call("copy of " + request.source(), run::cancel, run::go);
        } catch (ImageException e) {
            ImageException explained = e;
            for (PlainHttpRefused refused : run.refused) {
                explained = refused.explain(explained);
            }
            throw explained;
        } finally {
            run.cancel();
        }
    }

    /// Writes a blob of a registry to a channel. Its last bytes come only when the whole is right.
    public void fetchBlob(
            Reference repository, Digest digest, boolean plainHttp, WritableByteChannel out)
            throws ImageException {
        String what = "blob " + digest + " of " + repository.name();
        try (RegistryClient session =
                registries.client(repository.registry(), plainHttp).session()) {
            boolean _ =
                    Interruptible.call(
                            what,
                            session,
                            () -> {
                                Descriptor blob = session.listing().blob(repository, digest);
                                transfer(what, session, repository, blob, out);
                                return true;
                            });
        }
    }

    private static void transfer(
            String what,
            RegistryClient session,
            Reference repository,
            Descriptor blob,
            WritableByteChannel out)
            throws ImageException {
        try (VerifiedBlob verified =
                        new VerifiedBlob(
                                blob,
                                offset -> session.blob(repository, blob, offset),
                                new AtomicLong(),
                                new AtomicBoolean());
                BlobStream stream = verified.open(0)) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
            while (stream.read(buffer.clear()) >= 0) {
                buffer.flip();
                while (buffer.hasRemaining()) {
                    out.write(buffer);
                }
            }
        } catch (IOException e) {
            throw CopyFailures.of(what, e);
        }
    }

    /// Puts a file into a repository as a blob, unless it is there.
    ///
    /// @return its digest and size
    public Descriptor pushBlob(Reference repository, Path file, boolean plainHttp)
            throws ImageException {
        String what = "push of " + file + " to " + repository.name();
        try (RegistryClient session =
                registries.client(repository.registry(), plainHttp).session()) {
            return Interruptible.call(
                    what,
                    session,
                    () -> {
                        Descriptor blob = describe(what, file);
                        try (VerifiedBlob verified =
                                new VerifiedBlob(
                                        blob,
                                        offset -> open(file, offset),
                                        new AtomicLong(),
                                        new AtomicBoolean())) {
                            BlobOutcome _ =
                                    session.writer()
                                            .pushBlob(repository, blob, verified, List.of());
                        }
                        return blob;
                    });
        }
    }

    private static BlobStream open(Path file, long offset) throws IOException {
        FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
        try {
            return LocalBlob.of(channel.position(offset), file.toString());
        } catch (IOException e) {
            channel.close();
            throw e;
        }
    }

    private static Descriptor describe(String what, Path file) throws ImageException {
        try (InputStream in = Files.newInputStream(file)) {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            byte[] buffer = new byte[BUFFER_BYTES];
            long size = 0;
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                digest.update(buffer, 0, n);
                size += n;
            }
            return new Descriptor(
                    "application/octet-stream",
                    Digest.of(Digest.Algorithm.SHA256, digest.digest()),
                    size);
        } catch (NoSuchFileException e) {
            throw ImageException.notFound(what + ": no such file");
        } catch (IOException e) {
            throw CopyFailures.of(what, e);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java runtime has SHA-256", e);
        }
    }

    /// What a part of an image consists of.
    ///
    /// @param documents manifests and indexes, each after all that it points to
    /// @param children of each of them, as far as copied
    private record Part(
            Descriptor target,
            Map<Digest, Document> documents,
            Map<Digest, List<Digest>> children,
            Map<Digest, Descriptor> blobs) {
        Document top() {
            Document top = documents.get(target.digest());
            if (top == null) {
                throw new IllegalStateException("a part without its target");
            }
            return top;
        }

        List<Digest> children(Descriptor descriptor) {
            return children.getOrDefault(descriptor.digest(), List.of());
        }
    }

    private record Document(Descriptor descriptor, Bytes content, ManifestDocument parsed) {}

    /// One blob on its way.
    private static final class Item {
        final Descriptor blob;
        final AtomicLong done = new AtomicLong();
        volatile LayerState state = LayerState.WAITING;

        Item(Descriptor blob) {
            this.blob = blob;
        }

        long doneBytes() {
            return switch (state) {
                case DONE, EXISTS -> blob.sizeBytes();
                case WAITING, DOWNLOADING, UNPACKING -> done.get();
            };
        }
    }

    /// One call.
    private final class Run {
        private final CopyRequest request;
        private final ProgressListener progress;
        private final @Nullable LayerRewriting rewriting;
        private long reportedNanos = System.nanoTime();
        private final long started = System.nanoTime();
        private final AtomicBoolean cancelled = new AtomicBoolean();
        private final List<RegistryClient> sessions = new CopyOnWriteArrayList<>();
        private final List<Item> items = new ArrayList<>();
        private final Set<Digest> seen = new HashSet<>();
        private final Set<Digest> skipped = new HashSet<>();
        private final List<String> warnings = new ArrayList<>();
        private final Set<PlainHttpRefused> refused = new LinkedHashSet<>();
        private final AtomicLong copiedBytes = new AtomicLong();
        private int existing;
        private int mounted;
        private int manifests;
        private int referrers;

        Run(CopyRequest request, ProgressListener progress, @Nullable LayerRewriting rewriting) {
            this.request = request;
            this.progress = progress;
            this.rewriting = rewriting;
        }

        void cancel() {
            cancelled.set(true);
            sessions.forEach(RegistryClient::close);
        }

        private RegistryClient session(
                ImageLocation location, boolean plainHttp, Optional<Credentials> credentials)
                throws ImageException {
            String registry = location.reference().registry();
            registries.plainHttpRefused(registry, plainHttp).ifPresent(refused::add);
            RegistryClient session = registries.session(registry, plainHttp, credentials);
            sessions.add(session);
            if (cancelled.get()) {
                session.close();
            }
            return session;
        }

        private CopySource source() throws ImageException {
            ImageLocation location = request.source();
            return switch (location.transport()) {
                case DOCKER ->
                        new RegistryCopySource(
                                session(
                                        location,
                                        request.sourcePlainHttp(),
                                        request.sourceCredentials()),
                                location.reference());
                case STORE -> images().source(location.reference());
                case OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR -> FileCopySource.open(location, limits);
            };
        }

        private CopyDestination destination() throws ImageException {
            ImageLocation location = request.destination();
            return switch (location.transport()) {
                case DOCKER ->
                        new RegistryCopyDestination(
                                session(
                                        location,
                                        request.destinationPlainHttp(),
                                        request.destinationCredentials()),
                                location.reference());
                case STORE -> images().destination(location.reference());
                case OCI, DIR -> new DirectoryCopyDestination(location, limits);
                case OCI_ARCHIVE, DOCKER_ARCHIVE -> new TarCopyDestination(location);
            };
        }

        private Images images() {
            Images known = store;
            if (known == null) {
                throw new IllegalStateException("a copier without a store");
            }
            return known;
        }

        CopyResult go() throws ImageException {
            progress.progress(state("resolving"));
            try (CopySource original = source();
                    CopyDestination destination = destination()) {
                CopySource source = original;
                Part image = image(source);
                admit(source, image);
                if (request.source().sameAs(request.destination())) {
                    refuseNarrowing(source, image);
                    if (rewriting == null) {
                        return ontoItself(image);
                    }
                }
                if (rewriting != null) {
                    source = rewritten(rewriting, original, image);
                    image = all(source, source.target());
                }
                Set<Digest> all = new LinkedHashSet<>(image.documents().keySet());
                all.addAll(image.blobs().keySet());
                source.hold(all);
                destination.prepare(
                        new CopyDestination.Expected(
                                image.target(),
                                image.top().parsed(),
                                all,
                                image.documents().size() > 1,
                                request.referrers()));
                below(source, destination, image);
                if (request.referrers()) {
                    // Those that check signatures find them as soon as they find the name.
                    Document top = image.top();
                    destination.manifest(
                            top.descriptor(), top.content(), image.children(top.descriptor()));
                    referrers(source, destination, image);
                }
                destination.finish(
                        image.target(), image.top().content(), image.children(image.target()));
                manifests++;
                return result(image);
            }
        }

        private CopyResult result(Part image) {
            progress.progress(state("done"));
            refused.forEach(r -> warnings.add(r.text()));
            sessions.forEach(session -> warnings.addAll(session.notices()));
            return new CopyResult(
                    request.destination().toString(),
                    image.target().digest(),
                    image.target().mediaType(),
                    manifests,
                    items.size(),
                    existing,
                    mounted,
                    skipped.size(),
                    referrers,
                    copiedBytes.get(),
                    (System.nanoTime() - started) / 1_000_000,
                    warnings);
        }

        /// A name that is copied onto itself keeps all that it has: whoever pulls by it may be of
        /// any platform.
        private void refuseNarrowing(CopySource source, Part image) throws ImageException {
            Descriptor target = source.target();
            if (!image.target().digest().equals(target.digest())) {
                throw ImageException.failedPrecondition(
                        "copy of %s onto itself: the name would lose %s, got %s of %s; say --all-platforms, or choose another destination"
                                .formatted(
                                        request.source(),
                                        offered(source, target) > 1
                                                ? "all platforms but one"
                                                : "its index, with all that is in it beside the image of the only platform",
                                        image.target().digest(),
                                        target.digest()));
            }
        }

        /// How many platforms an index has images for; 0 for what is no index.
        private int offered(CopySource source, Descriptor target) throws ImageException {
            ManifestDocument document =
                    ManifestDocument.parse(
                            "%s %s".formatted(request.source(), target.digest()),
                            source.document(target),
                            Optional.of(target.mediaType()),
                            limits);
            return document instanceof Index index ? PlatformMatcher.offered(index).size() : 0;
        }

        private CopyResult ontoItself(Part image) {
            warnings.clear(); // nothing was copied, nothing left out
            skipped.clear();
            warnings.add(
                    "%s and %s are the same place: nothing was copied"
                            .formatted(request.source(), request.destination()));
            return result(image);
        }

        private CopySource rewritten(LayerRewriting how, CopySource original, Part image)
                throws ImageException {
            Set<Digest> all = new LinkedHashSet<>(image.documents().keySet());
            all.addAll(image.blobs().keySet());
            original.hold(all);
            return new RewrittenSource(
                    original,
                    request.source().toString(),
                    image.target(),
                    how,
                    limits,
                    this::stillWanted);
        }

        /// For long work that moves nothing yet.
        private void stillWanted() throws ImageException {
            if (cancelled.get()) {
                throw new ImageException(
                        ErrorKind.CANCELLED, "copy of " + request.source() + ": cancelled");
            }
            long now = System.nanoTime();
            if (now - reportedNanos > TimeUnit.MILLISECONDS.toNanos(PROGRESS_MILLIS)) {
                reportedNanos = now;
                progress.progress(state("reading"));
            }
        }

        /// What comes from a registry into the store is subject to the policy, as by a pull.
        private void admit(CopySource source, Part image) throws ImageException {
            ImageLocation from = request.source();
            if (from.transport() != ImageLocation.Transport.DOCKER
                    || request.destination().transport() != ImageLocation.Transport.STORE) {
                return;
            }
            List<Descriptor> used = new ArrayList<>();
            for (Document document : image.documents().values()) {
                if (document.parsed() instanceof Manifest) {
                    used.add(document.descriptor());
                }
            }
            Reference reference = from.reference().withDefaultTag();
            new Admission(registries.policy())
                    .beforeFetching(
                            reference,
                            session(from, request.sourcePlainHttp(), request.sourceCredentials()),
                            source.target(),
                            used);
        }

        /// Copies everything below the target.
        private void below(CopySource source, CopyDestination destination, Part part)
                throws ImageException {
            blobs(source, destination, part);
            for (Document document : part.documents().values()) {
                if (!document.descriptor().digest().equals(part.target().digest())) {
                    destination.manifest(
                            document.descriptor(),
                            document.content(),
                            part.children(document.descriptor()));
                    manifests++;
                }
            }
        }

        private Part image(CopySource source) throws ImageException {
            Descriptor target = source.target();
            return switch (request.platforms()) {
                case ALL -> all(source, target);
                case ONE -> one(source, target);
                case AVAILABLE -> {
                    try {
                        Part all = all(source, target);
                        for (Descriptor blob : all.blobs().values()) {
                            if (!source.has(blob)) {
                                throw ImageException.notFound("blob " + blob.digest());
                            }
                        }
                        yield all;
                    } catch (ImageException e) {
                        if (e.kind() != ErrorKind.NOT_FOUND) {
                            throw e;
                        }
                    }
                    Part one = one(source, target);
                    if (!one.target().digest().equals(target.digest())) {
                        warnings.add(
                                "%s: not all platforms of %s are there; copied is the image of one, %s"
                                        .formatted(
                                                request.source(),
                                                target.digest(),
                                                one.target().digest()));
                    }
                    yield one;
                }
            };
        }

        private Part one(CopySource source, Descriptor target) throws ImageException {
            if (request.platform().isEmpty() && target.type() instanceof MediaType.ManifestType) {
                return all(source, target); // there is nothing to choose
            }
            Platform platform =
                    request.platform().isPresent()
                            ? Platform.parse(request.platform().get()).normalized()
                            : Platform.host();
            ImageTree.Result tree =
                    ImageTree.select(
                            request.source().toString(),
                            target,
                            platform,
                            source::document,
                            limits);
            PlatformImage image = tree.images().getFirst();
            if (request.platforms() == CopyPlatforms.ONE && request.platform().isEmpty()) {
                sayWhatStays(source, target, image.platform().orElse(platform));
            }
            return all(source, image.descriptor());
        }

        /// Who did not say which platform may have meant all of them.
        private void sayWhatStays(CopySource source, Descriptor target, Platform copied)
                throws ImageException {
            int offered = offered(source, target);
            if (offered > 1) {
                warnings.add(
                        "copied 1 of %d platforms (%s); %s"
                                .formatted(
                                        offered,
                                        copied.format(),
                                        request.destination().holdsIndexes()
                                                ? "--all-platforms copies all"
                                                : "--platform chooses another"));
            }
        }

        private Part all(CopySource source, Descriptor target) throws ImageException {
            Part part =
                    new Part(
                            target,
                            new LinkedHashMap<>(),
                            new LinkedHashMap<>(),
                            new LinkedHashMap<>());
            collect(source, part, target, 0);
            return part;
        }

        private void collect(CopySource source, Part part, Descriptor descriptor, int depth)
                throws ImageException {
            if (part.documents().containsKey(descriptor.digest())) {
                return;
            }
            limits.check(Limits.Key.INDEX_DEPTH, request.source() + ": nested indexes", depth);
            Bytes content = source.document(descriptor);
            ManifestDocument parsed =
                    ManifestDocument.parse(
                            "%s %s".formatted(request.source(), descriptor.digest()),
                            content,
                            Optional.of(descriptor.mediaType()),
                            limits);
            List<Digest> children = new ArrayList<>();
            switch (parsed) {
                case Manifest manifest -> {
                    blob(part, manifest.config(), children);
                    for (Descriptor layer : manifest.layers()) {
                        blob(part, layer, children);
                    }
                }
                case Index index -> {
                    for (Descriptor entry : index.manifests()) {
                        switch (entry.type()) {
                            case MediaType.IndexType _,
                                    MediaType.ManifestType _,
                                    MediaType.Schema1Type _ -> {
                                collect(source, part, entry, depth + 1);
                                children.add(entry.digest());
                            }
                            case MediaType.ConfigType _,
                                    MediaType.LayerType _,
                                    MediaType.OpaqueType _ ->
                                    blob(part, entry, children);
                        }
                    }
                }
            }
            Descriptor plain =
                    new Descriptor(
                            descriptor.mediaType(), descriptor.digest(), descriptor.sizeBytes());
            part.documents().put(descriptor.digest(), new Document(plain, content, parsed));
            part.children().put(descriptor.digest(), children);
            limits.check(
                    Limits.Key.DESCRIPTORS,
                    request.source() + ": number of descriptors",
                    part.documents().size() + part.blobs().size());
        }

        private void blob(Part part, Descriptor blob, List<Digest> children) {
            boolean foreign =
                    blob.type() instanceof MediaType.LayerType layer
                            && layer.foreign()
                            && !blob.urls().isEmpty();
            if (foreign && !request.foreignLayers()) {
                skipped.add(blob.digest());
                return;
            }
            part.blobs().putIfAbsent(blob.digest(), blob);
            children.add(blob.digest());
        }

        /// Copies what refers to the image and to what it consists of, and what refers to that.
        private void referrers(CopySource source, CopyDestination destination, Part image)
                throws ImageException {
            Queue<Digest> subjects = new ArrayDeque<>(image.documents().keySet());
            Set<Digest> known = new HashSet<>(image.documents().keySet());
            while (!subjects.isEmpty()) {
                Digest subject = subjects.remove();
                for (Descriptor listed : source.referrers(subject)) {
                    if (known.add(listed.digest())) {
                        Part part = artifact(source, destination, listed);
                        destination.referrer(
                                entry(listed, part.top()),
                                part.top().content(),
                                part.children(listed));
                        subjects.addAll(part.documents().keySet());
                        known.addAll(part.documents().keySet());
                    }
                }
                for (CopySource.Attachment attached : source.attachments(subject)) {
                    // Also one that is known already: only here it gets its tag.
                    Descriptor listed = attached.descriptor();
                    Part part = artifact(source, destination, listed);
                    destination.attachment(
                            attached.tag(),
                            part.top().descriptor(),
                            part.top().content(),
                            part.children(listed));
                    if (known.add(listed.digest())) {
                        subjects.addAll(part.documents().keySet());
                        known.addAll(part.documents().keySet());
                    }
                }
            }
        }

        /// Copies what an artifact consists of.
        private Part artifact(CopySource source, CopyDestination destination, Descriptor listed)
                throws ImageException {
            referrers++;
            limits.check(
                    Limits.Key.DESCRIPTORS, request.source() + ": number of referrers", referrers);
            Part part = all(source, listed);
            below(source, destination, part);
            manifests++;
            return part;
        }

        private static Descriptor entry(Descriptor listed, Document document) {
            Optional<String> type =
                    document.parsed().artifactType().isPresent()
                            ? document.parsed().artifactType()
                            : listed.artifactType();
            return new Descriptor(
                    listed.mediaType(),
                    listed.digest(),
                    listed.sizeBytes(),
                    document.parsed().annotations(),
                    List.of(),
                    Optional.empty(),
                    type,
                    Optional.empty());
        }

        /// Copies the blobs of a part that were not copied before, the largest first.
        private void blobs(CopySource source, CopyDestination destination, Part part)
                throws ImageException {
            List<Item> fresh = new ArrayList<>();
            for (Descriptor blob : part.blobs().values()) {
                if (seen.add(blob.digest())) {
                    fresh.add(new Item(blob));
                }
            }
            items.addAll(fresh);
            Queue<Item> queue =
                    new ConcurrentLinkedQueue<>(
                            fresh.stream()
                                    .sorted(
                                            Comparator.comparingLong(
                                                            (Item item) -> item.blob.sizeBytes())
                                                    .reversed())
                                    .toList());
            int workers = Math.min(fresh.size(), destination.parallel(parallel));
            CountDownLatch running = new CountDownLatch(workers);
            AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
            List<Reference> mountFrom = source.repository().map(List::of).orElse(List.of());
            for (int i = 0; i < workers; i++) {
                Thread.ofPlatform()
                        .name("imgd-copy-" + i)
                        .daemon()
                        .start(
                                () -> {
                                    try {
                                        work(source, destination, queue, mountFrom);
                                    } catch (Throwable e) {
                                        if (failure.compareAndSet(null, e)) {
                                            // The others would only be in vain.
                                            cancel();
                                        }
                                    } finally {
                                        running.countDown();
                                    }
                                });
            }
            await(running);
            switch (failure.get()) {
                case null -> {}
                case ImageException e -> throw e;
                case Throwable e ->
                        throw new ImageException(
                                ErrorKind.INTERNAL,
                                "copy of %s: %s".formatted(request.source(), e),
                                e);
            }
        }

        private void await(CountDownLatch running) throws ImageException {
            boolean interrupted = false;
            while (true) {
                try {
                    if (running.await(PROGRESS_MILLIS, TimeUnit.MILLISECONDS)) {
                        break;
                    }
                } catch (InterruptedException e) {
                    interrupted = true;
                    cancel();
                }
                progress.progress(state("copying"));
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
                throw new ImageException(
                        ErrorKind.CANCELLED, "copy of " + request.source() + ": interrupted");
            }
        }

        private void work(
                CopySource source,
                CopyDestination destination,
                Queue<Item> queue,
                List<Reference> mountFrom)
                throws ImageException {
            for (Item item = queue.poll(); item != null; item = queue.poll()) {
                if (cancelled.get()) {
                    throw new ImageException(
                            ErrorKind.CANCELLED, "copy of " + request.source() + ": cancelled");
                }
                Descriptor blob = item.blob;
                item.state = LayerState.DOWNLOADING;
                try (VerifiedBlob verified =
                        new VerifiedBlob(
                                blob, offset -> source.open(blob, offset), item.done, cancelled)) {
                    BlobOutcome outcome = destination.blob(blob, verified, mountFrom);
                    item.state =
                            outcome == BlobOutcome.UPLOADED ? LayerState.DONE : LayerState.EXISTS;
                    count(outcome, blob);
                }
            }
        }

        private synchronized void count(BlobOutcome outcome, Descriptor blob) {
            switch (outcome) {
                case EXISTED -> existing++;
                case MOUNTED -> mounted++;
                case UPLOADED -> copiedBytes.addAndGet(blob.sizeBytes());
            }
        }

        private Progress state(String phase) {
            long done = 0;
            long total = 0;
            long moved = 0;
            List<LayerProgress> layers = new ArrayList<>(items.size());
            for (Item item : items) {
                long itemDone = item.doneBytes();
                done += itemDone;
                total += item.blob.sizeBytes();
                moved += item.state == LayerState.EXISTS ? 0 : itemDone;
                layers.add(
                        new LayerProgress(
                                item.blob.digest(),
                                item.state,
                                itemDone,
                                0,
                                item.blob.sizeBytes()));
            }
            return new Progress(
                    request.destination().toString(), phase, done, total, moved, layers, List.of());
        }
    }
}
