#!/bin/sh
# Run as root inside a throw-away booted Debian machine (packaging/test.sh starts one): installs the
# coordinator's package from /try, serves under systemd, upgrades, removes, purges.
set -eux

state=/var/lib/federated-factory/coordinator
home="$state"
unit=ff-coordinator.service

port_open() {
    python3 -c 'import socket; socket.create_connection(("127.0.0.1", 7443), 2)' 2>/dev/null
}
not() { ! "$@"; }
soon() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 120 ] || { journalctl --no-pager -u "$unit"; return 1; }
        sleep 0.5
    done
}
as_service() { runuser -u ff-coordinator -- "$@"; }

dpkg -i /try/*.deb
[ "$(stat -c '%a %U' "$state")" = '700 ff-coordinator' ]
not systemctl is-enabled "$unit"
systemctl start "$unit"
not systemctl is-active "$unit" # no home yet: its condition says so, nothing fails
systemctl show -p ConditionResult "$unit" | grep -q no

as_service ff-coordinator init --home "$home" --federation Try --spec /try/spec.yaml --host localhost
systemctl enable --now "$unit"
soon port_open
pid="$(systemctl show -p MainPID --value "$unit")"
[ "$(stat -c %U "/proc/$pid")" = ff-coordinator ]
grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status"
as_service ff-coordinator doctor --home "$home"
systemctl reload "$unit"
[ "$(systemctl show -p MainPID --value "$unit")" = "$pid" ]
systemctl stop "$unit"
systemctl show -p Result -p ExecMainStatus "$unit" | tr '\n' ' ' | grep -q 'Result=success ExecMainStatus=0'

systemctl start "$unit"
soon port_open
pid="$(systemctl show -p MainPID --value "$unit")"
echo 'FF_COORDINATOR_OPTIONS="--listen 127.0.0.1:7443"' >/etc/default/ff-coordinator
dpkg -i --force-confold /try/*.deb
soon port_open
[ "$(systemctl show -p MainPID --value "$unit")" != "$pid" ] # the new version is what runs
grep -q 127.0.0.1 /etc/default/ff-coordinator

before="$(find "$home" -type f -exec sha256sum {} + | sort)"
apt-get remove -y federated-factory-coordinator
not systemctl is-active "$unit"
[ ! -e /usr/lib/federated-factory ] && [ ! -e /usr/bin/ff-coordinator ] && [ -e /etc/default/ff-coordinator ]
[ "$before" = "$(find "$home" -type f -exec sha256sum {} + | sort)" ]

dpkg -P federated-factory-coordinator | tee /try/purge.log
grep -q "NOT deleted: $state" /try/purge.log
[ ! -e /etc/default/ff-coordinator ]
[ "$before" = "$(find "$home" -type f -exec sha256sum {} + | sort)" ]
getent passwd ff-coordinator

# Installed again, and purged with nothing in the home: nothing stays.
rm -r "$state"
dpkg -i /try/*.deb
dpkg -P federated-factory-coordinator
[ ! -e "$state" ] && [ ! -e /var/lib/federated-factory ] && not getent passwd ff-coordinator
