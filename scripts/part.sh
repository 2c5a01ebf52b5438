#!/bin/sh
# Starts a part of the old system, whose code is elsewhere: see config/atlas.yaml.
#   part.sh NAME             go to the folder PART_DIR and become PART_COMMAND, as a shell reads it
#   part.sh --doctor NAME    tell `atlasctl doctor` whether both are there
# What is missing is said with the variable that mends it: NAME_DIR or NAME_COMMAND, in .env.
set -euf

doctor=false
if [ "$1" = --doctor ]; then
    doctor=true
    shift
fi
name=$1 folder=$PART_DIR line=$PART_COMMAND
unset PART_DIR PART_COMMAND
# shellcheck disable=SC2088 # .env holds the sign itself, which no shell has expanded
case $folder in "~" | "~/"*) folder=$HOME${folder#"~"} ;; esac
case $folder in /*) base='' ;; *) base=$PWD/ ;; esac
while [ -n "$base" ] && [ "${folder#../}" != "$folder" ]; do
    # Above the root is the root.
    case $base in /) ;; *) base=${base%/*/}/ ;; esac
    folder=${folder#../}
done
folder=$base$folder

# What is wrong, and what to do; the first is empty if nothing is.
text='' hint='' become=''
if [ ! -d "$folder" ]; then
    text="its folder $folder is not there"
    hint="set ${name}_DIR in .env, or ATLAS_HOME to the folder that holds all of them"
elif ! cd "$folder" 2>/dev/null; then
    text="its folder $folder cannot be entered"
    hint="change its owner or its mode, or set ${name}_DIR in .env"
else
    program=${line%%[[:space:]]*}
    case $program in
        # More than a program and its arguments: that is for the shell to judge.
        *[!A-Za-z0-9_./+@%,:-]* | . | cd | exec) ;;
        *)
            case $line in *[\;\&\|]*) ;; *) become='exec ' ;; esac
            if ! command -v -- "$program" >/dev/null 2>&1; then
                text="there is no program $program (looked for from $PWD, PATH is $PATH)"
                hint="install it, or set ${name}_COMMAND in .env"
            fi
            ;;
    esac
fi

quoted() { printf '%s' "$1" | sed -e 's/[\\"]/\\&/g' | tr -d '\000-\037'; }

if $doctor; then
    if [ -z "$text" ]; then
        printf '{"check": "command", "level": "ok", "text": "%s"}\n' "$(quoted "$line, in $PWD")"
    else
        printf '{"check": "command", "level": "wrong", "text": "%s", "hint": "%s"}\n' \
            "$(quoted "$text")" "$(quoted "$hint")"
    fi
    exit 0
fi
if [ -n "$text" ]; then
    printf '%s: %s\n' "$text" "$hint" >&2
    exit 78 # EX_CONFIG of sysexits.h
fi
# The program takes the place of the shell, so that its pid and the way it ends are the service's;
# where the line is more than a program and its arguments (`A=1 program`, `. x && program`) the
# shell stays in front of it, and signals reach both.
exec sh -c "$become$line"
