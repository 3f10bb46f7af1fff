"""``toowl new``: make a session."""

from __future__ import annotations

from toowl.commands import _attaching
from toowl.commands._connect import connect
from toowl.commands._options import (
    Parser,
    command_parser,
    limits,
    limits_of,
    of_new_session,
    split_command,
    variables,
)
from toowld.errors import UsageError

SUMMARY = "make a session"


def parser() -> Parser:
    made = command_parser(
        "new",
        SUMMARY,
        usage="toowl new [-d|--awaiting] [--json] [-n NAME] [--cwd DIR] [--env K=V]... [--persistent|--standard] "
        "[--size smallest|latest] [--on-restore CMDLINE] [--idle-timeout TIME] [--ttl TIME] [--memory-max BYTES] "
        "[--cpu-quota PERCENT] [--tasks-max COUNT] [-- CMD ARG...]",
        description="""Make a session that runs CMD, or your shell, and attach this terminal to it. The session
        gets your environment, umask and limits, and the folder that you are in. Starts the daemon if none runs.""",
        examples=(
            ("toowl new -n work", "a shell called work"),
            (
                "toowl new -d -n build -- make -j8",
                "a command in the background; prints the id of its session",
            ),
            ("toowl new -d --json -- make | jq -r .name", "with all that is known of it"),
            (
                "toowl new -n notes --on-restore 'vim notes.md'",
                "a shell; after a reboot, vim is offered in its place",
            ),
            ("toowl new --awaiting -n deploy -- ./deploy.sh", "all set; `toowl start deploy` runs it"),
            (
                "toowl new -n try --ttl 2h --memory-max 2G",
                "gone in two hours; its programs may take 2 GiB together",
            ),
            ("toowl new --cwd /srv --env EDITOR=vi", "in another folder, with one more variable"),
        ),
    )
    group = made.add_mutually_exclusive_group()
    group.add_argument("-d", "--detached", action="store_true", help="do not attach; print the id")
    group.add_argument(
        "--awaiting",
        action="store_true",
        help="do not start it either: toowl start does, or the first attach; print the id",
    )
    made.add_argument(
        "--json",
        action="store_true",
        help="with -d or --awaiting: print the session as an object, as toowl info does, and not only its id",
    )
    of_new_session(made)
    made.add_argument(
        "--size",
        choices=("smallest", "latest"),
        help="its size while several terminals are attached: that of the smallest one, or of the latest, whose user "
        "attached, typed or resized it last (default: as the daemon is set, smallest)",
    )
    made.add_argument(
        "--on-restore",
        metavar="CMDLINE",
        help="what your shell is to run when the session was lost (a reboot) and is attached or restored: "
        "it is shown, and waits for Enter",
    )
    limits(made)
    made.add_argument("command", metavar="CMD", nargs="*", help="what to run, and its arguments, after --")
    return made


def run(argv: list[str]) -> int:
    ours, command = split_command(argv)
    args = parser().parse_args(ours)
    if args.command:
        word = args.command[0]
        raise UsageError(
            f"what is {word!r}? a command goes behind --, a name behind -n: see `toowl new --help`"
        )
    extra_env = variables(args.env)
    aside = args.detached or args.awaiting
    if args.json and not aside:
        raise UsageError("--json prints what was made, instead of attaching it: say -d or --awaiting, too")
    if not aside:
        _attaching.need_terminal("`toowl new -d` makes a session without one")
    with connect(autostart=True) as client:
        made = _attaching.create(
            client,
            argv=command,
            name=args.name,
            cwd=args.cwd,
            extra_env=extra_env,
            persistent=args.persistent,
            on_restore=args.on_restore,
            size_policy=args.size,
            start=not args.awaiting,
            settings=limits_of(args),
        )
        if aside:
            if args.json:
                from toowl.commands._json import print_session

                print_session(made)
            else:
                print(made["id"])
            return 0
        # What has ended by now is shown: a command that is started twice may do harm.
        return _attaching.put_on_terminal(client, made["id"], respawn=False)
