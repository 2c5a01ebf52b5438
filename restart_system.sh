#!/bin/sh
# The verbs of the old script, for habits and scripts that have them: each is a command of atlasctl.
# It works from any folder and through a link to this file. docs/from-restart-system.md says more.
set -eu
self=$0
while [ -L "$self" ]; do
    target=$(readlink "$self")
    case $target in
        /*) self=$target ;;
        *) self=$(dirname "$self")/$target ;;
    esac
done
home=$(cd "$(dirname "$self")" && pwd -P)
export ATLAS_CONFIG="${ATLAS_CONFIG:-$home/config/atlas.yaml}"

usage() {
    cat <<TEXT
usage: restart_system.sh VERB [SERVICE...]

  start     start everything and wait until it works    atlasctl up
  stop      stop everything, the supervisor too         atlasctl down; with a SERVICE: stop
  restart   read .env and the rest again, restart       atlasctl reload and restart
  status    what runs, whether it works, why not        atlasctl status
  logs      the last lines; -f goes on with what comes  atlasctl logs
  clean     archive the logs and begin them anew        atlasctl clean
  diagnose  what is wrong and what to do                atlasctl doctor
  help      this list; what else there is:              ./atlasctl --help

Options are passed on. The system is the one of $ATLAS_CONFIG (ATLAS_CONFIG names another).
TEXT
}

ctl() { "$home/atlasctl" "$@"; }

up() {
    "$home/scripts/environment.sh" tts
    ctl up "$@"
}

restart() {
    code=0
    ctl status >/dev/null 2>&1 || code=$?
    if [ "$code" -eq 3 ]; then # no supervisor runs
        up "$@"
        return
    fi
    # The old script read its settings at every restart. With an error in them this is the end of it.
    case ${1:--} in -*) ctl reload "$@" --no-wait >/dev/null ;; esac
    ctl restart "$@"
}

[ $# -gt 0 ] || { usage >&2; exit 2; }
verb=$1
shift
case $verb in
    start) up "$@" ;;
    stop) case ${1:--} in -*) ctl down "$@" ;; *) ctl stop "$@" ;; esac ;;
    restart) restart "$@" ;;
    status | logs | clean) ctl "$verb" "$@" ;;
    diagnose) ctl doctor "$@" ;;
    help | -h | --help) usage ;;
    *)
        echo "restart_system.sh: there is no verb $verb" >&2
        usage >&2
        exit 2
        ;;
esac
