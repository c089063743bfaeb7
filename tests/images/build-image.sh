#!/bin/bash
# Builds a real multi-layer Debian image as an OCI layout and prints the layout's directory.
#
#   tests/images/build-image.sh small|big [DIRECTORY]
#
#   small  minbase, two layers of packages and one layer of corner cases (hard links, extended
#          attributes, devices, whiteouts, opaque directories, odd owners, modes, times and names);
#          for the end-to-end tests
#   big    minbase and five layers of packages: over 200 MB compressed, over 15,000 files; for the
#          benchmarks
#
# The layout's only image is tagged "12". Layouts are kept in DIRECTORY (default: $IMGD_TEST_CACHE,
# else /var/cache/imgd-tests) under a name that contains the checksum of this script, and built again
# only when it changes. Several callers may run it at once. All mounts live in a mount namespace of
# their own. Needs root, debootstrap, unshare, attr, libcap2-bin, gzip and the network.
set -euo pipefail
export LC_ALL=C.UTF-8 TZ=UTC

self=$(readlink -f "${BASH_SOURCE[0]}")
profile=${1:-}
cache=${2:-${IMGD_TEST_CACHE:-/var/cache/imgd-tests}}
suite=bookworm
mirror=${IMGD_TEST_DEBIAN_MIRROR:-http://deb.debian.org/debian}

case $profile in
    small)
        layers=("ca-certificates curl" "python3-minimal less")
        corners=yes
        ;;
    big)
        layers=("git curl python3 python3-pip" "build-essential" "golang-go" "vim emacs-nox"
            "nginx postgresql")
        corners=no
        ;;
    *)
        sed -n '2,16s/^# \{0,1\}//p' "$self" >&2
        exit 2
        ;;
esac

say() { echo "build-image: $*" >&2; }

version=$(sha256sum <"$self" | cut -c1-12)
layout=$cache/$profile-$version
mkdir -p "$cache"
if [ -e "$layout/oci-layout" ]; then
    echo "$layout"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    say "cannot build the $profile image: root is needed for debootstrap and overlay mounts; run as root"
    exit 1
fi
if [ -z "${IMGD_BUILD_IMAGE_INNER:-}" ]; then
    exec {lock}>"$cache/.lock"
    flock "$lock"
    # The namespace takes all mounts with it, however this ends. stdout carries only the result.
    IMGD_BUILD_IMAGE_INNER=yes unshare --mount --propagation private \
        "$self" "$profile" "$cache" {lock}>&- >&2
    echo "$layout"
    exit 0
fi

work=$(mktemp -d "$cache/work.XXXXXXXX")
trap 'umount -R "$work/merged" 2>/dev/null || true; rm -rf "$work"' EXIT
out=$work/out
mkfifo "$work/copy"
mkdir -p "$out/blobs/sha256" "$work/merged" "$cache/debs/partial" "$cache/lists/partial"

base=$cache/minbase-$suite.tar
if [ ! -e "$base" ]; then
    say "debootstrap $suite from $mirror"
    debootstrap --variant=minbase --cache-dir="$cache/debs" "$suite" "$work/base" "$mirror" \
        >"$work/debootstrap.log" 2>&1 || { tail -n 20 "$work/debootstrap.log" >&2; exit 1; }
    rm -rf "$work/base/var/cache/apt/archives/"*.deb "$work/base/var/lib/apt/lists/"*
    mkdir -p "$work/base/var/lib/apt/lists/partial"
    tar -C "$work/base" --numeric-owner --xattrs -cf "$work/base.tar" .
    mv "$work/base.tar" "$base"
else
    mkdir "$work/base"
    tar -C "$work/base" --numeric-owner --xattrs --xattrs-include='*' -xpf "$base"
fi
# Nothing that a package starts may outlive the build.
printf '#!/bin/sh\nexit 101\n' >"$work/base/usr/sbin/policy-rc.d"
chmod 0755 "$work/base/usr/sbin/policy-rc.d"
cat >"$work/base/etc/apt/sources.list" <<LIST
deb $mirror $suite main
LIST

