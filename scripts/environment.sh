#!/bin/sh
# Makes .venv with what was asked for: `scripts/environment.sh tts` or `tts,dev`.
# A second run with nothing changed takes no time and needs no network.
# PYTHON=/path/to/python chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."
extras=${1:-tts}

say() { printf '%s\n' "$*" >&2; }

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# A Mac's own python3 is 3.9; Homebrew's and pyenv's may be there and not on PATH.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" && { printf '%s' "$PYTHON"; return; }
        say "PYTHON=$PYTHON is not a Python of at least 3.11."
        exit 2
    fi
    for name in python3.13 python3.12 python3.11 python3 python; do
        for candidate in "$(command -v "$name" 2>/dev/null || :)" \
            "/opt/homebrew/bin/$name" "/usr/local/bin/$name" "/opt/local/bin/$name"; do
            if [ -n "$candidate" ] && fits "$candidate"; then
                printf '%s' "$candidate"
                return
            fi
        done
    done
    for candidate in "${HOME:-/nonexistent}"/.pyenv/versions/*/bin/python3; do
        if fits "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    say "No Python of at least 3.11 was found. Install one, then run this again:"
    if [ "$(uname)" = Darwin ]; then
        say "    brew install python@3.12"
    else
        say "    Debian, Ubuntu:  sudo apt install python3 python3-venv"
        say "    Fedora:          sudo dnf install python3"
    fi
    say "or name one: PYTHON=/path/to/python3 make up"
    exit 2
}

# Everything that the environment depends on; a change of any of it makes it anew.
fingerprint() {
    { printf '%s\n' "$extras"; cat pyproject.toml constraints.txt scripts/environment.sh; } | cksum
}

stamp=.venv/atlas-stamp
# What an earlier call installed stays: `make up` after `make test` takes nothing away.
if [ -f "$stamp.extras" ]; then
    case ",$(cat "$stamp.extras")," in
        *",dev,"*) extras=tts,dev ;;
    esac
fi
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null || :)" = "$(fingerprint)" ]; then
    exit 0
fi

if [ ! -x .venv/bin/python ] || ! fits .venv/bin/python; then
    python=$(find_python)
    if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        say "$python has no working venv module. Install it, then run this again:"
        say "    Debian, Ubuntu:  sudo apt install python3-venv"
        exit 2
    fi
    say "Making .venv with $("$python" --version 2>&1) ..."
    rm -rf .venv
    "$python" -m venv .venv
fi

say "Installing atlas-supervisor[$extras] into .venv (half a minute, the first time) ..."
# compat: a plain path entry. The default installs an import hook that every start would pay for.
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --config-settings editable_mode=compat -c constraints.txt -e ".[$extras]"
printf '%s' "$extras" >"$stamp.extras"
fingerprint >"$stamp"
