"""Where toowl keeps its things, and the checks that a folder is really ours.

Runtime folder (sockets, lock; gone after a reboot): ``$TOOWL_RUNTIME_DIR``, else ``$RUNTIME_DIRECTORY``
(set by systemd), else ``/run/toowl`` or ``/run/toowl-*`` if it is ours, else ``$XDG_RUNTIME_DIR/toowl``, else
``/tmp/toowl-$UID``. Only root can make something in ``/run``, and does so for a system unit that runs as us: the
daemon of that unit has the folder in its environment, and by this rule its clients find it without. It comes
before ``$XDG_RUNTIME_DIR`` because whoever set such a unit up decided where this user's sessions are.

State folder (records, scrollback logs): ``$TOOWL_STATE_DIR``, else ``$STATE_DIRECTORY``, else
``$XDG_STATE_HOME/toowl``, else ``~/.local/state/toowl``.

Config: ``$XDG_CONFIG_HOME/toowl/config.toml``, else ``~/.config/toowl/config.toml``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from toowld.classes import frozen
from toowld.errors import ToowlError
from toowld.place import first, runtime_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import (
        Path,  # elsewhere where it is needed: it brings along what takes longer than all the rest
    )

#: ``sockaddr_un.sun_path`` holds 108 bytes with the closing NUL (unix(7)).
_SUN_PATH_MAX = 107

#: Behind the id of a session, in `Paths.following`.
AGENT, ENVIRONMENT, EXEC_LOCK = ".agent", ".env", ".exec"


class UnsafeFolder(ToowlError):
    """A folder that others could tamper with: not a folder, not ours, or open to others."""

    code = "unsafe-folder"


@frozen
class Paths:
    """All paths of one toowl namespace."""

    runtime: Path
    state: Path
    config: Path

    @property
    def daemon_socket(self) -> Path:
        return self.runtime / "toowld.sock"

    @property
    def daemon_lock(self) -> Path:
        return self.runtime / "toowld.lock"

    @property
    def custodians(self) -> Path:
        return self.runtime / "custodians"

    def custodian_socket(self, session_id: str) -> Path:
        return self.custodians / f"{session_id}.sock"

    @property
    def following(self) -> Path:
        """What the shells of sessions follow (`toowld.host.following`)."""
        return self.runtime / "following"

    def agent(self, session_id: str) -> Path:
        """The link that is a session's SSH_AUTH_SOCK."""
        return self.following / f"{session_id}{AGENT}"

    def environment(self, session_id: str) -> Path:
        """The variables that the shells of a session take over."""
        return self.following / f"{session_id}{ENVIRONMENT}"

    def exec_lock(self, session_id: str) -> Path:
        """Locked (flock(2)) by whoever has the session's shell run a command."""
        return self.following / f"{session_id}{EXEC_LOCK}"

    @property
    def sessions(self) -> Path:
        return self.state / "sessions"

    def session(self, session_id: str) -> Path:
        """The folder of one session: its record and the segments of its log."""
        return self.sessions / session_id

    @property
    def daemon_log(self) -> Path:
        """Where ``toowld --detach`` writes its own messages."""
        return self.state / "toowld.log"

    @property
    def audit(self) -> Path:
        """Where it is noted who did what."""
        return self.state / "audit.jsonl"

    def prepare(self) -> None:
        """Create what is missing, mode 0700, and refuse what others could tamper with.

        Raises:
            UnsafeFolder: the runtime or state folder is a symlink, not a folder, not owned by us, or open to
                others (the classic attack on a predictable name below ``/tmp``); or a path is too long
                for a Unix socket.
        """
        for folder in (self.runtime, self.custodians, self.following, self.state, self.sessions):
            secure_folder(folder)
        longest = os.fsencode(self.custodian_socket("0" * 8))
        if len(longest) > _SUN_PATH_MAX:
            raise UnsafeFolder(
                f"runtime folder {self.runtime} is too long for a Unix socket "
                f"({len(longest)} > {_SUN_PATH_MAX} bytes): set TOOWL_RUNTIME_DIR to a shorter one"
            )


def resolve(env: Mapping[str, str] | None = None) -> Paths:
    """The paths that the environment asks for. Touches nothing."""
    from pathlib import Path

    env = os.environ if env is None else env
    home = Path(env.get("HOME") or Path.home())
    state = first(env, ("TOOWL_STATE_DIR", ""), ("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "/toowl"))
    config = first(env, ("XDG_CONFIG_HOME", "/toowl"))
    return Paths(
        runtime=Path(runtime_folder(env)),
        state=Path(state or home / ".local/state/toowl"),
        config=Path(config or home / ".config/toowl") / "config.toml",
    )


def secure_folder(folder: Path) -> None:
    """Make sure that ``folder`` is a real folder, owned by us, mode 0700; create it if missing.

    Raises:
        UnsafeFolder: it is something else, or can't be created. Next step in the message.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:  # noqa: SIM105 - contextlib takes longer to load than this module
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass  # whatever it is, also a dangling symlink: judged below
        found = folder.lstat()  # lstat: a symlink must show as one
    except OSError as error:
        raise UnsafeFolder(f"can't use folder {folder}: {error.strerror}: check its parent folder") from error
    hint = "remove it, or set TOOWL_RUNTIME_DIR / TOOWL_STATE_DIR to a folder of your own"
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolder(f"{folder} is not a folder of its own (symlink or file): {hint}")
    if found.st_uid != os.getuid():
        raise UnsafeFolder(f"{folder} belongs to uid {found.st_uid}, not to us: {hint}")
    if found.st_mode & 0o077:
        if found.st_mode & 0o022:
            raise UnsafeFolder(f"{folder} is writable by others: {hint}")
        folder.chmod(0o700)


def leads_to_socket_of_ours(path: str) -> bool:
    """Whether that is a socket that belongs to our uid, wherever a link leads."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()


def answers(path: str) -> bool:
    """Whether somebody listens on a socket of ours. Does not wait: a full queue is an answer too (unix(7))."""
    import socket  # most who need paths need no sockets, and loading this takes its time

    if not leads_to_socket_of_ours(path):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
