#!/bin/sh
# Run as root inside a throw-away booted Debian machine (packaging/test.sh starts one): installs the
# agent's package from /try and has its hardened unit do what needs most of the system: train, export,
# and run a module in its sandbox with every layer. /try/home is a joined home, /try/data.npz its data.
set -eux

state=/var/lib/federated-factory/agent
dpkg -i /try/*.deb
[ "$(stat -c '%a %U' "$state")" = '700 ff-agent' ]
cp -r /try/home/. "$state"
chown -R ff-agent:ff-agent "$state"

# The same unit with another command: what it may do is what is tried.
try() {
    sed -e '/^ExecStartPre=/d' -e 's/^Type=.*/Type=oneshot/' -e '/^Restart/d' -e "s|^ExecStart=.*|ExecStart=$2|" \
        /usr/lib/systemd/system/ff-agent.service >"/run/systemd/system/$1.service"
    systemctl daemon-reload
    systemctl start "$1.service" || { journalctl --no-pager -u "$1.service"; return 1; }
    journalctl --no-pager -o cat -u "$1.service"
}

echo 'from client_agent.sandbox.layers import layers_in_force as f; print(sorted(f()))' >/run/layers.py
try ff-layers "/usr/lib/federated-factory/agent/bin/python /run/layers.py" | tee /try/layers
try ff-train "/usr/bin/ff-agent train --home $state --data /try/data.npz --classes zero --steps 3 --threads 1 --retrain"
grep -q "'landlock', 'limits', 'namespaces', 'seccomp'" /try/layers

dpkg -P federated-factory-agent | tee /try/purge.log
grep -q "NOT deleted: $state" /try/purge.log
[ -e "$state/keys/signing.key" ] && [ ! -e /usr/lib/federated-factory ]
