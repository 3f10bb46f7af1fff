"""``toowl restore``: bring back sessions that were lost."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from toowl.commands import _json, _text
from toowl.commands._attaching import label
from toowl.commands._connect import connect, note, notices
from toowl.commands._options import Parser, command_parser
from toowl.commands._several import add_json, tell
from toowld import errors, wire
from toowld.errors import DaemonUnreachable, ToowlError, UsageError
from toowld.wire.login import login_variables
from toowld.wire.text import pack_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from toowld.client import Client

SUMMARY = "bring back sessions that were lost, by a reboot for instance"

#: For the answer to one of them, with all the others under way.
_PATIENCE = 60.0

#: Asked for at a time: the daemon lets further ones wait in its socket, and we would wait with them.
_AT_ONCE = 16


def parser() -> Parser:
    made = command_parser(
        "restore",
        SUMMARY,
        usage="toowl restore [SESSION...] | --all [--json]",
        description="""Bring back sessions that were lost: with the machine, with their keeper, or (standard sessions)
        with their daemon. Each gets a fresh shell below its scrollback, in the same folder, with the same
        environment and size, and stays detached. A session that ran a command, or was made with --on-restore,
        waits there with the command: Enter runs it, n or Ctrl-C gives a shell instead. Without SESSION, list what
        could be restored.""",
        examples=(("toowl restore", "what could be restored"), ("toowl restore --all", "after a reboot")),
    )
    made.add_argument("sessions", metavar="SESSION", nargs="*", help="id, the beginning of an id, or name")
    made.add_argument("--all", action="store_true", help="all that were lost, at once")
    add_json(made, "print each session as an object, a line each; without SESSION a list of objects")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if args.all and args.sessions:
        raise UsageError("--all restores all sessions: name none, or leave --all out")
    with connect(autostart=True) as client:
        if args.sessions:
            return _restore(client, list(dict.fromkeys(args.sessions)), {}, as_json=args.json)
        lost = [session for session in client.request("list")["sessions"] if session.get("restorable")]
        _warn_of_damage(client)
        if args.all:
            names = {str(session["id"]): label(session) for session in lost}
            return _restore(client, list(names), names, as_json=args.json)
    if args.json:
        _json.print_list(lost)
        return 0
    return _print(lost)


def _print(lost: Sequence[dict[str, Any]]) -> int:
    home, now = os.environ.get("HOME", ""), time.time()
    rows = [("ID", "NAME", "ACTIVE", "CWD", "COMMAND", "LOST BECAUSE")]
    for session in lost:
        active = session.get("last_active_at")
        rows.append(
            (
                _text.safe(str(session.get("id", "?"))),
                _text.safe(session.get("name") or "-"),
                _text.age(now - active) if isinstance(active, int | float) else "-",
                _text.fold_home(_text.safe(session.get("cwd") or "-"), home),
                _text.safe(session.get("on_restore") or session.get("command") or "-"),
                _text.safe(session.get("error") or session.get("display") or "-"),
            )
        )
    if lost:
        for line in _text.table(rows, None):
            print(line)
        sys.stdout.flush()
        note("`toowl restore SESSION` or `toowl restore --all` brings them back")
    else:
        note("nothing was lost")
    return 0


def _restore(client: Client, sessions: Sequence[str], names: dict[str, str], *, as_json: bool) -> int:
    """Bring them back, some at a time; the exit status is that of the first failure."""
    env = pack_text(login_variables(os.environ))
    status = restored = 0
    for first in range(0, len(sessions), _AT_ONCE):
        for session, answer in _ask(client, sessions[first : first + _AT_ONCE], env):
            if isinstance(answer, ToowlError):
                tell(answer, session, as_json=as_json)
                status = status or answer.exit_status
                continue
            restored += 1
            notices(answer)
            if as_json:
                _json.print_line(answer)
            else:
                print(f"restored {_text.safe(names.get(session) or label(answer))}", flush=True)
    if not sessions:
        note("nothing was lost")
    elif len(sessions) > 1 and restored < len(sessions):
        note(f"{restored} of {len(sessions)} sessions were restored")
    return status


def _ask(
    client: Client, sessions: Sequence[str], env: Any
) -> Iterable[tuple[str, dict[str, Any] | ToowlError]]:
    """Ask for all, and give the answers as they come.

    Raises:
        DaemonUnreachable: it went away; waiting for the others is of no use.
    """
    asked = {client.post("restore", {"session": session, "env": env}): session for session in sessions}
    while asked:
        message = client.receive(timeout=_PATIENCE)
        if isinstance(message, wire.Failure):
            if message.id not in asked:
                raise DaemonUnreachable(message.text)
            yield asked.pop(message.id), errors.from_wire(message.code, message.text)
        elif isinstance(message, wire.Response) and message.id in asked:
            yield asked.pop(message.id), dict(message.result)


def _warn_of_damage(client: Client) -> None:
    """Say which records the daemon could not read: their sessions are missing from every list."""
    folder = str(client.request("status").get("state_dir") or "")
    for item in client.request("doctor").get("skipped") or ():
        if folder and str(item.get("path", "")).startswith(f"{folder}/"):
            note(f"skipped {item['path']}: {item.get('reason')}")
