#!/bin/sh
# Runs an installed program as packaging/test.sh confines it: a home is made, a server starts, answers
# and stops; the agent starts and says what is missing.
set -eu

program="$1"
"$program" --version
case "$program" in
    */ff-coordinator)
        printf 'classes: [zero, one]\nimage: {size: 8, channels: 1}\n' >/tmp/spec.yaml
        mkdir /tmp/home
        "$program" init --home /tmp/home --federation Try --spec /tmp/spec.yaml --host localhost
        "$program" serve --home /tmp/home --listen 127.0.0.1:7443 --health 127.0.0.1:8443 &
        server=$!
        tries=0
        until python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8443), 2)' 2>/dev/null; do
            tries=$((tries + 1))
            [ "$tries" -lt 120 ]
            sleep 0.5
        done
        "$program" doctor --home /tmp/home
        kill -TERM "$server"
        wait "$server" # its exit code is this script's
        ;;
    *)
        status=0
        "$program" status --home /tmp/home || status=$?
        [ "$status" = 7 ] # nobody has joined here
        ;;
esac
