# Sourced by ./imgctl and ./imgd with $home, $program and $mode set: finds a JDK, builds what is missing and
# replaces the shell by the JVM. Plain sh and as few processes as possible, since every call pays for it.

dist=$home/cli/target/dist
jars=$dist/lib

fail() {
    echo "imgd: $*" >&2
    exit 1
}

# Sets java_home to a JDK 25 or later; the answer is kept in $dist/java-home for the next call.
find_jdk() {
    for candidate in "${IMGD_JAVA_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/* /opt/java/* /opt/jdk* \
        /usr/local/openjdk* /Library/Java/JavaVirtualMachines/*/Contents/Home; do
        [ -n "$candidate" ] && [ -x "$candidate/bin/javac" ] && [ -r "$candidate/release" ] || continue
        release=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$candidate/release")
        if [ "${release:-0}" -ge 25 ]; then
            java_home=$candidate
            return
        fi
    done
    fail "no JDK 25 or later found in IMGD_JAVA_HOME, JAVA_HOME or /usr/lib/jvm; install one" \
        "(for example the package temurin-25-jdk) or set IMGD_JAVA_HOME to it"
}

build() {
    command -v mvn >/dev/null 2>&1 || fail "mvn not found; install Maven 3.8.7 or later (package maven)"
    echo "imgd: building on first use, this takes a few minutes ..." >&2
    log=$home/cli/target/build.log
    mkdir -p "$home/cli/target"
    if ! (cd "$home" && mvn -B -ntp -pl cli -am -DskipTests package >"$log" 2>&1 </dev/null); then
        tail -n 30 "$log" >&2
        fail "the build failed; the whole log is in $log"
    fi
}

# Records which classes start-up needs, so that the next start maps them instead of parsing them.
train() {
    if [ "$mode" = daemon ]; then
        echo "imgd: preparing the first start, this takes some seconds ..." >&2
    fi
    rm -f "$dist/$mode.aot"
    # shellcheck disable=SC2086
    "$java_home/bin/java" $options -XX:AOTCacheOutput="$dist/$mode.aot.new" -Xlog:aot=off,cds=off \
        -Dimgd.dist="$dist" -Dimgd.native.dir="$dist/native" -Djava.library.path="$dist/native" \
        -cp "$classpath" dev.imgd.cli.Training "$mode" >"$dist/$mode.training.log" 2>&1 </dev/null || true
    if [ -s "$dist/$mode.aot.new" ]; then
        mv "$dist/$mode.aot.new" "$dist/$mode.aot"
    else
        # Works without, only slower; an empty file keeps every call from trying again.
        : >"$dist/$mode.aot"
    fi
}

prepare() {
    mkdir -p "$home/cli/target"
    exec 9>"$home/cli/target/.launcher.lock"
    flock 9
    find_jdk
    [ -f "$jars/imgd-cli.jar" ] || build
    mkdir -p "$dist"
    printf '%s\n' "$java_home" >"$dist/java-home"
    classpath=
    for jar in "$jars"/*.jar; do classpath=$classpath:$jar; done
    classpath=${classpath#:}
    printf '%s\n' "$classpath" >"$dist/classpath"
    if [ ! -f "$dist/$mode.aot" ] || [ "$jars/imgd-cli.jar" -nt "$dist/$mode.aot" ]; then
        train
    fi
    exec 9>&-
}

# SerialGC and small arenas keep the footprint down. Both compile with C1 only: the heavy work is native, and C2
# takes more processor time from the first pulls than its code ever gives back to later ones.
options="-XX:+UseSerialGC -XX:+UseCompactObjectHeaders -XX:-UsePerfData -XX:+DisableAttachMechanism
 --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow -XX:MaxDirectMemorySize=96m
 -Djava.awt.headless=true -Xss512k -XX:TieredStopAtLevel=1"
if [ "$mode" = cli ]; then
    # Looking in vain for Groovy, picocli would open every jar, which the start-up cache makes unnecessary.
    options="$options -Xms16m -Xmx128m -Dpicocli.disable.closures=true"
else
    options="$options -XX:+ExitOnOutOfMemoryError -Xms32m -Xmx160m"
fi

# Without an absolute path the start-up cache would not match from another directory.
case $home in /*) ;; *) home=$(cd "$home" && pwd -P); dist=$home/cli/target/dist; jars=$dist/lib ;; esac

if [ ! -f "$dist/$mode.aot" ] || [ ! -f "$dist/classpath" ] || [ ! -f "$jars/imgd-cli.jar" ] ||
    [ "$jars/imgd-cli.jar" -nt "$dist/$mode.aot" ]; then
    prepare
fi
read -r java_home <"$dist/java-home"
if [ ! -x "$java_home/bin/java" ]; then
    prepare
    read -r java_home <"$dist/java-home"
fi
read -r classpath <"$dist/classpath"

# glibc's per-thread arenas would hold on to memory that native code freed.
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"
# Keeps RocksDB's loader from running ldd to find out which libc this is; the library is glibc's.
export ROCKSDB_MUSL_LIBC=false
# shellcheck disable=SC2086
exec "$java_home/bin/java" $options -XX:AOTCache="$dist/$mode.aot" -Xlog:disable \
    -Dimgd.dist="$dist" -Dimgd.native.dir="$dist/native" -Djava.library.path="$dist/native" \
    -cp "$classpath" ${IMGD_JAVA_OPTIONS:-} "$program" "$@"
