"""Completion for bash. PURE."""

from __future__ import annotations

from collections.abc import Sequence

from toowl.completion import Command, valued

# 3.2 has no readarray and no ;;& : kept that plain, for the bash of every Linux.
_SCRIPT = r"""# bash completion for toowl. For one shell: source <(toowl completion bash)
# for all: toowl completion bash > ~/.local/share/bash-completion/completions/toowl

_toowl_sessions() {
    local toowl=toowl line
    [[ ${COMP_WORDS[0]} == */* ]] && toowl=${COMP_WORDS[0]/#\~\//$HOME/}
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        [[ $line == "$1"* ]] && COMPREPLY+=("$(printf %q "$line")")
    done < <("$toowl" ls --names "$1" 2>/dev/null)
}

# Escaped, and with a slash behind folders, as bash itself completes files.
_toowl_paths() {
    compopt -o filenames 2>/dev/null
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(compgen "$1" -- "$cur")
}

_toowl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]} options= sessions= choices= runs= position=0 at line
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '@COMMANDS@' -- "$cur"))
        return
    fi
    case $command in
@CASES@
        *) return ;;
    esac
    for ((at = 2; at < COMP_CWORD; at++)); do
        case $command:${COMP_WORDS[at]} in
            *:--) if [[ $runs ]]; then
                    # The first word behind it is a program, the others most likely files.
                    ((at + 1 == COMP_CWORD)) && COMPREPLY=($(compgen -c -- "$cur")) && return
                    _toowl_paths -f
                    return
                fi ;;
            @VALUED@) ((at++)) ;;
            *:-*) ;;
            *) ((position++)) ;;
        esac
    done
    case $command:$prev in
@VALUES@
    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    elif [[ $choices ]] && ((position == 0)); then
        COMPREPLY=($(compgen -W "$choices" -- "$cur"))
    elif [[ $sessions == all ]] || { [[ $sessions == first ]] && ((position == 0)); }; then
        _toowl_sessions "$cur"
    elif [[ $options && -z $cur ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    fi
}

complete -F _toowl toowl
"""


def script(commands: Sequence[Command]) -> str:
    """The script, to be sourced."""
    words = " ".join(word for command in commands for word in command.words)
    return (
        _SCRIPT.replace("@COMMANDS@", words)
        .replace("@CASES@", "\n".join(_case(command) for command in commands))
        .replace("@VALUED@", "|".join(valued(commands)))
        .replace("@VALUES@", "\n".join(line for command in commands for line in _values(command)))
    )


def _case(command: Command) -> str:
    settings = [f"options='{' '.join(command.flags)}{' --' if command.runs_command else ''}'"]
    if command.sessions:
        settings.append(f"sessions={command.sessions}")
    if command.choices:
        settings.append(f"choices='{' '.join(command.choices)}'")
    if command.runs_command:
        settings.append("runs=1")
    return f"        {'|'.join(command.words)}) {' '.join(settings)} ;;"


def _values(command: Command) -> list[str]:
    lines = []
    for option in command.options:
        if option.value is None:
            continue
        pattern = "|".join(f"{word}:{flag}" for word in command.words for flag in option.flags)
        if option.choices:
            does = f"COMPREPLY=($(compgen -W '{' '.join(option.choices)}' -- \"$cur\")); "
        elif option.value == "DIR":
            does = "_toowl_paths -d; "
        elif option.value.startswith("FILE"):
            does = "_toowl_paths -f; "
        else:
            does = ""  # a value that nobody can guess
        lines.append(f"        {pattern}) {does}return ;;")
    return lines
