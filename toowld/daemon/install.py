"""``toowld install``: the systemd units, and putting the right one in place.

Owns the text of every unit; ``packaging/systemd`` holds the same text with ``/usr/local/bin/toowld`` in it, and a
test proves that they agree. Starts nothing: it prints what to run next.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import toowld
from toowld.classes import frozen
from toowld.daemon.systemd import lingers
from toowld.errors import RefusedError, UsageError

SYSTEM_FOLDER = Path("/etc/systemd/system")

#: By this line a later install knows its own file. Changes belong in a drop-in, which it never touches.
_MARK = (
    "# Written by `toowld install`: put changes of yours in a drop-in (`systemctl edit toowld`), not here."
)

_SERVICE = """\
[Service]
# Started means: every session found again, and the socket open. Only the daemon itself may say so.
Type=notify
NotifyAccess=main
# The switch: sessions made under this daemon outlive it. Without it they end when it ends.
Environment=TOOWLD_PERSISTENT_SESSIONS=1
{user}ExecStart={exec_start}
# The journal's name for it, whatever starts it.
SyslogIdentifier=toowld
# Read the configuration again (`systemctl reload`).
ExecReload=kill -HUP $MAINPID

# A crash, a kill -9, an OOM kill or a hang bring it back at once, however often; `toowld stop` stays stopped.
Restart=on-failure
RestartSec=500ms
# The daemon gives a sign of life twice in this time. One that hangs is killed and started again.
WatchdogSec=30
# Finding 500 sessions again takes about a second; a custodian that does not answer costs two more.
TimeoutStartSec=60
# It has nothing to wait for when it goes: the sessions stay.
TimeoutStopSec=15

# Stop and restart end the daemon alone. Custodians have scopes of their own where that is possible; where not,
# they live in this service, and this line alone keeps them alive.
KillMode=process
# Should the kernel kill one process here for memory, the others stay.
OOMPolicy=continue
# The sockets: one folder, ours alone, kept over a stop, because the custodians listen in it all the time.
{runtime_note}RuntimeDirectory={runtime}
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
# No StateDirectory=: records and scrollback are in ~/.local/state/toowl, where `toowl export` finds them while
# no daemon runs.

# No LimitNOFILE=: shells would inherit it, and the daemon itself uses all that the hard limit allows.
# Without scopes all that runs in the sessions counts here.
TasksMax=infinity
# No sandboxing (PrivateTmp=, ProtectHome=, NoNewPrivileges=, ...): every shell would inherit it.
"""

_USER = """\
# {user_note}
User={user}
"""

_HEAD = """\
[Unit]
Description={description}
Documentation=man:toowld(8)
"""

_AFTER = """\
# Homes and accounts may come over the network.
After=remote-fs.target nss-user-lookup.target
"""

_PATIENCE = """\
# Never give up on starting it.
StartLimitIntervalSec=0
"""

_INSTALL = """\

