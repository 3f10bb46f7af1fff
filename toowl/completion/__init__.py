"""Completion for shells, made from the commands' own parsers, so that it can't fall behind them.

Here is what a shell has to know about ``toowl``, as plain data; ``bash``, ``zsh`` and ``fish`` turn it into a
script each. Names of sessions are asked for when TAB is pressed (``toowl ls --names``), which starts no daemon.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from toowl.commands import ALIASES, COMMANDS
from toowl.commands.help import command as parser_of
from toowld.classes import frozen

SHELLS = ("bash", "zsh", "fish")


@frozen
class Option:
    """One option of a command."""

    flags: tuple[str, ...]
    help: str
    value: str | None = None  # what its value is called; None: it takes none
    choices: tuple[str, ...] = ()
    repeats: bool = False


@frozen
class Command:
    """One command, with its other names."""

    words: tuple[str, ...]
    summary: str
    options: tuple[Option, ...]
    sessions: str = ""  # where sessions stand: "" nowhere, "first", "all"
    choices: tuple[str, ...] = ()  # what the first word may be, if that is fixed
    runs_command: bool = False  # -- CMD ARG…

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(flag for option in self.options for flag in option.flags)


def commands() -> tuple[Command, ...]:
    """All commands as a shell has to know them."""
    return tuple(_command(name) for name in COMMANDS)


def valued(of: Iterable[Command]) -> tuple[str, ...]:
    """Every flag that takes the next word, behind its command and a colon: -f is another thing to each."""
    return tuple(
        sorted(
            f"{word}:{flag}"
            for command in of
            for option in command.options
            if option.value
            for word in command.words
            for flag in option.flags
        )
    )


def script(shell: str) -> str:
    """The script for a shell of `SHELLS`."""
    module = __import__(f"toowl.completion.{shell}", fromlist=["script"])
    text: str = module.script(commands())
    return text


def _command(name: str) -> Command:
    parser = parser_of(name)
    options, positionals = [], []
    for action in parser._actions:  # argparse has no public way to look at a parser
        if action.help == argparse.SUPPRESS:
            continue
        if action.option_strings:
            options.append(_option(action))
        else:
            positionals.append(action)
    first = positionals[0] if positionals else None
    sessions = ""
    if first is not None and "SESSION" in str(first.metavar):
        several = first.metavar in ("SESSION", "[SESSION] OTHER")
        sessions = "all" if first.nargs in ("*", "+") and several else "first"
    choices = tuple(first.choices or ()) if first is not None else ()
    if name == "help":
        choices = tuple(COMMANDS)
    others = tuple(alias for alias, of in ALIASES.items() if of == name and not alias.startswith("-"))
    return Command(
        words=(name, *others),
        summary=parser.summary,
        options=tuple(options),
        sessions=sessions,
        choices=choices,
        runs_command=any(action.metavar == "CMD" for action in positionals),
    )


def _option(action: argparse.Action) -> Option:
    takes = action.nargs != 0
    return Option(
        flags=tuple(action.option_strings),
        help=action.help or "",
        value=str(action.metavar or action.dest.upper()) if takes else None,
        choices=tuple(str(choice) for choice in action.choices or ()),
        repeats=isinstance(action, argparse._AppendAction),
    )
