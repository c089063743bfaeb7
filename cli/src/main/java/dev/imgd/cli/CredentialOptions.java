package dev.imgd.cli;

import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/// Who asks the registry of a command, where that is not to come from a file. Mixed in.
final class CredentialOptions {
    /// As user names of credential helpers have it: the secret is an identity token.
    static final String TOKEN_USER = "<token>";

    @Option(
            names = {"--user", "--username"},
            paramLabel = "NAME",
            description = {
                "Ask the registry as NAME, in this call only. The password is read",
                "from standard input; \"<token>\" when it is an identity token."
            })
    @Nullable String user;

    @Option(
            names = "--password-stdin",
            description = "Changes nothing: the password always comes from standard input.")
    boolean passwordStdin;

    /// What others take, so that it can be refused without being shown.
    @Option(names = "--password", arity = "0..1", fallbackValue = "", hidden = true)
    @Nullable String password;

    static void refuse(@Nullable String password) throws ImageException {
        if (password != null) {
            throw ImageException.invalidArgument(
                    "a password on the command line is in the list of processes for every user of this host, and in the shell's history; change it, and give the new one on standard input: --password-stdin < FILE");
        }
    }

    /// Whether a password is read.
    boolean isGiven() {
        return user != null;
    }

    /// Reads the password.
    ///
    /// @param reference of something in the registry
    /// @return empty where nobody is named
    Optional<Credentials> read(String reference) throws ImageException {
        refuse(password);
        if (user == null) {
            checkPasswordStdin(passwordStdin, "--user");
            return Optional.empty();
        }
        checkUser("--user", user);
        String registry = Reference.parse(reference).registry();
        return Optional.of(of(user, SecretInput.read(prompt(user, registry)), "--user"));
    }

    /// What is read, for one registry and no other.
    ///
    /// @param reference of something in that registry
    CredentialSource source(String reference) throws ImageException {
        Optional<Credentials> read = read(reference);
        return read.isEmpty()
                ? CredentialSource.anonymous()
                : CredentialSource.of(Reference.parse(reference).registry(), read.get());
    }

    /// Refuses a command that takes its content from where the password comes from.
    void needNoInput(String what) throws ImageException {
        if (isGiven()) {
            throw ImageException.invalidArgument(
                    what + ": standard input has the password of --user; name a FILE");
        }
    }

    static String prompt(String user, String registry) {
        return "Password for %s at %s: ".formatted(user, registry);
    }

    static void checkUser(String option, String user) throws ImageException {
        if (user.isEmpty() || user.indexOf(':') >= 0) {
            throw ImageException.invalidArgument(
                    option + ": a user name is not empty and has no ':'");
        }
    }

    static void checkPasswordStdin(boolean given, String option) throws ImageException {
        if (given) {
            throw ImageException.invalidArgument(
                    "--password-stdin: whose password? Say %s NAME".formatted(option));
        }
    }

    /// @param option that named the user
    static Credentials of(String user, String secret, String option) throws ImageException {
        if (secret.isEmpty()) {
            throw ImageException.invalidArgument(
                    "no password: give it on standard input, for example %s NAME < FILE"
                            .formatted(option));
        }
        return user.equals(TOKEN_USER)
                ? new Credentials.IdentityToken(secret)
                : new Credentials.Login(user, secret);
    }
}
