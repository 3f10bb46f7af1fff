"""The command line of ``toowld``: run the daemon, ask how it is, stop it, install it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable

from toowld import __version__, paths
from toowld.client import Client
from toowld.errors import DaemonUnreachable, RefusedError, ToowlError

_DESCRIPTION = """\
Keep terminal sessions alive. Without a command, run the daemon in the foreground, as systemd wants it.

With TOOWLD_PERSISTENT_SESSIONS=1 in its environment, each session that is created is owned by a small process of its
own, and outlives the daemon: a crash, an upgrade or a restart costs nobody a shell.
"""

_EPILOG = """\
files: sockets and lock in $TOOWL_RUNTIME_DIR, else $XDG_RUNTIME_DIR/toowl, else /tmp/toowl-UID; records and
scrollback in $TOOWL_STATE_DIR, else ~/.local/state/toowl; settings in ~/.config/toowl/config.toml: toowld(8) and
docs/configuration.md list them.
"""


def parser() -> argparse.ArgumentParser:
    """The one source of ``--help``, the man page and what is accepted."""
    from toowld.daemon import install, upgrade

    top = argparse.ArgumentParser(
        prog="toowld",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"toowld {__version__}")
    top.add_argument(
        "--detach", action="store_true", help="run in the background; return when sessions can be used"
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    status = commands.add_parser("status", help="say what the running daemon is doing")
    status.add_argument("--json", action="store_true", help="as one JSON object")
    stop = commands.add_parser("stop", help="stop the daemon; persistent sessions live on")
    stop.add_argument(
        "--yes", action="store_true", help="don't ask, even if standard sessions end with the daemon"
    )
    commands.add_parser("reload", help="make the daemon read its settings again")
    check = commands.add_parser(
        "doctor", help="check that sessions will survive, and say what to do where not"
    )
    check.add_argument("--json", action="store_true", help="as one JSON object")
    upgrade.add_arguments(
        commands.add_parser("upgrade", help="have the keepers of running sessions go on with the newest code")
    )
    install.add_arguments(commands.add_parser("install", help="write a systemd unit for this toowld"))
    return top


def main(argv: list[str]) -> int:
    """Run one command; returns the exit status."""
    args = _parsed(argv)
    handlers: dict[str | None, Callable[[argparse.Namespace], int]] = {
        None: _run_daemon,
        "status": _status,
        "stop": _stop,
        "reload": _reload,
        "doctor": _doctor,
        "upgrade": _upgrade,
        "install": _install,
    }
    try:
        status = handlers[args.command](args)
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
    except ToowlError as error:
        print(f"toowld: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:
        if args.command is None:
            raise  # the daemon itself: a bug, and the journal should have all of it
        _drop_output()
        reason = error.strerror or error
        text = f"{error.filename}: {reason}: see `toowld doctor`"
        if not error.filename:
            text = f"can't write what there is to say: {reason}: send the output elsewhere"
        print(f"toowld: {text}", file=sys.stderr)
        return 1
    return status


def _parsed(argv: list[str]) -> argparse.Namespace:
    if argv in ([], ["--detach"]):  # the daemon's start: it spares itself what only the commands load
        return argparse.Namespace(command=None, detach=bool(argv))
    return parser().parse_args(argv)


def _drop_output() -> None:
    """Make the interpreter's own flush at exit succeed: what can't be written has been told already."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_daemon(args: argparse.Namespace) -> int:
    from toowld.daemon import detach

    where = paths.resolve()
    where.prepare()
    if args.detach:
        return detach.detach(where)
    detach.log_to_stderr()
    detach.serve(where)
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from toowld.daemon import doctor

    return doctor.run(paths.resolve(), args.json)


def _upgrade(args: argparse.Namespace) -> int:
    from toowld.daemon import upgrade

    return upgrade.run(args)


def _install(args: argparse.Namespace) -> int:
    from toowld.daemon import install

    return install.run(args)


def _status(args: argparse.Namespace) -> int:
    with Client.connect(paths.resolve()) as client:
        status = client.request("status")
    if args.json:
        print(json.dumps(status, indent=2))
        return 0
    sessions = status["sessions"]
    print(
        f"toowld {status['version']}, pid {status['pid']}, up {_duration(time.time() - status['started_at'])}"
    )
    print(
        f"sessions: {sessions['total']} ({sessions['persistent']} persistent, {sessions['ended']} ended, "
        f"{sessions['unreachable']} unreachable)"
    )
    print(
        f"new sessions are {'persistent' if status['persistent_enabled'] else 'standard: they end with the daemon'}"
    )
    print(f"runtime folder: {status['runtime_dir']}\nstate folder:   {status['state_dir']}")
    return 0


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def _stop(args: argparse.Namespace) -> int:
    where = paths.resolve()
    with Client.connect(where) as client:
        dying = client.request("status")["sessions"]["standard_running"]
        if dying and not args.yes:
            question = f"{dying} standard session{'s' if dying > 1 else ''} will end with the daemon"
            if not sys.stdin.isatty():
                raise RefusedError(f"{question}: say `toowld stop --yes`")
            if not _agreed(f"{question}. Stop it? [y/N] "):
                raise RefusedError("the daemon was not stopped")
        client.request("stop")
        _wait_until_gone(client)
    return 0


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D is no yes, and leaves the cursor behind the question
        print()
        return False


def _wait_until_gone(client: Client) -> None:
    """Its end of the connection closes when it lets go of everything."""
    client.socket.settimeout(10)
    try:
        while client.socket.recv(4096):
            pass
    except TimeoutError:
        raise DaemonUnreachable("the daemon was told to stop, but still runs: see `toowld status`") from None
    except OSError:
        return  # reset: it is gone


def _reload(args: argparse.Namespace) -> int:
    with Client.connect(paths.resolve()) as client:
        answer = client.request("reload")
    for notice in answer.get("notices") or ():
        print(notice)
    return 0
