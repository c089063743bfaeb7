package dev.imgd.cli;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import dev.imgd.image.LayerDecoder;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.trust.DecryptionKeys;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/// Called by containerd for each encrypted layer: the layer comes on standard input and leaves in
/// plain on standard output; the descriptor is in a payload on file descriptor 3. Keys that a
/// payload brings are not used, only those of the host. **Source:** containerd
/// `docs/stream_processors.md`, containerd/imgcrypt.
@Command(
        name = "decode",
        description = {
            "Decrypts a layer from standard input to standard output, for containerd,",
            "as the stream processor io.containerd.ocicrypt.decoder.v1.tar(.gzip)."
        })
final class DecodeCommand implements Callable<Integer> {
    private static final String PAYLOAD = "io.containerd.ocicrypt.v1.Payload";
    private static final Path PIPE = Path.of("/proc/self/fd/3");
    private static final int MAX_PAYLOAD_BYTES = 4 << 20;

    @ParentCommand @Nullable Imgctl parent;

    @Option(
            names = {"--help", "-h"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Option(
            names = "--decryption-keys-path",
            paramLabel = "DIR",
            description = "Directory of private keys (default: decryption.keys_path).")
    @Nullable Path directory;

    @Override
    public Integer call() throws ImageException {
        Config config = Config.load(Objects.requireNonNull(parent).options.config);
        Path keys = directory;
        LayerDecoder.decode(
                layer(),
                keys == null
                        ? Assembly.keys(config, DecryptionKeys.NONE)
                        : () -> DecryptionKeys.directory(keys, true),
                System.in,
                // Not the stream of results, which would hide that nobody reads any more.
                new FileOutputStream(FileDescriptor.out),
                Path.of(System.getProperty("java.io.tmpdir", "/tmp")));
        return 0;
    }

    private static Descriptor layer() throws ImageException {
        byte[] content;
        try (InputStream in = Files.newInputStream(PIPE)) {
            content = in.readNBytes(MAX_PAYLOAD_BYTES + 1);
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT,
                    "decode: no payload on file descriptor 3; containerd gives it, see stream processors in its documentation",
                    e);
        }
        try {
            Any payload = Any.parseFrom(content);
            if (content.length > MAX_PAYLOAD_BYTES || !payload.getTypeUrl().equals(PAYLOAD)) {
                throw new InvalidProtocolBufferException("another type");
            }
            return Descriptor.read(
                    Json.parse("payload", payload.getValue().toByteArray()).require("Descriptor"));
        } catch (InvalidProtocolBufferException e) {
            throw new ImageException(
                    ErrorKind.INVALID_CONTENT,
                    "decode: wanted a payload of the type %s on file descriptor 3"
                            .formatted(PAYLOAD),
                    e);
        }
    }
}
