"""Completions for bash, zsh and fish, made from the commands themselves, so that none is missing.

Names of services are asked for at each completion: from the daemon, which takes a tenth of a
second, or from the YAML where no daemon runs. Names of models are in the YAML alone.
"""

from collections.abc import Callable

from supervisor.cli.arguments import options_of
from supervisor.cli.commands import COMMANDS, Command
from supervisor.cli.exits import ExitStatus
from supervisor.cli.invocation import Invocation, Shell

_BASH = """\
# bash completion for atlasctl; use: eval "$(atlasctl completion bash)"
_atlasctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local command= config=() at=1 word
    while (( at < COMP_CWORD )); do
        word=${COMP_WORDS[at]}
        case $word in
            -c|--config) config=(-c "${COMP_WORDS[at+1]}"); (( at++ )) ;;
            --color|--timeout|-n|--lines|--since|--keep|-o|--output|@VALUED@) (( at++ )) ;;
            -*) ;;
            *) [[ -n $command ]] || command=$word ;;
        esac
        (( at++ ))
    done
    COMPREPLY=()
    case $previous in
        -c|--config|-o|--output)
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$current"))
            return ;;
        --color) COMPREPLY=($(compgen -W "auto always never" -- "$current")); return ;;
        --timeout|-n|--lines|--since|--keep|@VALUED@) return ;;
    esac
    local words=
    case $command in
        '') words="@COMMANDS@"
            [[ $current == -* ]] && words="@GLOBAL@" ;;
@CASES@
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _atlasctl atlasctl
"""

_ZSH = """\
#compdef atlasctl
# zsh completion for atlasctl; use: eval "$(atlasctl completion zsh)"
_atlasctl() {
    local -a commands config found
    commands=(
@DESCRIBED@
    )
    local at command= word
    for (( at = 2; at < CURRENT; at++ )); do
        word=$words[at]
        case $word in
            -c|--config) config=(-c "$words[at+1]"); (( at++ )) ;;
            --color|--timeout|-n|--lines|--since|--keep|-o|--output|@VALUED@) (( at++ )) ;;
            -*) ;;
            *) [[ -n $command ]] || command=$word ;;
        esac
    done
    case $words[CURRENT-1] in
        -c|--config|-o|--output) _files; return ;;
        --color) compadd auto always never; return ;;
        --timeout|-n|--lines|--since|--keep|@VALUED@) return ;;
    esac
    case $command in
        '') if [[ $PREFIX == -* ]]; then compadd -- @GLOBAL@
            else _describe command commands; fi ;;
@CASES@
    esac
}
if [[ $funcstack[1] == _atlasctl ]]; then _atlasctl "$@"; else compdef _atlasctl atlasctl; fi
"""

_VALUED = "--image|--namespace|--replicas|--cpu|--models|--voice|--speed|--fx|--service"
"""Further options that take a value, of which nothing is known here."""

_FISH = """\
# fish completion for atlasctl; use: atlasctl completion fish | source
complete -c atlasctl -f
complete -c atlasctl -s c -l config -r -F -d 'the YAML of the system'
complete -c atlasctl -l color -x -a 'auto always never'
"""


def completion(call: Invocation) -> int:
    """Print the script for a shell."""
    print(script(call.shell), end="")
    return ExitStatus.AS_ASKED


def script(shell: Shell) -> str:
    """Return the script that teaches a shell to complete atlasctl."""
    shown = [command for command in COMMANDS if not command.hidden]
    match shell:
        case "bash":
            return _filled(_BASH, shown, _bash_case)
        case "zsh":
            described = "\n".join(f"        {_quoted(f'{c.name}:{c.help}')}" for c in shown)
            return _filled(_ZSH, shown, _zsh_case).replace("@DESCRIBED@", described)
        case "fish":
            return _FISH + "".join(map(_fish_lines, shown))


def _filled(template: str, shown: list[Command], case: Callable[[Command], str]) -> str:
    global_options = " ".join(("--help", "--config", "--color"))
    return (
        template.replace("@VALUED@", _VALUED)
        .replace("@COMMANDS@", " ".join(c.name for c in shown))
        .replace("@GLOBAL@", global_options)
        .replace("@CASES@", "\n".join(map(case, shown)))
    )


def _bash_case(command: Command) -> str:
    options = " ".join(options_of(command))
    values = _values(command, '$(atlasctl "${config[@]}" @NAMES@ 2>/dev/null)')
    lines = f'        {command.name}) if [[ $current == -* ]]; then words="{options}"'
    if command.takes_file:
        return (
            f"{lines}\n            else compopt -o filenames 2>/dev/null;"
            ' COMPREPLY=($(compgen -f -- "$current")); return; fi ;;'
        )
    return f'{lines}; else words="{values}"; fi ;;'


def _zsh_case(command: Command) -> str:
    options = " ".join(options_of(command))
    head = f"        {command.name}) if [[ $PREFIX == -* ]]; then compadd -- {options}"
    if command.takes_file:
        return f"{head}; else _files; fi ;;"
    values = _values(command, '${(f)"$(atlasctl $config @NAMES@ 2>/dev/null)"}')
    return f"{head}{f'; else compadd -- {values}' if values else ''}; fi ;;"


def _fish_lines(command: Command) -> str:
    this = f"-n '__fish_seen_subcommand_from {command.name}'"
    lines = [
        f"complete -c atlasctl -n __fish_use_subcommand -a {command.name} "
        f"-d {_quoted(command.help)}"
    ]
    lines += [
        f"complete -c atlasctl {this} -l {option.removeprefix('--')}"
        for option in options_of(command)
        if option.startswith("--") and option not in ("--config", "--color")
    ]
    if values := _values(command, "(atlasctl @NAMES@ 2>/dev/null)"):
        lines.append(f"complete -c atlasctl {this} -a '{values}'")
    if command.takes_file:
        lines.append(f"complete -c atlasctl {this} -F")
    return "\n".join(lines) + "\n"


def _values(command: Command, names: str) -> str:
    """Return what may stand where this command's arguments do; `names` asks atlasctl for names."""
    words = " ".join(command.choices)
    if command.takes_services:
        return f"{words} {names.replace('@NAMES@', '_services')}".strip()
    return f"{words} {names.replace('@NAMES@', '_models')}" if command.takes_models else words


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
