#!/bin/sh
# The slow tests of packaging, on this machine: `make package-test`. Nothing of it is part of `make test`.
#
#   packaging/test.sh [coordinator|agent]...
#
# Makes a wheelhouse, installs from it without a network, runs what was installed read-only and without
# privileges, builds the Debian package, and in a booted throw-away Debian machine installs, starts,
# upgrades, removes and purges it. What this machine cannot do is skipped, and said.
#
# WORK           where to work [a temporary folder]; wheelhouses that are there already are used
# PYTHON         makes the wheelhouse, must have pip [python3]
# DEBIAN_PYTHON  the same version without pip [/usr/bin/python3]
# DEBIAN_MIRROR  for debootstrap [its default]
set -eu

root="$(cd "$(dirname "$0")/.." && pwd)"
here="$root/packaging"
work="${WORK:-$(mktemp -d)}"
mkdir -p "$work"
work="$(cd "$work" && pwd)"
debian_python="${DEBIAN_PYTHON:-/usr/bin/python3}"
[ $# -gt 0 ] || set -- coordinator agent

have() { command -v "$1" >/dev/null 2>&1; }
skip() { echo "SKIPPED $1: $2"; }
seconds() { date +%s; }
fail() {
    echo "FAILED $1" >&2
    exit 1
}

install_without_network() {
    role="$1" tree="$work/$1-tree" prefix="/opt/federated-factory/$1"
    rm -rf "$tree"
    begun="$(seconds)"
    if unshare --net true 2>/dev/null; then
        unshare --net sh "$work/$role-wheels/install.sh" --python "$debian_python" --destdir "$tree" --prefix "$prefix"
    else
        skip "without a network" "unshare --net is not permitted"
        sh "$work/$role-wheels/install.sh" --python "$debian_python" --destdir "$tree" --prefix "$prefix"
    fi
    took="$(($(seconds) - begun))"
    size="$(du -sm "$tree" | cut -f1)"
    echo "$role: installed in $took s, $size MiB"
    if [ "$role" = coordinator ]; then
        [ "$size" -lt 150 ] || fail "the coordinator takes $size MiB, 150 are allowed"
    fi
    unwanted="$(find "$tree" \( -name 'pip' -o -name 'gcc*' -o -name 'cc1*' -o -name nvcc \))"
    [ -z "$unwanted" ] || fail "not meant to be installed: $unwanted"
}

run_confined() {
    role="$1" tree="$work/$1-tree/opt/federated-factory"
    have bwrap || { skip "read-only and without privileges" "no bwrap"; return; }

    program="/opt/federated-factory/$role/bin/ff-$role"
    bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --tmpfs /opt --ro-bind "$tree" /opt/federated-factory \
        --ro-bind "$here/serve-once.sh" /tmp/serve-once.sh \
        --unshare-all --uid 65534 --gid 65534 --setenv HOME /tmp --chdir /tmp \
        sh /tmp/serve-once.sh "$program"
    echo "$role: runs read-only, without a network, as nobody"
}

boot() { # PACKAGE SCRIPT
    for tool in debootstrap systemd-nspawn; do
        have "$tool" || { skip "installing $1 in a booted machine" "no $tool"; return; }
    done
    [ "$(id -u)" = 0 ] || { skip "installing $1 in a booted machine" "needs root"; return; }
    machine="$work/machine"
    if [ ! -e "$machine/.ready" ]; then
        debootstrap --variant=minbase --include=adduser,ca-certificates,dbus,python3,systemd,systemd-sysv \
            bookworm "$machine" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log"
        cat >"$machine/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /try/try.sh >/try/log 2>&1; echo $? >/try/status'
ExecStopPost=/bin/systemctl poweroff --no-block
UNIT
        mkdir -p "$machine/etc/systemd/system/multi-user.target.wants"
        ln -s ../try.service "$machine/etc/systemd/system/multi-user.target.wants/try.service"
        touch "$machine/.ready"
    fi
    try="$work/try"
    rm -rf "$try"
    mkdir "$try"
    cp "$1" "$try"
    cp "$2" "$try/try.sh"
    printf 'classes: [zero, one, two]\nimage: {size: 8, channels: 1}\n' >"$try/spec.yaml"
    if [ -d "$work/home" ]; then
        cp -r "$work/home" "$work/data.npz" "$try"
    fi
    # nspawn's own list of system calls is older than Landlock.
    timeout 900 systemd-nspawn --quiet --register=no --keep-unit --ephemeral --private-network \
        --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
        --bind="$try:/try" --boot --directory="$machine" </dev/null >"$work/boot.log" 2>&1 || true
    [ "$(cat "$try/status" 2>/dev/null)" = 0 ] || {
        tail -n 40 "$try/log" "$work/boot.log" >&2
        fail "$2 (see $try/log)"
    }
    echo "$(basename "$1"): installed, ran, removed and purged in a booted machine"
}

for role in "$@"; do
    [ -e "$work/$role-wheels/SHA256SUMS" ] || {
        rm -rf "$work/$role-wheels"
        sh "$here/wheelhouse.sh" "$role" "$work/$role-wheels"
    }
    install_without_network "$role"
    run_confined "$role"
    if have dpkg-deb; then
        PYTHON="$debian_python" sh "$here/debian/build.sh" "$work/$role-wheels" "$work"
        if [ "$role" != coordinator ]; then
            skip lintian "both packages come of one script; of the agent's it would judge torch and scipy"
        elif have lintian; then
            lintian --fail-on error "$work"/federated-factory-coordinator_*.deb
        else
            skip lintian "not installed"
        fi
        case "$role" in
            coordinator) boot "$work"/federated-factory-coordinator_*.deb "$here/debian/try.sh" ;;
            *)
                rm -rf "${work:?}/home"
                "${PYTHON:-python3}" "$here/try_home.py" "$work"
                boot "$work"/federated-factory-agent_*.deb "$here/debian/try-agent.sh"
                ;;
        esac
    else
        skip "the Debian package" "no dpkg-deb"
    fi
done
