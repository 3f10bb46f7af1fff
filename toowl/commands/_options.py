"""How the commands declare what they take: one look for help, and mistakes told in one line."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys

from toowl.commands._current import current_session
from toowld.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

SUPPRESS = argparse.SUPPRESS

#: Of a terminal that does not tell.
_USUAL_COLUMNS = 80

#: Options whose value is one of these kinds; the shell completions complete them.
SESSION, FOLDER, FILE, COMMAND = "SESSION", "DIR", "FILE", "CMD"


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `UsageError`, and which knows examples."""

    examples: Sequence[tuple[str, str]] = ()
    summary = ""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}: see `{self.prog} --help`")


def command_parser(
    name: str, summary: str, *, usage: str, description: str = "", examples: Sequence[tuple[str, str]] = ()
) -> Parser:
    """The parser of ``toowl NAME``.

    ``usage`` is written out, because argparse writes it differently from one Python to the next, and scripts
    rely on the forms.
    """
    text = re.sub(r"\s+", " ", description).strip()
    made = Parser(
        prog=f"toowl {name}",
        usage=usage,
        description=text or summary,
        epilog=_examples(examples),
        formatter_class=_Formatter,
        allow_abbrev=False,  # an abbreviation in a script would break with the next option
        add_help=False,
    )
    made.add_argument("-h", "--help", action="help", help="show this help and exit")
    made.summary = summary
    made.examples = examples
    return made


def _examples(examples: Sequence[tuple[str, str]]) -> str | None:
    if not examples:
        return None
    return "examples:\n" + "\n".join(f"  {command}\n      {what}" for command, what in examples)


class _Formatter(argparse.HelpFormatter):
    """Wraps the description, leaves the examples as they are."""

    def __init__(self, prog: str, **given: Any) -> None:
        super().__init__(prog, **{"width": _columns() - 2, **given})

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return text
        return super()._fill_text(text, width, indent)


def _columns() -> int:
    """How wide the help may be.

    `shutil` would tell, and argparse asks it at each option; but it loads four compressors, which takes 2 ms.
    """
    with contextlib.suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with contextlib.suppress(
        OSError, ValueError, AttributeError
    ):  # no terminal, closed, or none from the beginning
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or _USUAL_COLUMNS  # type: ignore[union-attr]
    return _USUAL_COLUMNS


def add_session(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """The argument SESSION."""
    parser.add_argument(
        "session",
        metavar="SESSION",
        nargs="?" if optional else None,
        help="id, the beginning of an id, or name" + ("; inside a session: that one" if optional else ""),
    )


def whole_number(text: str) -> int:
    """The value of an option that counts something, from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines")
    return int(text)


def seconds(text: str) -> float:
    """The value of an option that is a time in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:  # nan neither
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def session_or_current(given: str | None) -> str:
    """SESSION as given, else the one that we are in.

    Raises:
        UsageError: not given, and we are in none.
    """
    if given is not None:
        return given
    if (current := current_session()) is None:
        raise UsageError(
            "which session? give its id or name (only inside a session it may be left out): see `toowl ls`"
        )
    return current


def persistence(parser: argparse.ArgumentParser, persistent: str, standard: str) -> None:
    """The options ``--persistent`` and ``--standard``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--persistent", dest="persistent", action="store_true", default=None, help=persistent)
    group.add_argument("--standard", dest="persistent", action="store_false", default=None, help=standard)


_LIMITS = ("idle_timeout", "ttl", "memory_max", "cpu_quota", "tasks_max")


def of_new_session(made: argparse.ArgumentParser) -> None:
    """What a session can be made with, attached or not."""
    made.add_argument(
        "-n",
        "--name",
        metavar="NAME",
        help="name of the session; one that is taken gets a suffix, and you are told",
    )
    made.add_argument("--cwd", metavar=FOLDER, help="folder to start in (default: the current one)")
    made.add_argument(
        "--env",
        metavar="K=V",
        action="append",
        default=[],
        help="set a variable; may be given more than once",
    )
    persistence(
        made,
        "survive the end of the daemon (default if the daemon was started with TOOWLD_PERSISTENT_SESSIONS=1)",
        "end together with the daemon",
    )


def limits(made: argparse.ArgumentParser) -> None:
    """The options for how long a session, and how much its programs, may take."""
    made.add_argument(
        "--idle-timeout",
        metavar="TIME",
        help="end it when nobody was attached for so long: seconds, or 30min, 12h, 2d; 0: never",
    )
    made.add_argument(
        "--ttl", metavar="TIME", help="end it when its program has run for so long, whoever is attached"
    )
    made.add_argument(
        "--memory-max",
        metavar="BYTES",
        help="what its programs may take of memory together: bytes, or 512M, 2GiB; these three need systemd",
    )
    made.add_argument(
        "--cpu-quota",
        metavar="PERCENT",
        help="what they may take of the processors: 50%% of one, 200%% are two",
    )
    made.add_argument("--tasks-max", metavar="COUNT", help="how many processes and threads they may have")


def limits_of(args: argparse.Namespace) -> dict[str, str]:
    """What was said with `limits`, as settings of a session."""
    return {name: value for name in _LIMITS if (value := getattr(args, name)) is not None}


def split_command(argv: list[str]) -> tuple[list[str], list[str] | None]:
    """Our part and the command's, behind ``--``.

    By hand: argparse treats ``--`` differently from one Python to the next.
    """
    if "--" not in argv:
        return argv, None
    at = argv.index("--")
    command = argv[at + 1 :]
    if not command:
        raise UsageError("no command behind --: leave -- out for your shell")
    if not command[0]:
        raise UsageError("the command behind -- is empty: leave -- out for your shell")
    return argv[:at], command


def variables(settings: list[str]) -> dict[str, str]:
    """The values of ``--env``."""
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not name or not equals:
            raise UsageError(
                f"--env {setting!r} is not of the form K=V: give a name and a value, such as EDITOR=vi"
            )
        found[name] = value
    return found
