"""Looks at everything that the checks need, and judges nothing. Every look is bounded in time and may fail alone."""

from __future__ import annotations

import os
import platform
import pwd
import socket
import stat
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from toowld import __version__
from toowld.client import Client
from toowld.daemon.doctor.facts import Facts, Folder, Keeper, Service
from toowld.errors import ScreenUnavailable, ToowlError, VersionMismatch

if TYPE_CHECKING:
    from toowld.paths import Paths
from toowld.screen import library
from toowld.settings.file import File

#: For one custodian to say hello. They do nothing else for long, so one that needs more is stuck.
_HELLO_SECONDS = 2.0

#: Custodians that are asked at the same time: enough that a few stuck ones delay nothing by much.
_PARALLEL = 16

#: For systemctl to answer; it takes some 10 ms.
_SYSTEMCTL_SECONDS = 5.0

#: What `checks` looks at of the daemon's own unit.
UNIT_PROPERTIES = (
    "MainPID", "Type", "KillMode", "Restart", "OOMPolicy", "RuntimeDirectory", "RuntimeDirectoryPreserve",
    "PrivateTmp", "NoNewPrivileges", "ProtectHome", "ProtectSystem", "WatchdogUSec", "FragmentPath",
)  # fmt: skip


def gather(paths: Paths, env: Mapping[str, str] | None = None) -> Facts:
    """Look at the namespace of ``paths``. Raises nothing: what can't be seen is None."""
    env = os.environ if env is None else env
    report, sessions, error, listener, started_at = _ask_daemon(paths)
    pid = report["pid"] if report else listener
    return Facts(
        version=__version__,
        system=_system(),
        uid=os.getuid(),
        user=_user_name(),
        runtime=look_at_folder(paths.runtime),
        state=look_at_folder(paths.state),
        socket=str(paths.daemon_socket),
        socket_mode=_mode(paths.daemon_socket),
        own_flag=env.get("TOOWLD_PERSISTENT_SESSIONS"),
        report=report,
        error=error,
        listener=listener,
        sessions=sessions,
        keepers=tuple(_call_keepers(paths.custodians)),
        service=_look_at_service(pid) if pid else None,
        linger=_linger(),
        pty_used=_number(Path("/proc/sys/kernel/pty/nr")),
        pty_max=_number(Path("/proc/sys/kernel/pty/max")),
        wall=time.time(),
        clock_jump=_clock_jump(pid, started_at) if pid and started_at else None,
        config=str(paths.config),
        config_problems=_look_at_settings(paths.config),
        emulator_error=_emulator_error(),
    )


_Answer = tuple[
    Mapping[str, Any] | None, tuple[Mapping[str, Any], ...] | None, str | None, int | None, float | None
]


def _ask_daemon(paths: Paths) -> _Answer:
    """(doctor report, sessions, why not, listener's pid, start time)."""
    listener = listening_pid(paths.daemon_socket)
    try:
        with Client.connect(paths) as client:
            report = client.request("doctor")
            sessions = tuple(client.request("list")["sessions"])
            return report, sessions, None, listener, client.request("status").get("started_at")
    except ToowlError as error:
        return None, None, str(error), listener, None


def _look_at_settings(path: Path) -> tuple[str, ...]:
    try:
        return tuple(File.read(path).told())
    except ToowlError as error:
        return (str(error),)


