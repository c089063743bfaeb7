package dev.imgd.cli;

import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.RegistryOptions;
import java.io.PrintStream;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// A command about the hosts of a registry. No store is opened and no daemon is asked.
abstract class HostsCommand implements Callable<Integer> {
    @Spec @Nullable CommandSpec spec;

    @Option(
            names = {"--help", "-h"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Parameters(paramLabel = "REF", description = "For example debian:12 or localhost:5000/a.")
    String reference = "";

    GlobalOptions options() {
        return ((Imgctl) Objects.requireNonNull(spec).root().userObject()).options;
    }

    PrintStream out() {
        return Console.current().out();
    }

    PrintStream err() {
        return Console.current().err();
    }

    /// Credentials that win over those of the configuration.
    CredentialSource credentials() throws ImageException {
        return CredentialSource.anonymous();
    }

    abstract int run(Reference reference, RegistryOptions registries) throws ImageException;

    @Override
    public Integer call() throws ImageException {
        Reference wanted = Reference.parse(reference).withDefaultTag();
        Config config = options().configuration();
        return run(wanted, Assembly.registryOptions(config, credentials()));
    }
}
