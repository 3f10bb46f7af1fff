#!/usr/bin/env python3
"""Write the command reference and the manual pages from the programs' own parsers.

``docs/generate.py`` writes ``docs/cli.md``, ``docs/man/toowl.1`` and ``docs/man/toowld.8``; ``--check`` only says
which of them are not current, and exits with 1 then. The files are committed, so that a distribution can
package them without running anything; a test asserts that they are current. Their date is nowhere in them: the
same parsers give the same bytes.
"""

from __future__ import annotations

import argparse
import enum
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # so that it runs from a checkout that is not installed

from toowl.commands import COMMANDS  # noqa: E402
from toowl.commands import help as overview  # noqa: E402
from toowld.classes import fields  # noqa: E402
from toowld.daemon.cli import parser as toowld_parser  # noqa: E402
from toowld.daemon.config import Config  # noqa: E402

Rows = Iterable[tuple[str, str]]

_KEYS = (
    (r"Ctrl-\ d", "detach; the session runs on"),
    ("Ctrl-\\ Ctrl-\\", "type one Ctrl-\\"),
    (r"Ctrl-\ ?", "list the keys"),
)
_FILES = (
    ("$XDG_RUNTIME_DIR/toowl/toowld.sock", "the daemon's socket"),
    ("$XDG_RUNTIME_DIR/toowl/custodians/", "a socket for each persistent session"),
    ("$XDG_STATE_HOME/toowl/sessions/", "a folder for each session: its record and its scrollback"),
    ("$XDG_CONFIG_HOME/toowl/config.toml", "settings, see toowld(8)"),
)
_INTRODUCTION = (
    "A shell started under toowl ends only when you end it. Closing the terminal, losing the network, "
    "restarting or upgrading the daemon: the shell and every program in it go on, and nothing that they printed "
    "is lost. After a reboot the processes are gone, but the scrollback is there, and attaching starts a fresh "
    "shell below it."
)
_PASSED_ON = (
    "While a session is attached, attach, new and plain toowl exit with the status of its program when that ends "
    "(128+n for signal n)."
)
_DAEMON_INTRODUCTION = (
    "toowld keeps terminal sessions for toowl(1). With TOOWLD_PERSISTENT_SESSIONS=1 in its environment, each "
    "session that it makes gets a keeper of its own, the custodian, and survives whatever happens to the daemon."
)


_SETTINGS_INTRODUCTION = (
    "In $XDG_CONFIG_HOME/toowl/config.toml, else ~/.config/toowl/config.toml, below a line [daemon], each as KEY = "
    'NUMBER or KEY = "WORD". The daemon reads them when it starts, at SIGHUP and at `toowld reload`. What it can\'t '
    "make sense of is an error: one that starts does not, and one that runs goes on with what it had."
)


def _settings() -> list[tuple[str, str]]:
    return [
        (setting.name, f"{setting.metadata['means']} (default: {_default(setting.default)})")
        for setting in fields(Config)
    ]


def _default(value: float | enum.Enum) -> str:
    return f'"{value.value}"' if isinstance(value, enum.Enum) else f"{value:.12g}"


class Entry:
    """One parser, as plain text and tables."""

    def __init__(self, name: str, parser: argparse.ArgumentParser, summary: str | None = None) -> None:
        self.name = name
        self.prog = parser.prog
        self.usages = _usages(parser)
        self.description = " ".join((parser.description or _full_sentence(summary)).split())
        self.examples: tuple[tuple[str, str], ...] = tuple(getattr(parser, "examples", ()))
        # Every command has --help: said once, not twenty times.
        shown = [
            action
            for action in parser._actions
            if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
        ]
        self.arguments = [
            (str(action.metavar or action.dest), _sentence(action.help))
            for action in shown
            if not action.option_strings and not isinstance(action, argparse._SubParsersAction)
        ]
        self.options = [(_flags(action), _sentence(action.help)) for action in shown if action.option_strings]


