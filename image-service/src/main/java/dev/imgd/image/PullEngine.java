package dev.imgd.image;

import dev.imgd.content.ContentStore;
import dev.imgd.content.Ingest;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.image.ImageService.LayerState;
import dev.imgd.image.ImageService.Progress;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.SourceUse;
import dev.imgd.image.LayerJob.Unpacked;
import dev.imgd.layers.Applied;
import dev.imgd.layers.LayerApplier;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.DigestMismatchException;
import dev.imgd.model.EarlyBytes;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Reference;
import dev.imgd.model.SizeMismatchException;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryClient.BlobWish;
import dev.imgd.registry.RegistryClient.Span;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.SnapshotService.Staging;
import dev.imgd.snapshot.Usage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Turns layer descriptors into stored blobs and committed snapshots, as fast as the machine
/// allows.
///
/// For every layer at once: the fetcher writes and hashes the blob into an ingest, and the unpacker
/// follows it through the page cache, so nothing is held in memory between the two and a slow disk
/// or a slow network never stops the other side. Only commits are ordered. One engine serves all
/// pulls of a process; two pulls that need the same layer share the work. Thread-safe.
final class PullEngine implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(PullEngine.class);

    /// The buffers of a download are of this size while those of all fit into the memory for them.
    private static final int MOST_BUFFER_BYTES = 256 << 10;

    private static final int LEAST_BUFFER_BYTES = 32 << 10;
    private static final int ALL_BUFFERS_BYTES = 16 << 20;

    /// What a second thread may read of a blob before it is asked again.
    private static final long ASSISTED_BYTES = 2 << 20;

    private static final long TICK_MILLIS = 100;
    private static final int MAX_ATTEMPTS = 5;

    private final Store store;
    private final SnapshotService snapshots;
    private final Limits limits;
    private final LayerApplier applier;
    private final Lock assembly;
    private final ExecutorService fetchers;
    private final ExecutorService unpackers;
    private final CpuGate gate;
    private final KeyedLocks blobLocks = new KeyedLocks();
    private final KeyedLocks layerLocks = new KeyedLocks();
    private final int bufferBytes;
    private final ArrayDeque<ByteBuffer> buffers = new ArrayDeque<>();
    private final ReadWriteLock life = new ReentrantReadWriteLock();
    private volatile boolean closed;

    /// @param assembly keeps the collector away while layers are linked
    /// @param fetches how many blobs are downloaded at once, over all pulls
    /// @param unpacks how many layers are unpacked at once, over all pulls
    PullEngine(
            Store store,
            SnapshotService snapshots,
            Limits limits,
            Lock assembly,
            int fetches,
            int unpacks) {
        this.store = store;
        this.snapshots = snapshots;
        this.limits = limits;
        this.applier = new LayerApplier(limits);
        this.assembly = assembly;
        this.fetchers =
                Executors.newFixedThreadPool(
                        fetches, Thread.ofPlatform().name("imgd-fetch-", 0).daemon().factory());
        this.unpackers =
                Executors.newCachedThreadPool(
                        Thread.ofPlatform().name("imgd-unpack-", 0).daemon().factory());
        this.gate = new CpuGate(unpacks);
        this.bufferBytes = bufferBytes(fetches);
    }

    /// How large a buffer is when so many blobs are downloaded at once.
    static int bufferBytes(int fetches) {
        return Math.clamp(
                ALL_BUFFERS_BYTES / (Ingest.LENT_BUFFERS * fetches),
                LEAST_BUFFER_BYTES,
                MOST_BUFFER_BYTES);
    }

    /// What to fetch and to unpack.
    ///
    /// @param client for this pull alone: it is closed when the pull ends early
    /// @param layers the layers to store, lowest first
    /// @param unlocked the layers to unpack, in the order of `layers`; none to only store
    /// @param others further blobs to store
    /// @param keepBlobs whether the compressed bytes are wanted even where the layer is unpacked
    ///   already
    record Plan(
            String namespace,
            Reference reference,
            RegistryClient client,
            List<Descriptor> layers,
            UnlockedLayers unlocked,
            List<Descriptor> others,
            boolean keepBlobs) {}

    /// @param chain the names of the snapshots of the unpacked layers, lowest first
    record Outcome(
            List<Digest> chain,
            long fetchedBytes,
            long reusedBytes,
            List<SourceUse> sources,
            List<String> warnings) {}

    /// Told when the snapshot of a layer is there, in order.
    @FunctionalInterface
    interface LayerListener {
        void committed(int index, Digest chainId) throws ImageException;
    }

    /// Fetches and unpacks; returns when blobs are durable and layers are committed, which are
    /// durable after [SnapshotService#sync]. Interrupting the thread cancels.
    Outcome run(Plan plan, ProgressListener progress, LayerListener committed)
            throws ImageException {
        life.readLock().lock();
        try {
            if (closed) {
                throw ImageException.unavailable(
                        "pull of %s: imgd is shutting down".formatted(plan.reference), null);
            }
            Run run = new Run(plan, progress);
            boolean complete = false;
            try {
                Outcome outcome = run.execute(committed);
                complete = true;
                return outcome;
            } finally {
                run.stop(complete);
            }
        } finally {
            life.readLock().unlock();
        }
    }

    /// A piece of work in a pool. One that has not begun can be called off.
    private static final class Worker implements Runnable {
        private final Runnable work;
        private final AtomicBoolean taken = new AtomicBoolean();
        final CompletableFuture<Void> ended = new CompletableFuture<>();

        Worker(Runnable work) {
            this.work = work;
        }

        @Override
        public void run() {
            if (taken.compareAndSet(false, true)) {
                try {
                    work.run();
                    ended.complete(null);
                } catch (Throwable e) {
                    // Also errors: whoever waits for this work must not wait for ever.
                    ended.completeExceptionally(e);
                }
            }
        }

        void callOff() {
            if (taken.compareAndSet(false, true)) {
                ended.complete(null);
            }
        }
    }

    /// One pull. The calling thread orders commits and reports; workers never see its interruption,
    /// because an interrupt would close the files they write to.
    private final class Run {
        private final Plan plan;
        private final ProgressListener listener;
        private final UnpackBudget budget;
        private final List<LayerJob> jobs = new ArrayList<>();
        private final List<LayerJob> again = new ArrayList<>();
        private final List<Digest> chain;
        private final List<Worker> workers = Collections.synchronizedList(new ArrayList<>());
        private volatile @Nullable ImageException cancelled;

        Run(Plan plan, ProgressListener listener) {
            this.plan = plan;
            this.listener = listener;
            this.budget = new UnpackBudget("pull of " + plan.reference, limits);
            this.chain = plan.unlocked.chain();
        }

        Outcome execute(LayerListener committed) throws ImageException {
            UnlockedLayers unlocked = plan.unlocked;
            boolean unpack = !unlocked.diffIds().isEmpty();
            Map<Digest, LayerJob> byDigest = new LinkedHashMap<>();
            List<LayerJob> stack = new ArrayList<>();
            for (int i = 0; i < plan.layers.size(); i++) {
                Descriptor layer = plan.layers.get(i);
                LayerJob here =
                        unpack
                                ? new LayerJob(
                                        layer,
                                        Optional.of(unlocked.diffIds().get(i)),
                                        Optional.of(unlocked.trees().get(i)),
                                        unlocked.secrets().get(i),
                                        parentChain(i))
                                : new LayerJob(layer);
                // Images repeat layers (the empty one, mostly); one job serves all places.
                LayerJob job = byDigest.computeIfAbsent(layer.digest(), _ -> here);
                if (!job.diffId.equals(here.diffId) || !job.tree.equals(here.tree)) {
                    throw ImageException.invalidContent(
                            "%s: the manifest lists layer %s twice, with two diffIDs or two keys"
                                    .formatted(plan.reference, layer.digest()));
                }
                stack.add(job);
            }
            for (Descriptor other : plan.others) {
                byDigest.computeIfAbsent(other.digest(), _ -> new LayerJob(other));
            }
            jobs.addAll(byDigest.values());
            List<LayerJob> longestFirst = new ArrayList<>(jobs);
            longestFirst.sort(
                    Comparator.comparingLong((LayerJob j) -> j.descriptor.sizeBytes()).reversed());
            for (LayerJob job : longestFirst) {
                start(fetchers, () -> fetch(job));
            }
            List<String> warnings = new ArrayList<>();
            Set<LayerJob> done = new HashSet<>();
            for (int i = 0; i < stack.size(); i++) {
                LayerJob job = stack.get(i);
                await(job.blob);
                if (unpack) {
                    Unpacked result = await(job.unpacked);
                    boolean first = done.add(job);
                    if (first && result.applied() != null) {
                        for (String warning : result.applied().warnings()) {
                            warnings.add("layer %d: %s".formatted(i + 1, warning));
                        }
                    }
                    commit(i, job, first ? result : Unpacked.BEFORE);
                    committed.committed(i, chain.get(i));
                }
                if (job.state != LayerState.EXISTS) {
                    job.state = LayerState.DONE;
                }
            }
            for (LayerJob job : jobs) {
                await(job.blob);
                if (job.state != LayerState.EXISTS) {
                    job.state = LayerState.DONE;
                }
            }
            report("done");
            long fetched = jobs.stream().mapToLong(j -> j.fetched.get()).sum();
            long total = jobs.stream().mapToLong(j -> j.descriptor.sizeBytes()).sum();
            return new Outcome(chain, fetched, Math.max(0, total - fetched), sources(), warnings);
        }

        /// Commits a layer at its place. It is unpacked once more when what was on disk has gone in
        /// the meantime, or fits only on top of other layers than those of this place.
        private void commit(int index, LayerJob job, Unpacked result) throws ImageException {
            Unpacked next = result;
            for (int attempt = 1; !link(index, next); attempt++) {
                if (attempt == MAX_ATTEMPTS) {
                    throw ImageException.unavailable(
                            "pull of %s: layer %s was removed again and again; run it again"
                                    .formatted(plan.reference, job.descriptor.digest()),
                            null);
                }
                LayerJob once = job.above(parentChain(index));
                again.add(once);
                start(fetchers, () -> fetch(once));
                await(once.blob);
                next = await(once.unpacked);
            }
        }

        private Optional<Digest> parentChain(int index) {
            return index == 0 ? Optional.empty() : Optional.of(chain.get(index - 1));
        }

        /// @return false when the layer is not on disk
        private boolean link(int index, Unpacked result) throws ImageException {
            String parent = index == 0 ? "" : chain.get(index - 1).toString();
            Digest tree = plan.unlocked.trees().get(index);
            lockAssembly();
            try {
                Applied applied = result.applied();
                if (result.staging().isPresent() && applied != null) {
                    try (Staging staging = result.staging().get()) {
                        staging.commit(
                                new Usage(applied.sizeBytes(), applied.inodes()),
                                applied.implicitDirectories(),
                                parent);
                    }
                }
                if (!snapshots.hasLayer(tree, parentChain(index))) {
                    return false;
                }
                snapshots.link(
                        SnapshotService.LOCAL,
                        chain.get(index).toString(),
                        parent,
                        tree,
                        parentChain(index),
                        Map.of());
                return true;
            } finally {
                assembly.unlock();
            }
        }

        private void lockAssembly() throws ImageException {
            try {
                while (!assembly.tryLock(TICK_MILLIS, TimeUnit.MILLISECONDS)) {
                    failFast();
                }
            } catch (InterruptedException e) {
                throw interrupted(e);
            }
        }

        /// The interrupt is the caller's way to cancel; it is answered by the exception.
        private ImageException interrupted(InterruptedException cause) {
            return new ImageException(
                    ErrorKind.CANCELLED,
                    "pull of %s: interrupted; run it again to go on where it stopped"
                            .formatted(plan.reference),
                    cause);
        }

        private void fetch(LayerJob job) {
            for (boolean again = true; again; ) {
                again = false;
                try (KeyedLocks.Held _ =
                        blobLocks.lock(job.descriptor.digest(), this::checkCancelled)) {
                    again = fetchLocked(job);
                } catch (InterruptedException e) {
                    fail(job, new ImageException(ErrorKind.CANCELLED, "interrupted", e));
                } catch (IOException | RuntimeException | Error e) {
                    fail(job, e);
                }
            }
        }

        private void fail(LayerJob job, Throwable cause) {
            job.blob.completeExceptionally(cause);
            job.unpacked.completeExceptionally(cause);
        }

        /// @return whether to start over because what an earlier process had left was not right, or
        ///   because somebody else brought the blob
        private boolean fetchLocked(LayerJob job) throws IOException {
            checkCancelled();
            ContentStore content = store.content();
            Descriptor layer = job.descriptor;
            boolean unpack = needsUnpacking(job);
            if (!unpack) {
                job.unpacked.complete(Unpacked.BEFORE);
            }
            if (content.findWhole(plan.namespace, layer.digest()).isPresent()
                    || content.adopt(plan.namespace, layer.digest(), Map.of())) {
                job.stored.set(layer.sizeBytes());
                job.blob.complete(null);
                if (unpack) {
                    job.state = LayerState.UNPACKING;
                    start(unpackers, () -> unpackStored(job));
                } else {
                    job.state = LayerState.EXISTS;
                }
                return false;
            }
            if (!unpack && !plan.keepBlobs) {
                job.state = LayerState.EXISTS;
                job.blob.complete(null);
                return false;
            }
            job.state = LayerState.DOWNLOADING;
            return download(job, content, unpack);
        }

        private boolean needsUnpacking(LayerJob job) throws ImageException {
            return job.tree.isPresent() && !snapshots.hasLayer(job.tree.get(), job.parentChain);
        }

        private boolean download(LayerJob job, ContentStore content, boolean unpack)
                throws IOException {
            Descriptor layer = job.descriptor;
            long resumed = 0;
            boolean received = false;
            CompletableFuture<Unpacked> follower = null;
            Ingest ingest;
            try {
                ingest =
                        content.ingest(
                                plan.namespace, "layer-" + layer.digest(), Optional.of(layer));
            } catch (ImageException e) {
                if (e.kind() == ErrorKind.ALREADY_EXISTS) {
                    return true; // An import or a copy brought it since it was looked for.
                }
                throw e;
            }
            String from = plan.reference.registry();
            try (ingest) {
                resumed = ingest.offset();
                job.stored.set(resumed);
                // Nothing of an encrypted layer is of use before the whole is known to be right.
                if (unpack && job.secret.isEmpty()) {
                    ReadableByteChannel bytes = ingest.follow();
                    CompletableFuture<Unpacked> unpacking = new CompletableFuture<>();
                    follower = unpacking;
                    start(unpackers, () -> unpack(job, bytes, ingest::offset, unpacking));
                }
                try {
                    job.spans = List.of();
                    job.reused = 0;
                    if (resumed < layer.sizeBytes()) {
                        transfer(job, ingest);
                        from = hosts(job.spans, from);
                    }
                    received = true;
                    ingest.finish();
                    content(ingest, layer, from);
                } catch (IOException e) {
                    ingest.fail(e);
                    throw e;
                }
            } catch (IOException e) {
                settle(follower);
                // A body of a wrong size says nothing about the bytes that were there before it,
                // and would be as wrong the next time.
                if (cancelled == null
                        && worthAnother(job, e, received ? resumed + job.reused : 0)) {
                    job.unpackedBytes.set(0);
                    return true;
                }
                throw worst(job, e);
            } catch (RuntimeException | Error e) {
                settle(follower);
                throw e;
            }
            blame(job);
            job.blob.complete(null);
            if (unpack && job.secret.isPresent()) {
                job.state = LayerState.UNPACKING;
                start(unpackers, () -> unpackStored(job));
            }
            if (follower != null) {
                if (job.state == LayerState.DOWNLOADING) {
                    job.state = LayerState.UNPACKING;
                }
                var _ =
                        follower.handle(
                                (done, error) ->
                                        error == null
                                                ? job.unpacked.complete(done)
                                                : job.unpacked.completeExceptionally(error));
            }
            return false;
        }

        /// Whether bytes that were wrong as a whole may be had from elsewhere. Where they came from
        /// one host, it is asked no more; else they are fetched again from one host, which tells
        /// who was wrong.
        private boolean worthAnother(LayerJob job, IOException failure, long resumed)
                throws ImageException {
            Digest digest = job.descriptor.digest();
            boolean wrongDigest = failure instanceof DigestMismatchException;
            if (resumed > 0 && (wrongDigest || failure instanceof SizeMismatchException)) {
                LOG.warn(
                        "{}: what an earlier pull had left of {} was wrong; fetching it again",
                        plan.reference,
                        digest);
                return true;
            }
            boolean again =
                    wrongDigest
                            || (job.wrongDownloads > 0
                                    && !job.spans.isEmpty()
                                    && failure instanceof ImageException e
                                    && e.kind() == ErrorKind.UNAVAILABLE);
            if (wrongDigest) {
                job.wrong = (DigestMismatchException) failure;
            }
            if (!again || ++job.wrongDownloads == MAX_ATTEMPTS) {
                return false;
            }
            Set<String> hosts = new TreeSet<>();
            job.spans.forEach(span -> hosts.add(span.host()));
            if (wrongDigest && hosts.size() == 1) {
                return distrust(hosts.iterator().next(), "sent wrong bytes of " + digest);
            }
            if (wrongDigest) {
                job.suspects.addAll(job.spans);
                LOG.warn(
                        "{}: {} is wrong, and was sent by {}; fetching it from one of them",
                        plan.reference,
                        digest,
                        String.join(", ", hosts));
            }
            return true;
        }

        /// Wrong bytes explain more than that there was nobody else to ask.
        private IOException worst(LayerJob job, IOException failure) {
            DigestMismatchException wrong = job.wrong;
            if (wrong == null || wrong == failure || cancelled != null) {
                return failure;
            }
            wrong.addSuppressed(failure);
            return wrong;
        }

        /// Finds out who sent the wrong parts of earlier downloads, now that the right bytes are
        /// known.
        private void blame(LayerJob job) throws IOException {
            if (job.suspects.isEmpty()) {
                return;
            }
            Set<String> judged = new HashSet<>();
            ByteBuffer buffer = takeBuffer();
            try (FileChannel blob = store.content().open(job.descriptor.digest())) {
                for (Span span : job.suspects) {
                    if (!judged.contains(span.host()) && !matches(blob, span, buffer)) {
                        judged.add(span.host());
                        distrust(
                                span.host(),
                                "sent wrong bytes of %s, between byte %d and byte %d"
                                        .formatted(
                                                job.descriptor.digest(),
                                                span.offset(),
                                                span.offset() + span.sizeBytes()));
                    }
                }
            } finally {
                giveBuffer(buffer);
            }
            job.suspects.clear();
        }

        private static boolean matches(FileChannel blob, Span span, ByteBuffer buffer)
                throws IOException {
            CRC32C crc = new CRC32C();
            long end = span.offset() + span.sizeBytes();
            for (long at = span.offset(); at < end; ) {
                buffer.clear().limit((int) Math.min(buffer.capacity(), end - at));
                int n = blob.read(buffer, at);
                if (n < 0) {
                    return false;
                }
                crc.update(buffer.flip());
                at += n;
            }
            return (int) crc.getValue() == span.crc32c();
        }

        private boolean distrust(String host, String reason) throws ImageException {
            return plan.client.distrust(plan.reference, host, reason);
        }

        private static String hosts(List<Span> spans, String absent) {
            Set<String> hosts = new LinkedHashSet<>();
            spans.forEach(span -> hosts.add(span.host()));
            return hosts.isEmpty() ? absent : String.join(", ", hosts);
        }

        private void content(Ingest ingest, Descriptor layer, String from) throws IOException {
            try {
                ingest.commit(layer.sizeBytes(), layer.digest(), Map.of(), List.of());
            } catch (DigestMismatchException e) {
                throw new DigestMismatchException(
                        "layer of %s from %s".formatted(plan.reference, from),
                        e.wanted(),
                        e.got(),
                        layer.sizeBytes());
            }
        }

        /// After wrong bytes all are to come from one host, which what an earlier process kept may
        /// not have.
        private static BlobWish wish(LayerJob job, Ingest ingest) {
            boolean oneHost = job.wrongDownloads > 0;
            return new BlobWish(
                    ingest.offset(), oneHost, oneHost ? EarlyBytes.NONE : ingest.early());
        }

        private void transfer(LayerJob job, Ingest ingest) throws IOException {
            List<ByteBuffer> lent = new ArrayList<>(Ingest.LENT_BUFFERS);
            try (BlobStream body =
                    plan.client.blob(plan.reference, job.descriptor, wish(job, ingest))) {
                body.backlog(job::backlog);
                try {
                    int n = 0;
                    for (int turn = 0; n >= 0; turn = (turn + 1) % Ingest.LENT_BUFFERS) {
                        checkCancelled();
                        if (turn == lent.size()) {
                            lent.add(takeBuffer());
                        }
                        n = fill(lent.get(turn), body, job, ingest);
                    }
                } finally {
                    job.spans = body.spans();
                    job.reused = body.reusedBytes();
                }
            } catch (IOException e) {
                // Closing the stream is how a cancellation reaches a blocked read.
                checkCancelled();
                throw e;
            } finally {
                ingest.reclaim();
                lent.forEach(PullEngine.this::giveBuffer);
            }
        }

        /// Moves a buffer full of bytes; those that came before a failure are kept.
        ///
        /// @return -1 after the last byte
        private int fill(ByteBuffer buffer, BlobStream body, LayerJob job, Ingest ingest)
                throws IOException {
            buffer.clear();
            int n = 0;
            long reused = body.reusedBytes();
            try {
                while (buffer.hasRemaining() && n >= 0) {
                    n = body.read(buffer);
                }
                return n;
            } finally {
                int got = buffer.position();
                if (got > 0) {
                    buffer.flip();
                    ingest.lend(buffer);
                    job.stored.addAndGet(got);
                    job.fetched.addAndGet(got - (body.reusedBytes() - reused));
                }
            }
        }

        private void unpackStored(LayerJob job) {
            CompletableFuture<Unpacked> unpacking = new CompletableFuture<>();
            try (FileChannel blob = store.content().open(job.descriptor.digest())) {
                ReadableByteChannel bytes =
                        job.secret.isPresent()
                                ? new DecryptedBlob(
                                        what(job),
                                        blob,
                                        job.secret.get(),
                                        job.diffId.orElseThrow(),
                                        this::checkCancelled)
                                : blob;
                unpack(job, bytes, job.descriptor::sizeBytes, unpacking);
            } catch (IOException | RuntimeException | Error e) {
                unpacking.completeExceptionally(e);
            }
            if (!unpacking.isCompletedExceptionally()) {
                job.unpacked.complete(unpacking.join());
            } else if (cancelled == null && isDamaged(job)) {
                start(fetchers, () -> fetch(job));
            } else {
                job.unpacked.completeExceptionally(asStated(job, unpacking.exceptionNow()));
            }
        }

        /// Why a layer did not unpack: of a decrypted one, first of all that it is not what its
        /// envelope states. What decrypts with a wrong key is random, and so is what an unpacker
        /// finds wrong with it first.
        private Throwable asStated(LayerJob job, Throwable failure) {
            if (job.secret.isEmpty() || !(failure instanceof ImageException e)) {
                return failure;
            }
            // Not after a limit: one that ends the unpacking of a bomb is no reason to read on.
            if (e.kind() != ErrorKind.INVALID_CONTENT && e.kind() != ErrorKind.DATA_LOSS) {
                return failure;
            }
            try {
                Digest _ =
                        PlainLayer.verify(
                                what(job),
                                job.descriptor,
                                job.secret.get(),
                                offset -> stored(job.descriptor.digest(), offset),
                                limits,
                                this::checkCancelled);
                return failure;
            } catch (ImageException other) {
                // What else ends the second reading is no reason why the layer did not unpack.
                boolean better =
                        other.kind() == ErrorKind.DATA_LOSS || other.kind() == ErrorKind.CANCELLED;
                Throwable told = better ? other : failure;
                told.addSuppressed(better ? failure : other);
                return told;
            }
        }

        private BlobStream stored(Digest digest, long offset) throws IOException {
            FileChannel file = store.content().open(digest);
            try {
                return LocalBlob.of(file.position(offset), "the store");
            } catch (IOException e) {
                file.close();
                throw e;
            }
        }

        /// Whether a layer does not unpack because the disk changed what had been stored; looked at
        /// once, since a disk may do so again.
        private boolean isDamaged(LayerJob job) {
            if (job.rechecked) {
                return false;
            }
            job.rechecked = true;
            try {
                if (store.content().recheck(job.descriptor.digest())) {
                    return false;
                }
            } catch (ImageException e) {
                LOG.warn("{}: {}", plan.reference, e.getMessage());
                return false;
            }
            job.stored.set(0);
            job.unpackedBytes.set(0);
            return true;
        }

        private String what(LayerJob job) {
            return "layer %s of %s".formatted(job.descriptor.digest(), plan.reference);
        }

        private void unpack(
                LayerJob job,
                ReadableByteChannel bytes,
                java.util.function.LongSupplier available,
                CompletableFuture<Unpacked> result) {
            Digest diffId = job.diffId.orElseThrow();
            Digest tree = job.tree.orElseThrow();
            try (bytes;
                    KeyedLocks.Held _ = layerLocks.lock(tree, this::checkCancelled)) {
                if (snapshots.hasLayer(tree, job.parentChain)) {
                    result.complete(Unpacked.BEFORE);
                    return;
                }
                Staging staging = snapshots.stage(tree, job.parentChain);
                boolean complete = false;
                GatedSource source =
                        new GatedSource(
                                bytes,
                                available,
                                gate,
                                this::checkCancelled,
                                job.descriptor.sizeBytes(),
                                job.unpackedBytes);
                try (UnpackBudget.Share share = budget.share(staging.directory())) {
                    source.enter();
                    Applied applied =
                            applier.apply(
                                    what(job),
                                    source,
                                    staging.directory(),
                                    diffId,
                                    grown -> {
                                        share.grown(grown);
                                        staging.written(grown);
                                    },
                                    work -> assist(source, work));
                    checkCancelled();
                    share.keep();
                    complete = result.complete(new Unpacked(Optional.of(staging), applied));
                } finally {
                    source.leave();
                    if (!complete) {
                        staging.close();
                    }
                }
            } catch (InterruptedException e) {
                result.completeExceptionally(
                        new ImageException(ErrorKind.CANCELLED, "interrupted", e));
            } catch (IOException | RuntimeException | Error e) {
                result.completeExceptionally(e);
            }
        }

        /// Unpacks on a second thread while no other layer wants the processor; it must not wait
        /// for the network, because the place of the first thread is taken meanwhile.
        private boolean assist(GatedSource source, Runnable work) {
            if (!source.hasReady(ASSISTED_BYTES) || !gate.tryEnter()) {
                return false;
            }
            boolean begun = false;
            try {
                unpackers.execute(
                        () -> {
                            try {
                                work.run();
                            } finally {
                                gate.leave();
                            }
                        });
                begun = true;
            } catch (RejectedExecutionException closing) {
                LOG.trace("closing: no second thread", closing);
            } finally {
                if (!begun) {
                    gate.leave();
                }
            }
            return begun;
        }

        /// Waits until a follower that is bound to fail has done so.
        private void settle(@Nullable CompletableFuture<Unpacked> follower) {
            if (follower == null) {
                return;
            }
            try {
                Unpacked done = follower.join();
                done.staging().ifPresent(Staging::close);
            } catch (CancellationException | CompletionException e) {
                LOG.debug("{}: unpacking ended with the download", plan.reference, e);
            }
        }

        private void start(ExecutorService pool, Runnable work) {
            Worker worker = new Worker(work);
            workers.add(worker);
            pool.execute(worker);
        }

        private void checkCancelled() throws ImageException {
            ImageException cause = cancelled;
            if (cause != null) {
                throw cause;
            }
        }

        private <T extends @Nullable Object> T await(CompletableFuture<T> future)
                throws ImageException {
            while (true) {
                try {
                    failFast();
                    return future.get(TICK_MILLIS, TimeUnit.MILLISECONDS);
                } catch (TimeoutException e) {
                    report("downloading");
                } catch (InterruptedException e) {
                    throw interrupted(e);
                } catch (ExecutionException e) {
                    throw asImageException(e.getCause() == null ? e : e.getCause());
                }
            }
        }

        /// A failed layer ends the pull at once, wherever the ordered commits are. A layer that
        /// does not unpack is judged only after its download, because corrupt bytes are the better
        /// explanation.
        private void failFast() throws ImageException {
            synchronized (workers) {
                for (Worker worker : workers) {
                    if (worker.ended.isCompletedExceptionally()) {
                        throw asImageException(worker.ended.exceptionNow());
                    }
                }
            }
            for (LayerJob job : jobs) {
                for (CompletableFuture<?> part : List.of(job.blob, job.unpacked)) {
                    if (part.isCompletedExceptionally()) {
                        throw asImageException(part.exceptionNow());
                    }
                }
            }
        }

        private ImageException asImageException(Throwable cause) {
            return switch (cause) {
                case ImageException e -> e;
                case IOException e ->
                        new ImageException(
                                ErrorKind.INTERNAL,
                                "pull of %s: %s".formatted(plan.reference, e.getMessage()),
                                e);
                default ->
                        new ImageException(
                                ErrorKind.INTERNAL,
                                "pull of %s: %s".formatted(plan.reference, cause),
                                cause);
            };
        }

        private List<SourceUse> sources() {
            List<SourceUse> uses = new ArrayList<>();
            for (RegistryClient.SourceUse use : plan.client.sources()) {
                uses.add(new SourceUse(use.host(), use.blobBytes(), use.retries(), use.dropped()));
            }
            return uses;
        }

        private void report(String phase) {
            long done = 0;
            long total = 0;
            long fetched = 0;
            boolean downloading = false;
            List<ImageService.LayerProgress> layers = new ArrayList<>(jobs.size());
            for (LayerJob job : jobs) {
                done += job.stored.get();
                total += job.descriptor.sizeBytes();
                fetched += job.fetched.get();
                downloading |= !job.blob.isDone();
                layers.add(job.progress());
            }
            String shown = phase.equals("downloading") && !downloading ? "unpacking" : phase;
            listener.progress(
                    new Progress(
                            plan.reference.toString(),
                            shown,
                            done,
                            total,
                            fetched,
                            layers,
                            sources()));
        }

        private @Nullable Worker running() {
            synchronized (workers) {
                for (Worker worker : workers) {
                    if (!worker.ended.isDone()) {
                        return worker;
                    }
                }
                return null;
            }
        }

        /// Ends all workers and waits for them, so that nothing runs on after the pull returned.
        void stop(boolean complete) {
            cancelled =
                    new ImageException(
                            ErrorKind.CANCELLED, "pull of %s: cancelled".formatted(plan.reference));
            boolean interrupted = Thread.interrupted();
            // A worker may start another one until it has seen the cancellation.
            for (Worker worker = running(); worker != null; worker = running()) {
                worker.callOff();
                // Ends the fetchers; they tell those that follow their ingests.
                plan.client.close();
                try {
                    worker.ended.get(TICK_MILLIS, TimeUnit.MILLISECONDS);
                } catch (InterruptedException e) {
                    interrupted = true;
                } catch (TimeoutException | ExecutionException | CancellationException e) {
                    LOG.trace("waiting for a worker to stop", e);
                }
            }
            if (!complete) {
                report("downloading"); // the bytes of buffers that were not full are there now
            }
            jobs.addAll(again);
            for (LayerJob job : jobs) {
                // Closing a committed staging does nothing.
                if (job.unpacked.isDone() && !job.unpacked.isCompletedExceptionally()) {
                    job.unpacked.join().staging().ifPresent(Staging::close);
                }
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private ByteBuffer takeBuffer() {
        synchronized (buffers) {
            ByteBuffer buffer = buffers.poll();
            return buffer != null ? buffer : ByteBuffer.allocateDirect(bufferBytes);
        }
    }

    private void giveBuffer(ByteBuffer buffer) {
        synchronized (buffers) {
            buffers.push(buffer);
        }
    }

    /// The graph nodes that a pull of these digests will make, for its lease.
    ///
    /// @param chain the names of the snapshots
    static List<NodeId> nodes(List<Digest> blobs, List<Digest> chain) {
        List<NodeId> nodes = new ArrayList<>();
        blobs.forEach(digest -> nodes.add(NodeId.blob(digest)));
        chain.forEach(id -> nodes.add(NodeId.snapshot(SnapshotService.LOCAL, id.toString())));
        return nodes;
    }

    /// Waits for what runs; refuses what comes later.
    @Override
    public void close() {
        closed = true;
        life.writeLock().lock();
        try {
            fetchers.shutdown();
            unpackers.shutdown();
        } finally {
            life.writeLock().unlock();
        }
    }
}
