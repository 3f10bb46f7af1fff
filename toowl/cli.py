"""Where ``toowl`` begins: finds the command, runs it, and turns whatever went wrong into one line.

Owns the dispatch, the exit status and the promise that no user ever sees a traceback
(``TOOWL_DEBUG=1`` shows it). What a command does is in its module; nothing is imported before it is needed,
because ``toowl ls`` is typed often and Python is slow to load things.
"""

from __future__ import annotations

import os
import sys

from toowl.commands import ALIASES, COMMANDS
from toowld.errors import ToowlError, UsageError

TYPE_CHECKING = False  # typing itself would cost more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

#: What a shell reports for a program that SIGINT or SIGPIPE ended: 128 + the signal's number.
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``toowl`` with these arguments (default: those of the process) and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _prepare_streams()
        status = _run(arguments)
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
    except SystemExit as end:  # argparse, after --help
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return _BROKEN_PIPE
    except ToowlError as error:
        return _fail(arguments, str(error), error.exit_status, error.code)
    except OSError as error:
        _drop_output()
        return _fail(arguments, _what_failed(error), 1)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for a user
        return _fail(
            arguments,
            f"internal error: {type(error).__name__}: {error}: please report it, with what TOOWL_DEBUG=1 shows",
            1,
        )
    return status


def _run(arguments: list[str]) -> int:
    word, *rest = arguments or ["_default"]
    name = ALIASES.get(word, word)
    if name not in COMMANDS and arguments:
        raise UsageError(_unknown(word))
    status: int = _module(COMMANDS.get(name, name)).run(rest)
    return status


def _module(name: str) -> ModuleType:
    module: ModuleType = __import__(f"toowl.commands.{name}", fromlist=["run"])
    return module


def _unknown(word: str) -> str:
    from difflib import get_close_matches

    kind = "option" if word.startswith("-") else "command"
    near = get_close_matches(word, [*COMMANDS, *ALIASES], 1)
    return f"no {kind} {word!r}: " + (
        f"did you mean {near[0]!r}?" if near else "`toowl help` lists the commands"
    )


def _prepare_streams() -> None:
    """Make sure that the standard streams exist, and that they take any character.

    Where the caller closed one, its number would go to the next thing that is opened: a session's output could end
    up in a file. And a terminal without UTF-8 shows ``\\u2026`` for what it can't, instead of failing.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as we live
    for stream in (sys.stdout, sys.stderr):
        # Another type under a test's capture.
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


def _what_failed(error: OSError) -> str:
    reason = error.strerror or error
    if error.filename:
        return f"{error.filename}: {reason}: see `toowld doctor`"
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return f"can't write what there is to say: {reason}: send the output elsewhere"
    return f"{reason}: TOOWL_DEBUG=1 shows where it failed, `toowld doctor` perhaps why"


def _drop_output() -> None:
    """Make the interpreter's own flush at exit succeed: what can't be written has been told already."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):  # no real stdout (closed, or captured): nothing to flush to
        pass


def _fail(arguments: list[str], message: str, status: int, code: str = ToowlError.code) -> int:
    if os.environ.get("TOOWL_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exc()
    if _want_json(arguments):
        from toowl.commands._json import error_line

        line = error_line(code, message, status)
    else:
        from toowl.commands._text import safe

        line = f"toowl: {safe(message)}"
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        return status  # nobody listens: the exit status has to do
    return status


def _want_json(arguments: list[str]) -> bool:
    """Whether --json was said to us, and not to a command that is behind it."""
    if "--json" not in arguments:
        return False
    if arguments[0] == "exec":
        from toowl.commands.exec import split

        arguments, _ = split(arguments[1:])
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


if __name__ == "__main__":
    sys.exit(main())
