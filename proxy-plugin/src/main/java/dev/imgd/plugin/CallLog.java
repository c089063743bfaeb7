package dev.imgd.plugin;

import dev.imgd.model.Text;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Puts who is calling into the context and reports the end of every call.
///
/// A failed call is one line. `NOT_FOUND`, `ALREADY_EXISTS` and `CANCELLED` are part of
/// containerd's normal conversation and, like success, only seen at DEBUG.
final class CallLog implements ServerInterceptor {
    private static final Logger LOG = LoggerFactory.getLogger("dev.imgd.plugin.rpc");

    /// containerd's namespace of the current call, empty when none came: containerd's garbage
    /// collector sends none. **Source:** containerd `pkg/namespaces/grpc.go`.
    static final Context.Key<String> NAMESPACE = Context.keyWithDefault("containerd-namespace", "");

    private static final Metadata.Key<String> NAMESPACE_HEADER =
            Metadata.Key.of("containerd-namespace", Metadata.ASCII_STRING_MARSHALLER);

    private final PeerGate gate;
    private final RpcListener listener;

    CallLog(PeerGate gate, RpcListener listener) {
        this.gate = gate;
        this.listener = listener;
    }

    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
        Peer peer = gate.peer(call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR));
        String namespace = headers.get(NAMESPACE_HEADER);
        var end = new End(call.getMethodDescriptor(), peer, namespace == null ? "" : namespace);
        var observed =
                new SimpleForwardingServerCall<Q, A>(call) {
                    @Override
                    public void close(Status status, Metadata trailers) {
                        end.report(status);
                        super.close(status, trailers);
                    }
                };
        Context context =
                Context.current().withValues(Peer.OF_CALL, peer, NAMESPACE, end.namespace);
        return new SimpleForwardingServerCallListener<>(
                Contexts.interceptCall(context, observed, headers, next)) {
            @Override
            public void onCancel() {
                end.report(Status.CANCELLED.withDescription("cancelled by the caller"));
                super.onCancel();
            }
        };
    }

    private final class End {
        private final MethodDescriptor<?, ?> method;
        private final Peer peer;
        private final String namespace;
        private final long start = System.nanoTime();
        private final AtomicBoolean reported = new AtomicBoolean();

        End(MethodDescriptor<?, ?> method, Peer peer, String namespace) {
            this.method = method;
            this.peer = peer;
            this.namespace = namespace;
        }

        void report(Status status) {
            if (!reported.compareAndSet(false, true)) {
                return;
            }
            long nanos = System.nanoTime() - start;
            String service = String.valueOf(method.getServiceName());
            String name = String.valueOf(method.getBareMethodName());
            listener.handled(service, name, status.getCode().name(), nanos);
            switch (status.getCode()) {
                case OK, NOT_FOUND, ALREADY_EXISTS, CANCELLED -> {
                    if (LOG.isDebugEnabled()) {
                        LOG.debug(line("rpc", status, nanos));
                    }
                }
                case INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED ->
                        LOG.info(line("rpc failed", status, nanos));
                default -> LOG.warn(line("rpc failed", status, nanos));
            }
        }

        private String line(String event, Status status, long nanos) {
            StringBuilder line =
                    new StringBuilder(160)
                            .append(event)
                            .append(" method=")
                            .append(method.getFullMethodName())
                            .append(" code=")
                            .append(status.getCode())
                            .append(" duration_ms=")
                            .append(nanos / 1_000_000)
                            .append(" uid=")
                            .append(peer.uid())
                            .append(" pid=")
                            .append(peer.pid());
            if (!namespace.isEmpty()) {
                line.append(" namespace=").append(Text.quoted(namespace, 80));
            }
            if (status.getDescription() != null) {
                line.append(" message=").append(Text.quoted(status.getDescription(), 1024));
            }
            return line.toString();
        }
    }
}
