package dev.imgd.registry;

import dev.imgd.hosts.RegistryHost;
import dev.imgd.model.ImageException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/// What a token must allow.
///
/// @param repository whose credentials are used; empty for the registry as a whole
/// @param actions what is done in it, as token servers name them
/// @param from a further repository that is read; empty for none
/// @param purpose for messages, for example `pull library/debian`
record Scope(String repository, String actions, String from, String purpose) {

    static Scope pull(String repository) {
        return new Scope(repository, "pull", "", "pull " + repository);
    }

    static Scope push(String repository) {
        return mount(repository, "");
    }

    /// To push to one repository what is already in another of the same registry.
    static Scope mount(String repository, String from) {
        return new Scope(repository, "pull,push", from, "push to " + repository);
    }

    static Scope delete(String repository) {
        return new Scope(repository, "delete,pull,push", "", "delete from " + repository);
    }

    /// Nothing but to find out whether credentials are good.
    ///
    /// @param repository whose credentials are used; empty for the registry as a whole
    static Scope login(String repository) {
        return new Scope(repository, "", "", "log in");
    }

    boolean isLogin() {
        return actions.isEmpty();
    }

    static Scope catalog() {
        return new Scope("", "*", "", "list repositories");
    }

    /// The same with the names that the repositories have at a host.
    Scope at(RegistryHost host) throws ImageException {
        String here = repository.isEmpty() ? "" : host.repository(repository);
        String there = from.isEmpty() ? "" : host.repository(from);
        return here.equals(repository) && there.equals(from)
                ? this
                : new Scope(here, actions, there, purpose);
    }

    /// The one that matters most comes first: some token servers honour only that.
    List<String> values() {
        if (actions.isEmpty()) {
            return List.of();
        }
        if (repository.isEmpty()) {
            return List.of("registry:catalog:" + actions);
        }
        String own = "repository:" + repository + ':' + actions;
        return from.isEmpty() ? List.of(own) : List.of(own, "repository:" + from + ":pull");
    }

    /// The same with what a registry missed at the front.
    ///
    /// @param missed scopes with blanks between; those that are not ours are left out
    List<String> values(String missed) {
        List<String> values = values();
        if (missed.isEmpty() || values.size() < 2) {
            return values;
        }
        List<String> wanted = List.of(missed.split(" ", -1));
        List<String> ordered = new ArrayList<>(values);
        ordered.sort(Comparator.comparingInt(value -> isAmong(value, wanted) ? 0 : 1));
        return ordered;
    }

    /// Compares types and names, not actions, which may come in any order.
    private static boolean isAmong(String value, List<String> wanted) {
        String name = value.substring(0, value.lastIndexOf(':') + 1);
        return wanted.stream().anyMatch(other -> other.startsWith(name));
    }

    /// One token serves everything that asks for the same.
    String key() {
        return actions + ' ' + repository + ' ' + from;
    }
}