# merge LOWER... : mounts the trees (lowest first) with $work/upper on top.
merge() {
    local lower='' tree
    for tree in "$@"; do lower=$tree${lower:+:$lower}; done
    mkdir -p "$upper" "$work/ovl"
    mount -t overlay overlay -o \
        "lowerdir=$lower,upperdir=$upper,workdir=$work/ovl,redirect_dir=off,metacopy=off,index=off" \
        "$work/merged"
}

# install PACKAGE... : into $work/merged, with package lists and archives kept outside the tree.
install_packages() {
    local root=$work/merged
    mount --bind "$cache/lists" "$root/var/lib/apt/lists"
    mount --bind "$cache/debs" "$root/var/cache/apt/archives"
    mount -t proc proc "$root/proc"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
    chroot "$root" sh -eu >"$work/apt.log" 2>&1 <<CHROOT || { tail -n 20 "$work/apt.log" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
apt-get -q update
apt-get -q -y -o APT::Sandbox::User=root --no-install-recommends install $*
rm -f /var/cache/apt/*.bin
CHROOT
    umount "$root/etc/resolv.conf" "$root/proc" "$root/var/cache/apt/archives" \
        "$root/var/lib/apt/lists"
}

# corner_cases : into $work/merged, everything a layer can hold that packages do not.
corner_cases() (
    cd "$work/merged"
    mkdir -p corner/links corner/dirs corner/names corner/times
    echo one >corner/links/a
    ln corner/links/a corner/links/b
    ln corner/links/a corner/c
    ln -s a corner/links/symbolic
    ln -s /nowhere/at/all corner/links/dangling
    ln -s ../../../../etc/passwd corner/links/upwards
    ln corner/links/symbolic corner/links/hard-to-symbolic
    mknod corner/char c 1 3
    mknod corner/block b 7 200
    mknod corner/big-numbers c 240 70000
    mkfifo -m 0640 corner/fifo
    ln corner/char corner/char-again
    : >corner/empty
    head -c 1048577 /dev/zero >corner/zeros
    echo x >corner/setuid && chmod 4755 corner/setuid
    echo x >corner/setgid && chown 12:34 corner/setgid && chmod 2711 corner/setgid
    echo x >corner/none && chmod 0 corner/none
    mkdir -m 1777 corner/dirs/sticky
    mkdir -m 0500 corner/dirs/closed
    echo x >corner/big-owner && chown 3000000:4000000 corner/big-owner
    echo x >corner/attributes
    setfattr -n user.text -v 'value with = and "quotes"' corner/attributes
    setfattr -n user.bytes -v 0x00ff0a80 corner/attributes
    setfattr -n user.on-directory -v yes corner/dirs
    cp bin/true corner/capable && setcap cap_net_raw,cap_net_bind_service+ep corner/capable
    echo x >"corner/names/with space"
    echo x >$'corner/names/new\nline'
    echo x >corner/names/$'\303\251\344\270\255\360\237\220\263'
    echo x >"corner/names/back\\slash"
    echo x >corner/names/-dash
    echo x >"corner/names/$(printf 'n%.0s' {1..255})"
    deep=corner/names/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})
    mkdir -p "$deep" && echo x >"$deep/$(printf 'f%.0s' {1..100})"
    ln -s "$(printf 'target/%.0s' {1..40})end" corner/names/long-link
    for time in @0 @1 @1700000000.123456789 @4102444800 @9000000000; do
        echo x >"corner/times/$time" && touch -d "$time" "corner/times/$time"
    done
    # Changes to what lower layers hold.
    rm etc/motd
    rm -r usr/share/doc && mkdir usr/share/doc && echo opaque >usr/share/doc/new
    rm -r usr/share/bash-completion && echo file >usr/share/bash-completion
    rm etc/issue && mkdir etc/issue && echo directory >etc/issue/inside
    rm -r var/opt && ln -s ../tmp var/opt
    chmod 0600 etc/profile
    chown 7:8 usr/share/misc
    chmod 0711 srv
    touch -d @1500000000 mnt
    mv etc/debian_version etc/debian_version.moved
)

# layer TREE : packs an overlay upper directory as a gzip layer; sets $diff, $digest and $size.
layer() {
    local tree=$1 path
    find "$tree" -type c -print0 | while IFS= read -r -d '' path; do
        if [ "$(stat -c %t:%T "$path")" = 0:0 ]; then
            rm "$path"
            : >"$(dirname "$path")/.wh.$(basename "$path")"
        fi
    done
    getfattr -R -h -P --absolute-names -m '^trusted\.overlay\.opaque$' "$tree" 2>/dev/null |
        sed -n 's/^# file: //p' >"$work/opaque"
    while IFS= read -r path; do
        : >"$(printf '%b' "$path")/.wh..wh..opq"
    done <"$work/opaque"
    sha256sum <"$work/copy" >"$work/diff" &
    hashing=$!
    (cd "$tree" && find . -mindepth 1 -printf '%P\0' | sort -z) |
        tar -C "$tree" --null --no-recursion --numeric-owner --format=pax \
            --pax-option='delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f' \
            --xattrs --xattrs-include='user.*' --xattrs-include='security.capability' \
            -T - -cf - |
        tee "$work/copy" | gzip -n -6 >"$work/layer.gz"
    wait "$hashing"
    diff=$(cut -d' ' -f1 <"$work/diff")
    store "$work/layer.gz"
    say "layer $digest, $size bytes"
}

# store FILE : moves a file to the layout's blobs; sets $digest and $size.
store() {
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    size=$(stat -c %s "$1")
    mv "$1" "$out/blobs/sha256/$digest"
}

trees=("$work/base")
diffs='' descriptors='' history=''
add() {
    diffs=$diffs${diffs:+,}\"sha256:$diff\"
    descriptors=$descriptors${descriptors:+,}'{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"'
    descriptors=$descriptors,\"digest\":\"sha256:$digest\",\"size\":$size}
    history=$history${history:+,}'{"created":"2026-01-01T00:00:00Z","created_by":"'$1'"}'
}

say "base layer"
layer "$work/base"
add "debootstrap $suite"
index=0
for packages in "${layers[@]}"; do
    index=$((index + 1))
    upper=$work/upper-$index
    say "layer of $packages"
    merge "${trees[@]}"
    # shellcheck disable=SC2086 # a list of words
    install_packages $packages
    umount "$work/merged"
    cp -a "$upper" "$work/tree-$index"
    layer "$work/tree-$index"
    add "apt-get install $packages"
    trees+=("$upper")
done
if [ "$corners" = yes ]; then
    upper=$work/upper-corner
    merge "${trees[@]}"
    corner_cases
    umount "$work/merged"
    layer "$upper"
    add "corner cases"
fi

case $(uname -m) in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 ;;
    *) architecture=$(dpkg --print-architecture) ;;
esac
printf '%s' '{"created":"2026-01-01T00:00:00Z","architecture":"'$architecture'","os":"linux",' \
    '"config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],' \
    '"Cmd":["/bin/bash"],"WorkingDir":"/"},' \
    '"rootfs":{"type":"layers","diff_ids":['"$diffs"']},"history":['"$history"']}' >"$work/config"
store "$work/config"
printf '%s' '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",' \
    '"config":{"mediaType":"application/vnd.oci.image.config.v1+json",' \
    '"digest":"sha256:'"$digest"'","size":'"$size"'},"layers":['"$descriptors"']}' >"$work/manifest"
store "$work/manifest"
printf '%s' '{"schemaVersion":2,"manifests":[{' \
    '"mediaType":"application/vnd.oci.image.manifest.v1+json",' \
    '"digest":"sha256:'"$digest"'","size":'"$size"',' \
    '"platform":{"architecture":"'$architecture'","os":"linux"},' \
    '"annotations":{"org.opencontainers.image.ref.name":"12"}}]}' >"$out/index.json"
printf '%s' '{"imageLayoutVersion":"1.0.0"}' >"$out/oci-layout"

files=$(for tree in "${trees[@]}"; do find "$tree"; done | wc -l)
say "$profile: $(du -sh "$out" | cut -f1) compressed, $files files"
mv "$out" "$layout"
