"""``toowl help``: what there is, and how one command is used. Its tables are also the manual's."""

from __future__ import annotations

from toowl.commands import ALIASES, COMMANDS
from toowl.commands._options import Parser, command_parser
from toowld.errors import UsageError

SUMMARY = "show the commands, or how one is used"

TAGLINE = "terminal sessions that survive their daemon"

PLAIN = "attach the session that was left last, or make one"

EXIT_STATUS = (
    ("0", "done"),
    ("1", "an error"),
    ("2", "the command line is wrong"),
    ("3", "no such session"),
    ("4", "refused: busy, not permitted, or not in this state"),
    ("5", "the daemon can't be reached"),
    ("10", "wait: the session's program ended before"),
    ("124", "wait: the time is over"),
)

ENVIRONMENT = (
    (
        "TOOWL_SESSION",
        "inside a session: its id. info, clients, switch, detach, kill, rename, tag, set and export take it when "
        "SESSION is left out.",
    ),
    ("TOOWL_NAME", "inside a session: the name that it had when its program was started"),
    ("SSH_AUTH_SOCK", "inside a session: leads to the agent of the terminal that was attached last"),
    (
        "TOOWL_PROMPT",
        "with toowl shell-integration: what stands before a prompt, {} being the session's name (default: '[{}] '); "
        "empty: nothing",
    ),
    ("TOOWL_NO_AUTOSTART", "set to 1: never start a daemon, or its service, from toowl"),
    (
        "TOOWL_RUNTIME_DIR",
        "folder of the sockets; else $RUNTIME_DIRECTORY, a /run/toowl or /run/toowl-NAME that is ours (a system "
        "unit's), $XDG_RUNTIME_DIR/toowl or /tmp/toowl-UID",
    ),
    ("TOOWL_STATE_DIR", "folder of records and scrollback; else $STATE_DIRECTORY or $XDG_STATE_HOME/toowl"),
    ("TOOWL_DEBUG", "set to 1: show where an error came from"),
    ("TOOWLD_PERSISTENT_SESSIONS", "set to 1 for the daemon: sessions made from then on survive its end"),
    (
        "TOOWLD_TABLE_KEY",
        "for the daemon: any setting, such as TOOWLD_DAEMON_TICK for daemon.tick; goes before the file",
    ),
    ("TOOWLD_SCOPES", "set to 0 for the daemon: ask no systemd for a scope of its own for each session"),
)


def parser() -> Parser:
    made = command_parser(
        "help",
        SUMMARY,
        usage="toowl help [COMMAND]",
        description="Show the commands, or how COMMAND is used.",
    )
    made.add_argument("name", metavar="COMMAND", nargs="?", help="the command")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if args.name is None:
        print(overview())
        return 0
    name = ALIASES.get(args.name, args.name)
    if name not in COMMANDS:
        raise UsageError(f"no command {args.name!r}: `toowl help` lists the commands")
    command(name).print_help()
    return 0


def command(name: str) -> Parser:
    """The parser of a command."""
    made: Parser = __import__(f"toowl.commands.{COMMANDS[name]}", fromlist=["parser"]).parser()
    return made


def overview() -> str:
    """All commands at a glance."""
    rows = [("", PLAIN), *((name, command(name).summary) for name in COMMANDS)]
    room = max(len(name) for name, _ in rows) + len("toowl ")
    lines = [f"toowl: {TAGLINE}", ""]
    lines += [f"  {f'toowl {name}'.rstrip():{room}}  {what}" for name, what in rows]
    lines += [
        "",
        "SESSION is an id, the beginning of an id, or a name. In an attached session Ctrl-\\ then d detaches.",
        "`toowl help COMMAND` tells more; so do `man toowl` and `toowld doctor`.",
    ]
    return "\n".join(lines)
