"""Completion for fish. PURE."""

from __future__ import annotations

from collections.abc import Sequence

from toowl.completion import Command, Option, valued

_SCRIPT = r"""# fish completion for toowl. For one shell: toowl completion fish | source
# for all: toowl completion fish > ~/.config/fish/completions/toowl.fish

function __toowl_sessions
    set -l toowl (commandline -opc)[1]
    string match -q '*/*' -- $toowl; or set toowl toowl
    command $toowl ls --names (commandline -ct) 2>/dev/null
end

function __toowl_no_command
    test (count (commandline -opc)) -eq 1
end

# Is the command one of these?
function __toowl_is
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end

# The same, and no word but options was typed behind it?
function __toowl_first
    __toowl_is $argv; or return 1
    set -l skip 0
    set -l words (commandline -opc)
    for word in $words[3..-1]
        if test $skip -eq 1
            set skip 0
        else if contains -- $words[2]:$word @VALUED@
            set skip 1
        else if not string match -q -- '-*' $word
            return 1
        end
    end
end

# The completions of the command line behind --
function __toowl_behind
    set -l words (commandline -opc)
    set -l at (contains -i -- -- $words); or return
    set -e words[1..$at]
    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
end

complete -c toowl -e
complete -c toowl -f
"""


def script(commands: Sequence[Command]) -> str:
    """The script, to be sourced."""
    lines = [_SCRIPT.replace("@VALUED@", " ".join(valued(commands)))]
    for command in commands:
        lines += [
            f"complete -c toowl -n __toowl_no_command -a {word} -d {_quote(command.summary)}"
            for word in command.words
        ]
        words = " ".join(command.words)
        if command.sessions:
            test = "__toowl_is" if command.sessions == "all" else "__toowl_first"
            lines.append(f"complete -c toowl -n '{test} {words}' -k -a '(__toowl_sessions)'")
        if command.choices:
            lines.append(
                f"complete -c toowl -n '__toowl_first {words}' -a {_quote(' '.join(command.choices))}"
            )
        if command.runs_command:
            lines.append(
                f"complete -c toowl -n '__toowl_is {words}; and contains -- -- (commandline -opc)'"
                " -a '(__toowl_behind)'"
            )
        lines += [_option(words, option) for option in command.options]
    return "\n".join(lines) + "\n"


def _option(words: str, option: Option) -> str:
    flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
    value = ""
    if option.choices:
        value = f" -x -a {_quote(' '.join(option.choices))}"
    elif option.value == "DIR":
        value = " -x -a '(__fish_complete_directories (commandline -ct))'"
    elif option.value is not None:
        value = " -r -F" if option.value.startswith("FILE") else " -x"
    return f"complete -c toowl -n '__toowl_is {words}' {flags}{value} -d {_quote(option.help)}"


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
