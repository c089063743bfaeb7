package dev.imgd.cli;

import java.util.Objects;
import org.jspecify.annotations.Nullable;
import picocli.AutoComplete;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;

/// `imgctl completion`.
@Command(
        name = "completion",
        description = {
            "Prints a completion script for bash or zsh.",
            "Use it with: source <(imgctl completion bash)"
        })
final class Completion implements Runnable {
    @ParentCommand @Nullable Imgctl parent;

    @Option(
            names = {"-h", "--help"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Spec @Nullable CommandSpec spec;

    @Parameters(paramLabel = "SHELL", description = "bash or zsh")
    String shell = "";

    @Override
    public void run() {
        CommandSpec here = Objects.requireNonNull(spec);
        if (!shell.equals("bash") && !shell.equals("zsh")) {
            throw new ParameterException(
                    here.commandLine(), "completion: wanted bash or zsh, got " + shell);
        }
        String script = AutoComplete.bash("imgctl", here.root().commandLine());
        if (shell.equals("zsh")) {
            script = "autoload -U +X bashcompinit && bashcompinit\n" + script;
        }
        Console.current().out().print(script);
    }
}