def _usages(parser: argparse.ArgumentParser) -> list[str]:
    """Ours are written out; argparse's own are made one line each."""
    if parser.usage is not None:
        return [part.strip() for part in parser.usage.split(" | ")]
    made = parser.format_usage().removeprefix("usage: ").replace("[-h] ", "").replace(" [-h]", "")
    return [" ".join(made.split())]


def _full_sentence(text: str | None) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _sentence(text: str | None) -> str:
    return (text or "").replace("%%", "%")


def _flags(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"{flag}{value}" for flag in action.option_strings)


def toowl_entries() -> list[Entry]:
    """All commands of toowl."""
    return [Entry(name, overview.command(name)) for name in COMMANDS]


def toowld_entries() -> list[Entry]:
    """toowld itself, and its commands."""
    top = toowld_parser()
    entries = [Entry("toowld", top)]
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help for choice in action._choices_actions}
            entries += [
                Entry(name, sub, summaries.get(name))
                for name, sub in action.choices.items()
                if summaries.get(name) != argparse.SUPPRESS
            ]
    return entries


# -- Markdown ---------------------------------------------------------------------------------------------


def markdown() -> str:
    """docs/cli.md."""
    return "\n".join(_markdown()) + "\n"


def _markdown() -> Iterator[str]:
    yield "<!-- Made by docs/generate.py from the parsers: change those, then run `make docs`. -->"
    yield "# Command reference"
    yield ""
    yield f"`toowl` alone: {overview.PLAIN}. SESSION is an id, the beginning of an id, or a name."
    for entry in toowl_entries():
        yield from _markdown_entry(entry)
    yield "\n## Keys in an attached session\n"
    yield from _markdown_table("key", "does", [(f"`{key}`", does) for key, does in _KEYS])
    yield "\n## Exit status\n"
    yield from _markdown_table("status", "means", overview.EXIT_STATUS)
    yield f"\n{_PASSED_ON}"
    yield "\n## Environment\n"
    yield from _markdown_table(
        "variable", "means", [(f"`{name}`", what) for name, what in overview.ENVIRONMENT]
    )
    yield "\n# toowld"
    for entry in toowld_entries():
        yield from _markdown_entry(entry)
    yield "\n## Settings\n"
    yield _SETTINGS_INTRODUCTION
    yield ""
    yield from _markdown_table("key", "means", [(f"`{key}`", means) for key, means in _settings()])
    yield "\n```toml"
    yield "[daemon]"
    yield f"scrollback_bytes = {256 << 20}  # 256 MiB for each session"
    yield 'size = "latest"'
    yield "ended_retention = 86400  # seconds: a day"
    yield "```"


def _markdown_entry(entry: Entry) -> Iterator[str]:
    yield f"\n## {entry.prog}\n"
    yield "```"
    yield from entry.usages
    yield "```"
    yield ""
    yield entry.description
    rows = [(f"`{name}`", what) for name, what in [*entry.arguments, *entry.options]]
    if rows:
        yield ""
        yield from _markdown_table("argument", "means", rows)
    if entry.examples:
        yield ""
        yield "```sh"
        for command, what in entry.examples:
            yield f"{command}  # {what}" if what else command
        yield "```"


def _markdown_table(left: str, right: str, rows: Rows) -> Iterator[str]:
    yield f"| {left} | {right} |"
    yield "|---|---|"
    for key, value in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in (key, value)) + " |"


# -- manual pages -----------------------------------------------------------------------------------------


def toowl_page() -> str:
    """docs/man/toowl.1."""
    entries = toowl_entries()
    parts = [
        _page_head("TOOWL", 1, "toowl", overview.TAGLINE),
        ".SH SYNOPSIS",
        *_synopsis(["toowl", *(usage for entry in entries for usage in entry.usages)]),
        ".SH DESCRIPTION",
        _paragraph(_INTRODUCTION),
        ".PP",
        _paragraph(
            f"Without a command: {overview.PLAIN}. SESSION is an id, the beginning of an id, or a name. new, attach "
            "and plain toowl start toowld(8) if it does not run: as the service that it is, where it was installed "
            "as one, else in the background and with persistent sessions if the daemon before it had them. "
            "`toowl COMMAND --help` says what stands here."
        ),
        ".SH COMMANDS",
        *(line for entry in entries for line in _section(entry)),
        ".SH KEYS",
        "In an attached session:",
        *_list(_KEYS),
        ".SH EXIT STATUS",
        *_list(overview.EXIT_STATUS),
        ".PP",
        _paragraph(_PASSED_ON),
        *_page_foot("toowld(8), asciinema(1), systemd(1)"),
    ]
    return "\n".join(parts) + "\n"


