package dev.imgd.cli;

import dev.imgd.model.Spelling;
import dev.imgd.model.Text;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/// What a wrong command line is told: what is wrong with it, and what was probably meant.
final class UsageError {
    private static final int MAX_SHOWN_CHARS = 100;

    /// What others call our commands: docker, nerdctl, ctr, crictl, podman, crane, skopeo, regctl
    /// and oras.
    private static final Map<String, String> ELSEWHERE =
            Map.ofEntries(
                    Map.entry("images", "ls"),
                    Map.entry("image", "ls"),
                    Map.entry("rmi", "rm"),
                    Map.entry("delete", "registry delete"),
                    Map.entry("untag", "rm"),
                    Map.entry("prune", "gc"),
                    Map.entry("load", "import"),
                    Map.entry("save", "export"),
                    Map.entry("fetch", "pull"),
                    Map.entry("sync", "copy"),
                    Map.entry("show", "inspect"),
                    Map.entry("inspecti", "inspect"),
                    Map.entry("history", "inspect"),
                    Map.entry("check", "fsck"),
                    Map.entry("run", "bundle"),
                    Map.entry("create", "bundle"),
                    Map.entry("content", "blob"),
                    Map.entry("digest", "manifest digest"),
                    Map.entry("manifest-digest", "manifest digest"),
                    Map.entry("tags", "registry tags"),
                    Map.entry("list-tags", "registry tags"),
                    Map.entry("catalog", "registry catalog"),
                    Map.entry("referrers", "registry referrers"),
                    Map.entry("discover", "registry referrers"),
                    Map.entry("standalone-sign", "sign"),
                    Map.entry("standalone-verify", "verify"),
                    Map.entry("registry ls", "registry tags"),
                    Map.entry("registry list", "registry tags"),
                    Map.entry("registry rm", "registry delete"),
                    Map.entry("registry repos", "registry catalog"),
                    Map.entry("registry login", "login"),
                    Map.entry("registry logout", "logout"),
                    Map.entry("manifest inspect", "manifest get"),
                    Map.entry("manifest fetch", "manifest get"),
                    Map.entry("manifest push", "manifest put"),
                    Map.entry("manifest delete", "registry delete"),
                    Map.entry("manifest rm", "registry delete"),
                    Map.entry("blob fetch", "blob get"),
                    Map.entry("blob pull", "blob get"),
                    Map.entry("blob push", "blob put"),
                    Map.entry("blob delete", "registry delete"),
                    Map.entry("blob rm", "registry delete"));

    /// The same for options, of the commands that have ours.
    private static final Map<String, String> OPTIONS_ELSEWHERE =
            Map.of(
                    "--all", "--all-platforms",
                    "--multi-arch", "--all-platforms",
                    "--allow-nondistributable-artifacts", "--foreign-layers",
                    "--insecure", "--plain-http",
                    "--creds", "--user",
                    "--src-creds", "--src-user",
                    "--dest-creds", "--dest-user");

    /// Where picocli found what it did not expect, counted from 0.
    private static final Pattern PLACE = Pattern.compile("^Unmatched arguments? \\w+ index (\\d+)");

    private static final List<String> ARGUMENTS_FOLLOW =
            List.of(" but found '", " while processing argument ");

    private UsageError() {}

    /// Prints what is wrong.
    ///
    /// @return the exit code
    static int report(ParameterException e, String[] args) {
        CommandLine command = e.getCommandLine();
        PrintWriter err = command.getErr();
        String text;
        Optional<String> meant;
        String word =
                e instanceof UnmatchedArgumentException u ? u.getUnmatched().getFirst() : null;
        if (word != null && !word.startsWith("-") && !command.getSubcommands().isEmpty()) {
            text =
                    "\"%s\": no such command"
                            .formatted(Text.printable(Text.withoutUser(word), MAX_SHOWN_CHARS));
            meant = command(command, word).map(name -> "imgctl " + name);
        } else if (word != null && word.startsWith("-")) {
            String option = name(word);
            meant = option(command, option);
            if (!option.startsWith("--") && option.length() > 2 && meant.isEmpty()) {
                option = option.substring(0, 2); // what follows a letter is its value
            }
            text = "\"%s\": no such option".formatted(Text.printable(option, MAX_SHOWN_CHARS));
        } else if (word != null) {
            text = tooMany(e);
            meant = Optional.empty();
        } else {
            text = withoutArguments(canonical(Failure.line(e), e));
            meant = Optional.empty();
        }
        err.println(
                "imgctl: "
                        + text
                        + meant.map(m -> "; did you mean \"%s\"?".formatted(m)).orElse(""));
        err.println(
                "Run '%s --help' for its usage."
                        .formatted(command.getCommandSpec().qualifiedName()));
        err.flush();
        return Imgctl.EXIT_USAGE;
    }

    /// Without the argument itself, which may be a secret, as what follows a misspelt option.
    private static String tooMany(ParameterException e) {
        Matcher place = PLACE.matcher(Failure.line(e));
        return place.find()
                ? "argument %d is one too many".formatted(Integer.parseInt(place.group(1)) + 1)
                : "there is an argument too many";
    }

    /// Without the arguments that picocli adds to what it says, which may be secrets.
    private static String withoutArguments(String text) {
        for (String before : ARGUMENTS_FOLLOW) {
            int at = text.indexOf(before);
            if (at >= 0) {
                return text.substring(0, at);
            }
        }
        return text;
    }

    /// Without a value, which may be a secret.
    private static String name(String option) {
        int equals = option.indexOf('=');
        return equals < 0 ? option : option.substring(0, equals);
    }

    private static Optional<String> command(CommandLine group, String word) {
        String path = group.getCommandSpec().qualifiedName();
        boolean top = path.equals("imgctl");
        String prefix = top ? "" : path.substring("imgctl ".length()) + " ";
        String elsewhere = ELSEWHERE.get(prefix + word);
        return elsewhere != null
                ? Optional.of(elsewhere)
                : Spelling.nearest(word, top ? Imgctl.COMMANDS : group.getSubcommands().keySet())
                        .map(name -> prefix + name);
    }

    private static Optional<String> option(CommandLine command, String option) {
        List<String> known = new ArrayList<>();
        for (OptionSpec spec : command.getCommandSpec().options()) {
            if (!spec.hidden()) {
                known.addAll(List.of(spec.names()));
            }
        }
        String elsewhere = OPTIONS_ELSEWHERE.get(option);
        if (elsewhere != null && known.contains(elsewhere)) {
            return Optional.of(elsewhere);
        }
        if (option.length() <= 2) {
            return Optional.empty(); // of one letter, every other is near
        }
        known.removeIf(name -> !name.startsWith("--"));
        return Spelling.nearest(option.startsWith("--") ? option : "-" + option, known);
    }

    /// Names a missing option as its usage does: picocli takes the longest of its names, which may
    /// be that of another program.
    private static String canonical(String text, ParameterException e) {
        if (e instanceof CommandLine.MissingParameterException missing) {
            for (ArgSpec argument : missing.getMissing()) {
                if (argument instanceof OptionSpec option) {
                    String first =
                            Stream.of(option.names())
                                    .filter(name -> name.startsWith("--"))
                                    .findFirst()
                                    .orElse(option.longestName());
                    text = text.replace("'" + option.longestName(), "'" + first);
                }
            }
        }
        return text;
    }
}
