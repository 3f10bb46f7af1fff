#!/usr/bin/env python3
"""Write the command reference and the manual pages from the programs' own parsers.

``docs/generate.py`` writes ``docs/cli.md``, ``docs/man/toowl.1`` and ``docs/man/toowld.8`` from the parsers, and
``docs/configuration.md`` and ``packaging/config.toml.example`` from the schema of the settings; ``--check`` only says
which of them are not current, and exits with 1 then. The files are committed, so that a distribution can
package them without running anything; a test asserts that they are current. Their date is nowhere in them: the
same parsers give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # so that it runs from a checkout that is not installed

from toowl.commands import COMMANDS  # noqa: E402
from toowl.commands import help as overview  # noqa: E402
from toowld.daemon.cli import parser as toowld_parser  # noqa: E402
from toowld.session import displays  # noqa: E402
from toowld.settings import example, schema  # noqa: E402

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
    (
        "$XDG_STATE_HOME/toowl/audit.jsonl",
        "who did what to which session, one JSON object a line; see [audit]",
    ),
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
    "In $XDG_CONFIG_HOME/toowl/config.toml, else ~/.config/toowl/config.toml, each below a line with its "
    "[table]. The daemon reads them when it starts, at SIGHUP and at `toowld reload`, which tells what is "
    "different now. What it can't make sense of is an error, told with its line: a daemon that starts does "
    "not, and one that runs goes on with what it had. `toowl config check` tells beforehand, `toowl config "
    "show` what holds and why, `toowl config example` prints a file with everything in it."
)
_PRECEDENCE = (
    "What is said in the file goes before the default, and the daemon's environment before the file: there "
    "each key has a variable of its own, such as TOOWLD_DAEMON_TICK for daemon.tick. For one session, what "
    "`toowl new` or `toowl set` says goes before the table of its connection, and that before [defaults]. "
    "TOOWLD_PERSISTENT_SESSIONS is a gate: open, it makes persistent sessions the default; closed, there are "
    "none, and whoever wants one is told so and gets a standard one."
)


def _settings() -> list[tuple[str, str]]:
    """All keys, for the manual page."""
    return [(full, f"{key.means} ({_facts(full, key)})") for full, key in schema.everything().items()]


def _facts(full: str, key: schema.Key) -> str:
    table, _, name = full.partition(".")
    return f"{example.wanted(key)}; default: {example.default(table, name, key)}"


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
    yield "\n## States\n"
    yield from _markdown_table("sign", "state", "means", _states())
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
    yield f"{_SETTINGS_INTRODUCTION} [configuration.md](configuration.md) tells of each."


def configuration() -> str:
    """docs/configuration.md."""
    return "\n".join(_configuration()) + "\n"


def _configuration() -> Iterator[str]:
    yield "<!-- Made by docs/generate.py from toowld/settings/schema.py: change that, then run `make docs`. -->"
    yield "# Configuration"
    yield ""
    yield _SETTINGS_INTRODUCTION
    yield ""
    yield _PRECEDENCE
    yield "\n```sh"
    yield "toowl config show defaults        # what holds, and why"
    yield "toowl config check                # is the file right?"
    yield "toowl set work size=latest        # for one session"
    yield "toowld reload                     # have a daemon that runs read the file again"
    yield "```"
    for table, made in schema.TABLES.items():
        yield f"\n## [{table}]\n"
        yield from _about(made)
        if schema.keys(table):
            yield from _markdown_table(*_COLUMNS, _configuration_rows(table))
        if (free := schema.free(table)) is not None:
            yield f"\n{free.means} ({example.wanted(free)})."
    yield f'\n## [{schema.CONNECTIONS}."USER@HOST"]\n'
    keys = ", ".join(f"`{name}`" for name in schema.of_connections())
    yield f"For sessions that are made over that connection; goes before [defaults]. It may have: {keys}."
    yield "\n## One session\n"
    keys = ", ".join(f"`{name}`" for name in schema.of_sessions())
    yield f"`toowl set SESSION KEY=VALUE` takes {keys}, and `KEY=` takes it back."
    yield "\n## An example\n"
    yield "```toml"
    yield example.example().rstrip()
    yield "```"


def _about(made: object) -> Iterator[str]:
    yield from textwrap.dedent(f"    {(made.__doc__ or '').strip()}").splitlines()
    yield ""


_COLUMNS = ("key", "means", "value", "default", "heeded")


def _configuration_rows(table: str) -> Iterator[tuple[str, ...]]:
    for name, key in schema.keys(table).items():
        default = example.default(table, name, key)
        yield f"`{name}`", key.means, example.wanted(key), f"`{default}`", key.takes.value


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


def _markdown_table(*columns: str | Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The headings, then the rows."""
    *headings, rows = columns
    yield f"| {' | '.join(str(heading) for heading in headings)} |"
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def _states() -> Iterator[tuple[str, str, str]]:
    """Sign, word and sentence of each state that a session may be shown in."""
    blanks = {
        "label": "SESSION",
        "code": "N",
        "signal": "N",
        "name": "a signal",
        "cause": "its time was up",
        "keeping": "persistent (P), it survives the end of the daemon; standard (-), it ends with that",
    }
    for display in displays.DISPLAYS.values():
        yield display.glyph, display.word.format_map(blanks), display.sentence.format_map(blanks)


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
        ".SH STATES",
        "What toowl ls and toowl info show of a session:",
        *_list((f"{sign} {word}", meaning) for sign, word, meaning in _states()),
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
        ".PP",
        _paragraph(_PRECEDENCE),
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
        HERE / "configuration.md": configuration(),
        HERE.parent / "packaging/config.toml.example": example.example(),
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
