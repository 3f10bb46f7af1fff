"""``toowl info``: all that is known about one session."""

from __future__ import annotations

import json
import time
from typing import Any

from toowl.commands._connect import connect
from toowl.commands._options import Parser, add_session, command_parser, session_or_current
from toowl.commands._text import age, safe, size
from toowl.commands.clients import output, role
from toowl.commands.env import agent_of
from toowl.commands.ls import as_text, is_of_another_version, status
from toowld import __version__, paths
from toowld.wire import SEQ_LEAP

SUMMARY = "show all that is known about a session"


def parser() -> Parser:
    made = command_parser(
        "info",
        SUMMARY,
        usage="toowl info [SESSION] [--json]",
        description="Show all that is known about a session, what its state means, and who is attached.",
        examples=(("toowl info", "inside a session: about that one"),),
    )
    add_session(made, optional=True)
    made.add_argument("--json", action="store_true", help="print an object, as in `toowl ls --json` and more")
    return made


#: It is not said that the scrollback holds more than this: then it is as good as endless (seconds).
_LONG = 100 * 86400


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    session = session_or_current(args.session)
    with connect() as client:
        info = client.request("info", session=session)
    info["agent"], info["agent_problem"] = agent_of(paths.resolve(), str(info["id"]))
    if args.json:
        print(json.dumps(info, indent=2, default=as_text))
    else:
        now = time.time()
        rows = [*_rows(info, now), *_client_rows(info, now)]
        room = max(len(key) for key, _ in rows)
        for key, value in rows:
            print(f"{key:{room}}  {value}")
    return 0


def _rows(info: dict[str, Any], now: float) -> list[tuple[str, str]]:
    """What is known, as (key, value); what is not known is left out."""

    def text(key: str) -> str | None:
        value = info.get(key)
        return None if value is None else safe(value if isinstance(value, str | bytes) else str(value))

    def moment(key: str) -> str | None:
        value = info.get(key)
        if not isinstance(value, int | float):
            return None
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(value))} ({age(now - value)} ago)"

    found = [
        ("id", text("id")),
        ("name", text("name")),
        ("tags", _tags(info)),
        ("status", status(info)),
        ("", text("sentence")),
        ("error", text("error")),
        ("command", text("command")),
        ("on restore", text("on_restore")),
        ("cwd", text("cwd")),
        ("title", text("title")),
        ("shell", _prompt(info)),
        ("agent", (text("agent_problem") or text("agent")) if info.get("pid") else None),
        ("bells", text("bells") if info.get("bells") else None),
        ("pid", text("pid")),
        ("custodian", text("custodian_pid")),
        ("custodian version", _version(text("custodian_version"), info)),
        ("size", _size(info)),
        ("created", moment("created_at")),
        ("last active", moment("last_active_at")),
        ("ended", moment("ended_at")),
        ("ends", _ends(info)),
        ("limits", _limits(info)),
        ("output so far", size(info["seq"] % SEQ_LEAP) if isinstance(info.get("seq"), int) else None),
        ("scrollback kept", _kept(info)),
        ("log", text("log_dir")),
        ("log error", text("log_error")),
    ]
    return [(key, value) for key, value in found if value is not None]


def _ends(info: dict[str, Any]) -> str | None:
    """When it ends by itself."""
    left = info.get("ends_in")
    if not isinstance(left, int | float):
        return None
    return f"in {age(left)}" + (", unless somebody attaches" if info.get("ends_unless_attached") else "")


def _limits(info: dict[str, Any]) -> str | None:
    """What its programs may use of the machine."""
    limits = (info.get("record") or {}).get("confined") or {}
    parts = {
        "memory_max": lambda value: f"memory {size(value)}",
        "cpu_quota": lambda value: f"CPU {value:g} %",
        "tasks_max": lambda value: f"{value} tasks",
    }
    return ", ".join(parts[name](value) for name, value in limits.items() if name in parts) or None


def _tags(info: dict[str, Any]) -> str | None:
    return safe(", ".join(f"{key}={value}" for key, value in (info.get("tags") or {}).items())) or None


def _prompt(info: dict[str, Any]) -> str | None:
    """What its shell does, as that tells it."""
    doing = {"prompt": "at its prompt", "command": "a command runs"}.get(str(info.get("prompt")))
    if info.get("waiting") == "input":
        return "waits for somebody to type"
    if doing is None or info.get("last_exit") is None:
        return doing
    return f"{doing}; the last one exited {info['last_exit']}"


def _version(version: str | None, info: dict[str, Any]) -> str | None:
    """Of whoever keeps it; the command that brings it to ours, if it is another one."""
    if not is_of_another_version(info):
        return version
    return f"{version}; `toowld upgrade {info.get('id')}` has it go on with {__version__}"


def _size(info: dict[str, Any]) -> str | None:
    """Of its screen; and whose that is, if not the smallest terminal's."""
    if not (info.get("cols") and info.get("rows")):
        return None
    of_latest = (info.get("record") or {}).get("size_policy") == "latest"
    return f"{info['cols']}x{info['rows']}" + (", of the terminal used last" if of_latest else "")


def _kept(info: dict[str, Any]) -> str | None:
    """How much scrollback there is, how much there may be, and how long a time that is."""
    used, rate = info.get("log_bytes"), info.get("log_rate")
    limit = (info.get("record") or {}).get("scrollback_bytes")
    if not isinstance(used, int):
        return None
    if not isinstance(limit, int) or limit <= 0:
        return size(used)
    text = f"{size(used)} of {size(limit)} ({100 * used / limit:.0f} %)"
    if isinstance(rate, int | float) and rate > 0 and limit / rate < _LONG:
        text += f"; at the {size(rate)}/s of late, that holds the last {age(limit / rate)}"
    return text


def _client_rows(info: dict[str, Any], now: float) -> list[tuple[str, str]]:
    rows = []
    for client in info.get("client_list") or ():
        parts = [
            f"{client.get('tty') or 'no tty'}",
            f"{client.get('cols')}x{client.get('rows')}",
            f"pid {client.get('pid')}" if client.get("pid") else "",
            f"for {age(now - client['since'])}" if isinstance(client.get("since"), int | float) else "",
            "" if (found := role(client)) == "-" else found,
            "" if (kept := output(client)) in ("-", "live") else kept,
        ]
        rows.append((f"client {client.get('client')}", safe(", ".join(part for part in parts if part))))
    return rows
