"""``toowl env``: what the shells of a session follow: its agent, and the environment of who was attached last."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from toowl.commands._connect import connect, note
from toowl.commands._current import current_session
from toowl.commands._options import Parser, add_session, command_parser, session_or_current
from toowl.commands._text import safe
from toowl.offline import resolve
from toowld import paths
from toowld.errors import DaemonUnreachable

if TYPE_CHECKING:
    from toowld.paths import Paths

SUMMARY = "show what terminal and agent a session's shells have"

_SHELLS = ("bash", "zsh", "fish")


def parser() -> Parser:
    made = command_parser(
        "env",
        SUMMARY,
        usage="toowl env [SESSION] [--shell bash|zsh|fish | --json]",
        description="""Show the variables that belong to the terminal that was attached last (DISPLAY, SSH_CONNECTION
        and the like; the setting environment.follow names them), and the ssh-agent that the session's SSH_AUTH_SOCK
        leads to. A shell with toowl shell-integration takes them over by itself; any other does it with --shell. It
        needs no daemon.""",
        examples=(
            ('eval "$(toowl env --shell bash)"', "inside a session, in a shell without the integration"),
            ("toowl env work", "what the shells of work follow"),
        ),
    )
    add_session(made, optional=True)
    group = made.add_mutually_exclusive_group()
    group.add_argument(
        "--shell",
        choices=_SHELLS,
        help="print commands that make a shell take them over, and drop what that terminal does not have",
    )
    group.add_argument("--json", action="store_true", help="print an object; null: that terminal has none")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    where = paths.resolve()
    session_id = _session_id(where, session_or_current(args.session))
    followed = read(where, session_id)
    agent, problem = agent_of(where, session_id)
    if args.json:
        print(json.dumps({"environment": followed, "agent": agent, "agent_problem": problem}, indent=2))
        return 0
    if args.shell:
        for name, value in followed.items():
            print(_command(args.shell, name, value))
        return 0
    for name, value in followed.items():
        print(safe(f"{name}={value}" if value is not None else f"{name} is unset"))
    if problem or agent:
        print(safe(problem or f"SSH_AUTH_SOCK leads to {agent}"))
    if not followed:
        note("nobody who may type was attached yet: its shells have what they were started with")
    return 0


def _session_id(where: Paths, session: str) -> str:
    """The id of a session; our own is known without asking."""
    if session == current_session():
        return session
    try:
        with connect() as client:
            return str(client.request("info", session=session)["id"])
    except DaemonUnreachable:
        return str(resolve(where, session)["id"])


def read(where: Paths, session_id: str) -> dict[str, str | None]:
    """The variables; None for one that the terminal does not have. Empty where nobody was attached yet."""
    try:
        text = os.fsdecode(where.environment(session_id).read_bytes())
    except OSError:
        return {}
    found: dict[str, str | None] = {}
    for line in text.split("\n")[1:]:  # the first one only tells that all is new
        name, equals, value = line.partition("=")
        if name and name != "TOOWL_NAME":
            found[name] = value if equals else None
    return found


def agent_of(where: Paths, session_id: str) -> tuple[str | None, str | None]:
    """Where the session's SSH_AUTH_SOCK leads, and what is wrong with that if something is.

    Neither where nobody has had anything to follow yet; so it stays if whoever keeps the session is too old for it.
    """
    link = where.agent(session_id)
    try:
        target = os.fspath(link.readlink())
    except OSError:
        if not where.environment(session_id).exists():
            return None, None
        return None, "no agent: none of those attached has one"
    if not paths.answers(os.fspath(link)):
        return target, f"no agent: nobody answers at {target}"
    return target, None


def _command(shell: str, name: str, value: str | None) -> str:
    """What has a shell take a variable over."""
    if value is None:
        return f"set -e {name};" if shell == "fish" else f"unset {name};"
    if shell == "fish":
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{quoted}';"
    import shlex

    return f"export {name}={shlex.quote(value)};"
