#!/bin/sh
# Makes .venv with what was asked for: `scripts/environment.sh tts`, `tts,neural`, `tts,neural,dev`.
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
asked=,$extras,$(cat "$stamp.extras" 2>/dev/null || :),
extras=
for extra in tts neural dev; do
    case $asked in
        *",$extra,"*) extras=${extras:+$extras,}$extra ;;
    esac
done
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

# Packages without what their metadata asks for: each of them needs less than it says, and what it
# does need is in the extra of pyproject.toml. ukrainian-word-stress asks for stanza, and with that
# for torch; espnet for 30 packages and an old setuptools; ukrainian-tts (the reference that ours is
# compared with) for both and for gradio.
bare=
case ",$extras," in *,tts,*) bare="ukrainian-word-stress==2.1.0" ;; esac
case ",$extras," in
    *,neural,*)
        # What torch 2.13.0 has wheels for.
        if [ "$(uname)" = Darwin ] && ! .venv/bin/python -c 'import platform, sys
sys.exit(platform.machine() != "arm64" or int(platform.mac_ver()[0].split(".")[0]) < 14)'; then
            say "On a Mac the neural voice needs Apple silicon, a Python for it, and macOS 14 or later:"
            say "there is no torch for others. eSpeak NG speaks without it: make up"
            exit 2
        fi
        # espnet 202609 needs Python 3.12, and knows none after 3.13.
        case $(.venv/bin/python -c 'import sys; print(sys.version_info[1])') in
            11) bare="$bare espnet==202509" ;;
            12 | 13) bare="$bare espnet==202609" ;;
            *)
                say "The neural voice needs Python 3.11, 3.12 or 3.13; .venv has a later one."
                say "Remove .venv, then name one: PYTHON=/path/to/python3.13 make neural"
                exit 2
                ;;
        esac
        ;;
esac
case ",$extras," in *,dev,*) bare="$bare ukrainian-tts==6.0.2" ;; esac

took="half a minute"
case ",$extras," in *,neural,*) took="some minutes" ;; esac
say "Installing atlas-supervisor[$extras] into .venv ($took, the first time) ..."
# compat: a plain path entry. The default installs an import hook that every start would pay for.
# Conflicts are those of the metadata above, which are no conflicts of what runs.
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --no-warn-conflicts --config-settings editable_mode=compat -c constraints.txt -e ".[$extras]"
if [ -n "$bare" ]; then
    # shellcheck disable=SC2086 # a list of words
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $bare
fi
printf '%s' "$extras" >"$stamp.extras"
fingerprint >"$stamp"