[Install]
# {note}
WantedBy={target}
"""

_RUNTIME_NOTES = {
    "system": "# `toowl` run by that user looks here by itself.\n",
    "template": "# `toowl` run by that user looks here by itself.\n",
    "user": "# Below $XDG_RUNTIME_DIR, where `toowl` looks by itself.\n",
}


@frozen
class Unit:
    """One unit file: what it is called, and what is in it."""

    name: str
    text: str


def render(kind: str, exec_start: str = "/usr/local/bin/toowld", user: str = "root") -> Unit:
    """The unit of one ``kind``: ``system`` (runs as ``user``), ``template`` (one instance per user) or ``user``."""
    assert kind in _RUNTIME_NOTES, kind
    described = {"system": f" of {user}", "template": " of %i", "user": ""}[kind]
    head = _HEAD.format(description=f"Terminal sessions{described} that outlive their daemon")
    if kind != "user":
        head += _AFTER
    if kind == "user":
        run_as = ""
    elif kind == "template":
        run_as = _USER.format(
            user_note="The person whose sessions these are: toowld@alice is alice's.", user="%i"
        )
    else:
        run_as = _USER.format(user_note="The one person whose sessions these are.", user=user)
    service = _SERVICE.format(
        user=run_as,
        exec_start=exec_start,
        runtime="toowl-%i" if kind == "template" else "toowl",
        runtime_note=_RUNTIME_NOTES[kind],
    )
    install = (
        _INSTALL.format(
            note="With the user's manager: at login, or at boot with linger.", target="default.target"
        )
        if kind == "user"
        else _INSTALL.format(note="At boot, before anyone logs in.", target="multi-user.target")
    )
    name = "toowld@.service" if kind == "template" else "toowld.service"
    return Unit(name, f"{_MARK}\n{head}{_PATIENCE}\n{service}{install}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``toowld install``."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--user", action="store_true", help="a unit of your own (the default, unless you are root)"
    )
    where.add_argument(
        "--system", action="store_true", help="a unit of the machine, for one user (needs root)"
    )
    where.add_argument(
        "--template",
        action="store_true",
        help="a unit of the machine, toowld@USER, for any number of users (needs root)",
    )
    parser.add_argument(
        "--run-as",
        metavar="USER",
        help="whose sessions the --system unit keeps (default: you, also under sudo)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the unit, write nothing")


def run(args: argparse.Namespace) -> int:
    """Write the unit that was asked for, or print it; returns the exit status.

    Raises:
        UsageError: the options don't go together, or there is no such user.
        RefusedError: not permitted, or somebody else's file is in the way.
    """
    kind = _kind(args)
    if args.run_as and kind == "user":
        raise UsageError("--run-as needs --system: a unit of your own always runs as you")
    user = _run_as(args.run_as)
    unit = render(kind, exec_start_of(sys.argv[0]), user)
    if args.dry_run:
        sys.stdout.write(unit.text)
        return 0
    file = folder(kind) / unit.name
    if kind != "user" and os.getuid() != 0:
        option = "--template" if kind == "template" else f"--system --run-as {user}"
        raise RefusedError(
            f"can't write {file}: only root may: run `sudo toowld install {option}`, or `toowld install --user`"
        )
    print(f"{file}: {put(file, unit, user)}")
    print("Next:")
    for command in next_commands(kind, user):
        print(f"  {command}")
    return 0


def _kind(args: argparse.Namespace) -> str:
    if args.user:
        return "user"
    if args.template:
        return "template"
    return "system" if args.system or args.run_as or os.getuid() == 0 else "user"


def _run_as(name: str | None) -> str:
    name = name or os.environ.get("SUDO_USER")
    try:
        return (pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())).pw_name
    except KeyError:
        raise UsageError(f"there is no user {name or os.getuid()}: name one with --run-as USER") from None


def folder(kind: str) -> Path:
    """Where systemd looks for units of that kind that an administrator or a user made."""
    if kind != "user":
        return SYSTEM_FOLDER
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "systemd/user"


def exec_start_of(program: str) -> str:
    """The command line that starts the toowld which runs now, from any folder.

    ``program`` is its ``sys.argv[0]``: the script itself, or a file of the package after ``python -m toowld``. Then
    the script beside the interpreter is taken, if it is there and starts this very package.
    """
    package = Path(toowld.__file__).parents[1]
    script = Path(program)
    if script.name == "toowld":
        # Symlinks stay as they are: ~/.local/bin/toowld still points at the right thing after an upgrade.
        script = script if script.is_absolute() else Path(shutil.which(program) or program).absolute()
        return _quote(str(script))
    script = Path(sys.executable).with_name("toowld")
    if package == Path(sysconfig.get_path("purelib")) and os.access(script, os.X_OK):
        return _quote(str(script))
    # Run from a folder of source: systemd starts it in another one. -P: what lies there is not ours.
    return f"/usr/bin/env {_quote(f'PYTHONPATH={package}')} {_quote(sys.executable)} -P -m toowld"


def _quote(word: str) -> str:
    """One word of an ``ExecStart=`` line (systemd.service(5), "Command lines"; specifiers in systemd.unit(5))."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if set(word) & set(" \t'\"\\;") else word


def put(file: Path, unit: Unit, user: str) -> str:
    """Write a unit file all at once; what became of it, in a few words.

    Raises:
        RefusedError: not permitted, or the file there is not one of ours, or runs as somebody else.
    """
    try:
        old = file.read_text() if file.exists() else None
        if old == unit.text:
            return "is up to date"
        if old is not None:
            _refuse_to_replace(file, old, user)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
            try:
                new.write(unit.text)
                new.flush()
                os.fsync(new.fileno())
                os.fchmod(new.fileno(), 0o644)  # like any unit: it holds no secret
                Path(new.name).replace(file)
            except BaseException:
                Path(new.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise RefusedError(
            f"can't write {file}: {error.strerror}: `toowld install --dry-run` prints the unit instead"
        ) from error
    return "written" if old is None else "replaced"


def _refuse_to_replace(file: Path, old: str, user: str) -> None:
    if _MARK not in old:
        raise RefusedError(f"{file} was not written by `toowld install`: move it away and install again")
    owner = next((line[5:] for line in old.splitlines() if line.startswith("User=")), "%i")
    if owner not in (user, "%i"):
        raise RefusedError(
            f"{file} runs as {owner}: for more than one user take `toowld install --template` and toowld@{user}"
        )


def next_commands(kind: str, user: str) -> list[str]:
    """What to run so that the unit takes effect."""
    if kind != "user":
        name = f"toowld@{user}" if kind == "template" else "toowld"
        return ["systemctl daemon-reload", f"systemctl enable --now {name}"]
    commands = ["systemctl --user daemon-reload", "systemctl --user enable --now toowld"]
    if not lingers(os.getuid()):
        # Without it the user's manager goes at the last logout, and all that it started with it.
        commands.append("loginctl enable-linger   # so that your sessions outlive your logout")
    return commands
