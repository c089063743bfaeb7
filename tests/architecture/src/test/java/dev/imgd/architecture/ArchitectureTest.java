package dev.imgd.architecture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;

/// The arrows between modules, as DESIGN.md draws them. A module may use what its arrows reach,
/// directly or through others; its package and the packages below belong to it.
class ArchitectureTest {
    private static final String ROOT = "dev.imgd.";

    private static final Map<String, Set<String>> ARROWS = new LinkedHashMap<>();

    static {
        ARROWS.put("model", Set.of());
        ARROWS.put("linux", Set.of("model"));
        ARROWS.put("hosts", Set.of("model"));
        ARROWS.put("registry", Set.of("model", "hosts"));
        ARROWS.put("trust", Set.of("model", "registry"));
        ARROWS.put("content", Set.of("model", "linux"));
        ARROWS.put("layers", Set.of("model", "linux"));
        ARROWS.put("snapshot", Set.of("model", "content"));
        ARROWS.put("snapshot.overlay", Set.of("snapshot", "layers", "linux"));
        ARROWS.put("gc", Set.of("content", "snapshot"));
        ARROWS.put("image", Set.of("registry", "trust", "content", "layers", "snapshot", "gc"));
        ARROWS.put("plugin", Set.of("image", "snapshot.overlay"));
        ARROWS.put("cli", Set.of("plugin"));
    }

    private static final JavaClasses CLASSES =
            new ClassFileImporter()
                    .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
                    .importPackages("dev.imgd");

    @Test
    void everyPackage_belongsToAKnownModule() {
        Set<String> unknown = new TreeSet<>();
        for (JavaClass type : CLASSES) {
            if (module(type.getPackageName()).isEmpty()) {
                unknown.add(type.getPackageName());
            }
        }
        assertEquals(Set.of(), unknown, "give new modules their arrows here and in DESIGN.md");
    }

    @Test
    void everyModule_hasClasses() {
        Set<String> present = new TreeSet<>();
        CLASSES.forEach(type -> present.add(module(type.getPackageName())));
        Set<String> missing = new TreeSet<>(ARROWS.keySet());
        missing.removeAll(present);
        assertEquals(Set.of(), missing, "modules named here that the class path does not have");
    }

    @Test
    void arrows_haveNoCycle() {
        for (String module : ARROWS.keySet()) {
            assertTrue(!reachable(module).contains(module), module + " reaches itself");
        }
    }

    @Test
    void modules_useOnlyWhatTheirArrowsReach() {
        List<String> wrong = new ArrayList<>();
        for (JavaClass type : CLASSES) {
            String module = module(type.getPackageName());
            Set<String> allowed = reachable(module);
            violations(
                    type,
                    target ->
                            target.getPackageName().startsWith(ROOT)
                                    && !module(target.getPackageName()).equals(module)
                                    && !allowed.contains(module(target.getPackageName())),
                    wrong);
        }
        assertEquals(List.of(), wrong);
    }

    @Test
    void foreignMemory_onlyInLinux() {
        List<String> wrong = new ArrayList<>();
        for (JavaClass type : CLASSES) {
            if (!module(type.getPackageName()).equals("linux")) {
                violations(
                        type,
                        target ->
                                target.getPackageName().equals("java.lang.foreign")
                                        || target.getName().equals("sun.misc.Unsafe"),
                        wrong);
            }
        }
        assertEquals(List.of(), wrong);
    }

    @Test
    void model_usesOnlyTheJdkAndJackson() {
        List<String> allowed =
                List.of(
                        "java.",
                        ROOT + "model",
                        "tools.jackson.",
                        "com.fasterxml.jackson.annotation",
                        "org.jspecify.annotations",
                        "com.google.errorprone.annotations");
        List<String> wrong = new ArrayList<>();
        for (JavaClass type : CLASSES) {
            if (module(type.getPackageName()).equals("model")) {
                violations(
                        type,
                        target ->
                                !target.getPackageName().isEmpty()
                                        && allowed.stream()
                                                .noneMatch(target.getPackageName()::startsWith),
                        wrong);
            }
        }
        assertEquals(List.of(), wrong);
    }

    @Test
    void serialization_unused() {
        List<String> wrong = new ArrayList<>();
        for (JavaClass type : CLASSES) {
            violations(
                    type,
                    target ->
                            target.getName().equals("java.io.ObjectInputStream")
                                    || target.getName().equals("java.io.ObjectOutputStream"),
                    wrong);
        }
        assertEquals(List.of(), wrong);
    }

    private static void violations(
            JavaClass type, Predicate<JavaClass> forbidden, List<String> wrong) {
        for (Dependency dependency : type.getDirectDependenciesFromSelf()) {
            if (forbidden.test(dependency.getTargetClass().getBaseComponentType())) {
                wrong.add(dependency.getDescription());
            }
        }
    }

    /// The module of a package: the longest one whose name it starts with; empty when there is
    /// none.
    private static String module(String packageName) {
        String found = "";
        for (String module : ARROWS.keySet()) {
            String own = ROOT + module;
            if ((packageName.equals(own) || packageName.startsWith(own + "."))
                    && module.length() > found.length()) {
                found = module;
            }
        }
        return found;
    }

    private static Set<String> reachable(String module) {
        Set<String> reached = new TreeSet<>();
        List<String> open = new ArrayList<>(ARROWS.getOrDefault(module, Set.of()));
        while (!open.isEmpty()) {
            String next = open.removeLast();
            if (reached.add(next)) {
                open.addAll(ARROWS.getOrDefault(next, Set.of()));
            }
        }
        return reached;
    }
}