def listening_pid(path: Path) -> int | None:
    """Who listens on a Unix socket; None if nobody, or nobody that we may talk to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as link:
        try:
            link.connect(os.fspath(path))
        except OSError:
            return None
        # The credentials of the listener are those of its listen(2): also those of a stopped process.
        pid, _uid, _gid = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)


def look_at_folder(path: Path) -> Folder:
    """A folder without following a symlink in its last name."""
    try:
        found = path.lstat()
    except OSError:
        return Folder(path=str(path), kind="missing")
    kind = "symlink" if stat.S_ISLNK(found.st_mode) else "folder" if stat.S_ISDIR(found.st_mode) else "other"
    room = os.statvfs(path)
    return Folder(
        path=str(path),
        kind=kind,
        uid=found.st_uid,
        mode=stat.S_IMODE(found.st_mode),
        free_bytes=room.f_bavail * room.f_frsize,
        total_bytes=room.f_blocks * room.f_frsize,
        read_only=bool(room.f_flag & os.ST_RDONLY),
        filesystem=filesystem_of(path, _text(Path("/proc/self/mountinfo"))),
    )


def filesystem_of(path: Path, mountinfo: str | None) -> str | None:
    """The type of the file system that holds ``path``, from /proc/self/mountinfo (proc(5))."""
    best, kind = "", None
    for line in (mountinfo or "").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")  # a blank in it is \040
        inside = path == Path(point) or Path(point) in path.resolve().parents
        if inside and len(point) >= len(best):  # a later mount on the same point hides the earlier
            best, kind = point, after.split()[0]
    return kind


def _call_keepers(folder: Path) -> Iterator[Keeper]:
    try:
        found = sorted(path for path in folder.iterdir() if path.is_socket())
    except OSError:
        return
    with ThreadPoolExecutor(_PARALLEL) as pool:
        yield from pool.map(_call_keeper, found)


def _call_keeper(path: Path) -> Keeper:
    pid = listening_pid(path)
    if pid is None:
        return Keeper(session=path.stem, pid=None)
    try:
        with Client.connect_path(path, timeout=_HELLO_SECONDS) as client:
            about = client.hello.about
    except VersionMismatch as error:
        return Keeper(session=path.stem, pid=pid, mismatch=str(error), cgroup=cgroup_of(pid))
    except ToowlError:
        return Keeper(session=path.stem, pid=pid, cgroup=cgroup_of(pid))
    return Keeper(
        session=path.stem,
        pid=pid,
        build=str(about.get("build", "?")),
        upgradable="Upgrade" in (about.get("features") or ()),
        cgroup=cgroup_of(pid),
    )


def cgroup_of(pid: int) -> str | None:
    """The cgroup that systemd put a process into."""
    return cgroup_in(_text(Path(f"/proc/{pid}/cgroup")) or "")


def cgroup_in(text: str) -> str | None:
    """systemd's cgroup in the text of /proc/PID/cgroup.

    It is that of the one hierarchy, or on older machines of the one named systemd (cgroups(7)). Some have
    both, and use one: in the other everything is in the root.
    """
    rows = (line.split(":", 2) for line in text.splitlines())
    paths = [path for number, controllers, path in rows if number == "0" or controllers == "name=systemd"]
    return max(paths, key=len, default=None)


def service_in(cgroup: str) -> tuple[str, bool] | None:
    """(unit, whether the user's manager runs it) of a cgroup path; None for a login session or no unit at all."""
    parts = cgroup.split("/")
    units = [number for number, part in enumerate(parts) if part.endswith((".service", ".scope"))]
    if not units or parts[units[-1]].endswith(".scope"):
        return None
    unit = parts[units[-1]]
    if unit.startswith("user@"):
        return None  # the user's manager itself
    return unit, any(part.startswith("user@") for part in parts[: units[-1]])


def _look_at_service(pid: int) -> Service | None:
    cgroup = cgroup_of(pid)
    found = service_in(cgroup) if cgroup else None
    if cgroup is None or found is None:
        return None
    unit, user = found
    command = [
        "systemctl",
        *(["--user"] if user else []),
        "show",
        "--property",
        ",".join(UNIT_PROPERTIES),
        unit,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SYSTEMCTL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Service(unit=unit, user=user, cgroup=cgroup, properties=None, error=str(error))
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Service(unit=unit, user=user, cgroup=cgroup, properties=None, error=reason)
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return Service(unit=unit, user=user, cgroup=cgroup, properties={name: value for name, _, value in pairs})


def _linger() -> bool | None:
    folder = Path("/var/lib/systemd/linger")  # where systemd-logind keeps it
    return (folder / _user_name()).exists() if folder.parent.is_dir() else None


def _clock_jump(pid: int, started_at: float) -> float | None:
    """By how much the wall clock was moved since the daemon started.

    Against the boot clock, which goes on while the machine sleeps: the monotonic clock would call each sleep a jump.
    """
    try:
        ticks = int(
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        )  # proc(5): starttime
    except (OSError, ValueError, IndexError):
        return None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return (time.time() - started_at) - age


def _emulator_error() -> str | None:
    try:
        library.load()
    except ScreenUnavailable as error:
        return str(error)
    return None


def _system() -> str:
    name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux") if _has_os_release() else "Linux"
    return (
        f"{name}, kernel {platform.release()} {platform.machine()}, "
        f"Python {platform.python_version()}, psutil {psutil.__version__}"
    )


def _has_os_release() -> bool:
    return any(Path(path).exists() for path in ("/etc/os-release", "/usr/lib/os-release"))


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a uid without an entry, as containers have them
        return str(os.getuid())


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.lstat().st_mode)
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.strip().isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
