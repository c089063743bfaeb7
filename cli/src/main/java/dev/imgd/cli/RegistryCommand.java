package dev.imgd.cli;

import dev.imgd.image.RegistryClients;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import java.io.InputStream;
import java.io.PrintStream;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// A command that talks to a registry and needs neither a store nor a daemon.
abstract class RegistryCommand implements Callable<Integer> {
    @Spec @Nullable CommandSpec spec;

    @Option(
            names = {"--help", "-h"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Option(names = "--plain-http", description = "Speak http, not https, to the registry.")
    boolean plainHttp;

    @Mixin final CredentialOptions user = new CredentialOptions();

    GlobalOptions options() {
        return ((Imgctl) Objects.requireNonNull(spec).root().userObject()).options;
    }

    PrintStream out() {
        return Console.current().out();
    }

    PrintStream err() {
        return Console.current().err();
    }

    /// A reference to something in the registry that is asked.
    abstract String asked();

    abstract int run(Config config, RegistryClients registries) throws ImageException;

    @Override
    public Integer call() throws ImageException {
        Config config = options().configuration();
        try (RegistryClients registries = Assembly.registries(config, user.source(asked()));
                Interruption _ = Interruption.guard()) {
            warnOfHttps(registries, asked(), plainHttp);
            return run(config, registries);
        }
    }

    /// Says where plain http was asked for and is not spoken.
    static void warnOfHttps(RegistryClients registries, String asked, boolean plainHttp)
            throws ImageException {
        if (plainHttp) {
            registries
                    .plainHttpRefused(Reference.parse(asked).registry(), true)
                    .ifPresent(refused -> Console.current().warn(refused.text()));
        }
    }

    RegistryClient client(RegistryClients registries, Reference reference) {
        return registries.client(reference.registry(), plainHttp);
    }

    /// Writes bytes as they are.
    void print(byte[] content) throws ImageException {
        PrintStream out = out();
        out.write(content, 0, content.length);
        out.flush();
        if (out.checkError()) {
            throw new ImageException(ErrorKind.INTERNAL, "cannot write to standard output");
        }
    }

    /// Standard input, whose end is the end of what the user says.
    static InputStream input() {
        return System.in;
    }
}