def toowld_page() -> str:
    """docs/man/toowld.8."""
    entries = toowld_entries()
    parts = [
        _page_head("TOOWLD", 8, "toowld", "the daemon that keeps terminal sessions"),
        ".SH SYNOPSIS",
        *_synopsis([usage for entry in entries for usage in entry.usages]),
        ".SH DESCRIPTION",
        _paragraph(_DAEMON_INTRODUCTION),
        ".SH OPTIONS",
        *_list(entries[0].options),
        ".SH COMMANDS",
        *(line for entry in entries[1:] for line in _section(entry)),
        ".SH SIGNALS",
        *_list(
            (
                ("SIGTERM, SIGINT", "end; persistent sessions live on, standard ones end"),
                ("SIGHUP", "read the settings again"),
            )
        ),
        ".SH EXIT STATUS",
        *_list(overview.EXIT_STATUS),
        ".SH SETTINGS",
        _paragraph(_SETTINGS_INTRODUCTION),
        *_list(_settings()),
        *_page_foot("toowl(1), systemd.service(5), loginctl(1)"),
    ]
    return "\n".join(parts) + "\n"


def _page_head(title: str, section: int, name: str, what: str) -> str:
    return "\n".join(
        (
            '.\\" Made by docs/generate.py from the parsers: change those, then run "make docs".',
            f'.TH {title} {section} "" toowl "toowl manual"',
            ".SH NAME",
            f"{name} \\- {_roff(what)}",
        )
    )


def _page_foot(see_also: str) -> list[str]:
    return [
        ".SH ENVIRONMENT",
        *_list(overview.ENVIRONMENT),
        ".SH FILES",
        *_list(_FILES),
        ".SH SEE ALSO",
        _roff(see_also),
    ]


def _synopsis(usages: list[str]) -> Iterator[str]:
    yield ".nf"
    for usage in usages:
        program, _, rest = usage.partition(" ")
        yield f"\\fB{program}\\fR {_roff(rest)}".rstrip()
    yield ".fi"


def _section(entry: Entry) -> Iterator[str]:
    yield f".SS {_roff(entry.prog)}"
    yield from _synopsis(entry.usages)
    yield ".PP"
    yield _paragraph(entry.description)
    yield from _list([*entry.arguments, *entry.options])
    if entry.examples:
        yield ".PP"
        yield "Examples:"
        yield from _list((command, what) for command, what in entry.examples)


def _list(rows: Rows) -> Iterator[str]:
    for key, value in rows:
        yield ".TP"
        yield f"\\fB{_roff(key)}\\fR"
        yield _paragraph(value) or "\\&"


def _paragraph(text: str) -> str:
    """Text over as many lines as it takes; roff fills them anew."""
    return "\n".join(
        _roff(line) for line in textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False)
    )


def _roff(text: str) -> str:
    """Text as roff prints it literally: backslashes, minus signs, and no line that looks like a request."""
    escaped = (
        text.replace("\\", "\\e")
        .replace("-", "\\-")
        .replace("`", "\\(ga")
        .replace("^", "\\(ha")
        .replace("~", "\\(ti")
    )
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


# -- files ------------------------------------------------------------------------------------------------


def files() -> dict[Path, str]:
    """Every generated file and what belongs in it."""
    return {
        HERE / "cli.md": markdown(),
        HERE / "man/toowl.1": toowl_page(),
        HERE / "man/toowld.8": toowld_page(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the command reference and the manual pages.")
    parser.add_argument("--check", action="store_true", help="only say what is not current")
    check = parser.parse_args().check
    stale = 0
    for path, text in files().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{path.relative_to(HERE.parent)}: {'not current, run make docs' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
