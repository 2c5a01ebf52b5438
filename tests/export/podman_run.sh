#!/bin/sh
# The exported file really run: an image is built, `podman kube play` runs the YAML as it is exported,
# it is spoken to, its probes are asked by the very commands in the file, and it is killed.
#
# Run by test_export_podman.py where ATLAS_PODMAN=1. It takes root, some minutes, a GB of disk, and
#   apt-get install podman runc catatonit containernetworking-plugins debootstrap
# BASE=…      an image to begin with, instead of one made by debootstrap (DEBIAN_MIRROR: from where)
# PIP_*       are handed on to pip in the build; the file PIP_CERT names is lent to it
# PYTHON      the interpreter that has atlasctl; default .venv/bin/python
# KEEP=1      leave the folder with images and volumes, whose name is printed
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/atlas-podman.XXXXXX")
played=

say() { printf '%s\n' "== $*"; }
fail() { printf '%s\n' "FAILED: $*" >&2; exit 1; }

end() {
    code=$?
    trap - EXIT INT TERM
    [ -z "$played" ] || podman kube down "$work/kubernetes.yaml" >/dev/null 2>&1 || :
    podman pod rm -fa >/dev/null 2>&1 || :
    if [ "${KEEP:-}" = 1 ]; then
        say "kept: $work"
    else
        # Mounts and volumes of this folder alone: the storage is its own.
        podman system reset --force >/dev/null 2>&1 || :
        rm -rf "$work"
    fi
    exit $code
}
trap end EXIT INT TERM

# Containers, images and volumes of its own, so that nobody else's are seen and none are left.
cat >"$work/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
CONF
# Below the hard limits of small machines; crun is not everywhere, systemd is not needed.
cat >"$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
export CONTAINERS_STORAGE_CONF="$work/storage.conf" CONTAINERS_CONF="$work/containers.conf"

if [ -z "${BASE:-}" ]; then
    say "making a base image"
    debootstrap --variant=minbase --include=python3-venv bookworm "$work/base" \
        ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log" 2>&1 ||
        { tail -20 "$work/debootstrap.log" >&2; fail debootstrap; }
    BASE=localhost/atlas-base
    tar -C "$work/base" -c . | podman import --quiet - "$BASE" >/dev/null
    rm -rf "$work/base"
fi

say "building the image"
set -- --build-arg "BASE=$BASE"
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CERT; do
    eval "value=\${$name:-}"
    [ -z "$value" ] || set -- "$@" --build-arg "$name=$value"
done
[ -z "${PIP_CERT:-}" ] || set -- "$@" -v "$PIP_CERT:$PIP_CERT:ro"
podman build --network host "$@" -f services/tts/Containerfile -t atlas-tts . \
    >"$work/build.log" 2>&1 || { tail -30 "$work/build.log" >&2; fail build; }
say "image: $(podman image inspect atlas-tts --format '{{.Size}}') bytes"

say "exporting and playing"
# Some releases of podman publish the pod's port on the machine under the same number.
TTS_PORT=$("$python" -c 'import socket; s = socket.create_server(("", 0)); print(s.getsockname()[1])')
export TTS_PORT
"$python" -m supervisor.cli export kubernetes tts -o "$work" 2>"$work/notes"
sed 's/^/   /' "$work/notes"
played=1
podman kube play "$work/kubernetes.yaml" >"$work/play.log" 2>&1 ||
    { cat "$work/play.log" >&2; fail "kube play"; }
# tts-pod-tts, or with a number in it.
container=$(podman ps --all --format '{{.Names}}' --filter 'name=^tts-pod.*-tts$')
[ -n "$container" ] || { podman ps -a >&2; fail "there is no container"; }

"$python" tests/export/podman_story.py "$work/kubernetes.yaml" "$container"
say "all is well"
