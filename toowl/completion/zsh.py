"""Completion for zsh. PURE."""

from __future__ import annotations

from collections.abc import Sequence

from toowl.completion import Command, Option

_SCRIPT = r"""#compdef toowl
# zsh completion for toowl. For one shell: source <(toowl completion zsh)
# for all: toowl completion zsh > some folder of $fpath/_toowl

_toowl_sessions() {
    local -a found
    local line name ask="${(q)words_of_toowl} ls --names ${(q)${(Q)PREFIX}}"
    for line in ${(f)"$(_call_program sessions $ask 2>/dev/null)"}; do
        name=${line%%$'\t'*}
        found+=("${name//:/\\:}:${line#*$'\t'}")
    done
    _describe -t sessions session found
}

_toowl_commands() {
    local -a found=(
@COMMANDS@
    )
    _describe -t commands command found
}

_toowl() {
    local words_of_toowl=toowl curcontext=$curcontext state
    local -A opt_args
    [[ $words[1] == */* ]] && words_of_toowl=${~words[1]}
    _arguments -C '1: :_toowl_commands' '*:: :->arguments'
    [[ $state == arguments ]] || return
    case $words[1] in
@CASES@
    esac
}

# In $fpath the file is the function; sourced it declares it.
if [[ $funcstack[1] == _toowl ]]; then
    _toowl "$@"
else
    compdef _toowl toowl
fi
"""


def script(commands: Sequence[Command]) -> str:
    """The script, to be sourced or put into ``$fpath``."""
    described = [f"        {_quote(word + ':' + _plain(c.summary))}" for c in commands for word in c.words]
    return _SCRIPT.replace("@COMMANDS@", "\n".join(described)).replace(
        "@CASES@", "\n".join(_case(command) for command in commands)
    )


def _case(command: Command) -> str:
    lines = [f"        {'|'.join(command.words)})"]
    if command.runs_command:
        # Behind -- stands another command line, complete with its own completion.
        lines += [
            "            local at=${words[(i)--]}",
            "            if ((at < CURRENT)); then",
            "                shift at words; ((CURRENT -= at)); _normal; return",
            "            fi",
        ]
    specs = [spec for option in command.options for spec in _specs(option)]
    if command.sessions:
        specs.append(_quote(f"{'*' if command.sessions == 'all' else '1'}:session:_toowl_sessions"))
    if command.choices:
        specs.append(_quote(f"1: :({' '.join(command.choices)})"))
    lines.append(f"            _arguments {' '.join(specs)} ;;")
    return "\n".join(lines)


def _specs(option: Option) -> list[str]:
    others = "" if option.repeats else f"({' '.join(option.flags)})"
    star = "*" if option.repeats else ""
    value = ""
    if option.value is not None:
        action = (
            f"({' '.join(option.choices)})"
            if option.choices
            else {"DIR": "_directories", "FILE": "_files"}.get(option.value.split(".")[0], " ")
        )
        value = f":{option.value}:{action}"
    return [_quote(f"{others}{star}{flag}[{_plain(option.help)}]{value}") for flag in option.flags]


def _plain(text: str) -> str:
    """Without what _arguments and _describe take for their own signs."""
    return text.replace("[", "(").replace("]", ")").replace(":", ",").replace("\\", "")


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
