"""``toowld upgrade``: have the keepers of running sessions go on with the code that is installed now."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from toowld import __version__, paths
from toowld.client import Client
from toowld.errors import DaemonUnreachable, RefusedError, ToowlError, UsageError

#: The daemon answers within 30 s (`upgrading`).
_PATIENCE = 40.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Have custodians, the processes that keep persistent sessions, go on with the code of the
        running daemon: in the same process, with the same PTY, log and connections, so that neither the programs in
        the sessions nor those attached notice. The new code is tried beforehand, in another process, on what it would
        take over; if that or anything else fails, the old code runs on and you are told why. After an upgrade of the
        package: restart the daemon, then `toowld upgrade --all`."""
    parser.add_argument("sessions", metavar="SESSION", nargs="*", help="id, the beginning of an id, or name")
    parser.add_argument(
        "--all", action="store_true", help="every custodian of another version than the daemon's"
    )
    parser.add_argument("--dry-run", action="store_true", help="only try whether they could")


def run(args: argparse.Namespace) -> int:
    """Upgrade one after the other; the exit status is that of the first failure."""
    if args.all == bool(args.sessions):
        raise UsageError("name sessions, or say --all for those of another version")
    with Client.connect(paths.resolve()) as client:
        _check_daemon(client)
        sessions = _of_another_version(client) if args.all else list(dict.fromkeys(args.sessions))
        if not sessions:
            print(f"nothing to do: every session is kept by toowl {__version__}")
        failures = [failure for session in sessions if (failure := _upgrade(client, session, args.dry_run))]
    return failures[0] if failures else 0


def _check_daemon(client: Client) -> None:
    """The daemon says which code that is: were it not the installed one, we would upgrade to who knows what."""
    running = client.hello.about.get("build")
    if running != __version__:
        raise RefusedError(
            f"the daemon is toowl {running}, and this is {__version__}: restart it first "
            "(toowld stop && toowld --detach, or systemctl restart toowld); persistent sessions live on"
        )


def _of_another_version(client: Client) -> list[str]:
    return [
        str(session["id"])
        for session in client.request("list")["sessions"]
        if session.get("persistent")
        and session.get("state") in ("running", "unreachable")
        and session.get("custodian_version") != __version__
    ]


def _upgrade(client: Client, session: str, dry_run: bool) -> int:
    """One of them; the exit status."""
    try:
        answer: dict[str, Any] = client.request(
            "upgrade", session=session, dry_run=dry_run, timeout=_PATIENCE
        )
    except DaemonUnreachable:
        raise  # trying the others is of no use
    except ToowlError as error:
        print(f"toowld: {error}", file=sys.stderr)
        return error.exit_status
    label = answer.get("name") or answer.get("id")
    way = "could go on as" if dry_run else "goes on as"
    print(f"{label}: kept by toowl {answer.get('before')}, {way} {answer.get('after')}", flush=True)
    return 0
