"""A real systemd as PID 1 of fresh namespaces, over a throw-away overlay of this machine's root.

`Box` boots it in about two seconds, runs commands in it, and throws it away. Nothing that is written in it
reaches the machine. Three things end it, whichever comes first: `Box.close`, the end of the process that made it
(the kernel's parent-death signal), and a cap on its lifetime. PID 1 of a PID namespace takes all others with
it, and the box has a cgroup of its own that is emptied and removed.

Needs root, and a kernel with overlayfs and the second version of cgroups. The file is Linux and systemd only;
it knows nothing of toowl.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.harness import REPOSITORY, wait_for

#: Long enough for any module of tests, short enough that a forgotten box is gone soon.
LIFETIME = 900

_INIT = Path(__file__).with_name("init.sh")
_PROGRAMS = ("unshare", "nsenter", "setpriv", "timeout", "mount", "pivot_root", "systemctl")


def unavailable() -> str | None:
    """Why no box can be had here, None if one can: in words for a skip."""
    if os.getuid() != 0:
        return "needs root: namespaces and an overlay of /"
    if not Path("/lib/systemd/systemd").exists():
        return "needs systemd: apt-get install systemd"
    if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}"
    if _cgroup2() is None:
        return "needs a mounted cgroup2 file system"
    return None


def _mounts(kind: str) -> list[tuple[Path, list[str]]]:
    """Where a kind of file system is mounted, with the mount options."""
    fields = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [(Path(where), options.split(",")) for _, where, found, options, *_ in fields if found == kind]


def _cgroup2() -> Path | None:
    return next((where for where, _options in _mounts("cgroup2")), None)


def _shown() -> list[str]:
    """What the box needs of the machine's /tmp, where it has an empty one: a checkout may stand there."""
    needed = {str(REPOSITORY), sys.prefix, sys.base_prefix}
    return sorted(folder for folder in needed if folder.startswith("/tmp/"))


class Box:
    """One booted systemd. Use as a context manager."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="toowl-box-", dir="/dev/shm"))
        self.name = self._folder.name
        self._cgroups: list[Path] = []
        self._visitors = Path()
        self._log = self._folder.with_suffix(".log")
        self._unshare: subprocess.Popen[bytes] | None = None
        #: The box's systemd, as this machine sees it.
        self.init_pid = 0

    def __enter__(self) -> Box:
        try:
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- boot and end --------------------------------------------------------------------------------

    def _boot(self) -> None:
        base = _cgroup2()
        assert base is not None
        cgroup = self._own_cgroup(base)
        with self._log.open("wb") as log:
            self._unshare = subprocess.Popen(
                # In its cgroup before the cgroup namespace is made, for that namespace's root is where it
                # is then. setpriv on both sides of timeout: whichever dies, the rest goes too.
                [
                    *_into(cgroup),
                    *("setpriv", "--pdeathsig", "KILL", "timeout", "--signal=KILL", str(LIFETIME)),
                    *("setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child=KILL", "--fork"),
                    *("--mount", "--pid", "--cgroup", "--uts", "--ipc", "sh", str(_INIT), str(self._folder)),
                    *_shown(),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.init_pid = wait_for(lambda: self._find_init(cgroup), 5, "the first process of the namespaces")
        for pid in (cgroup / "cgroup.procs").read_text().split():
            if int(pid) != self.init_pid:
                (base / "cgroup.procs").write_text(pid)
        assert self._unshare.stdin is not None
        self._unshare.stdin.write(b"go\n")
        self._unshare.stdin.close()
        # Commands that come from out here get a place in the box: systemd may move them, `close` ends them.
        self._visitors = cgroup / "visitors"
        self._visitors.mkdir()
        wait_for(self._booted, 30, "systemd to come up")

    def _own_cgroup(self, base: Path) -> Path:
        _sweep(base)
        cgroup = base / self.name
        cgroup.mkdir()
        self._cgroups.append(cgroup)
        return cgroup

    def _find_init(self, cgroup: Path) -> int:
        """The process of the box whose pid is 1 inside, once there is one."""
        for pid in (cgroup / "cgroup.procs").read_text().split():
            if _inner_pid(int(pid)) == 1:
                return int(pid)
        self._still_there()
        return 0

    def _booted(self) -> bool:
        self._still_there()
        if Path(f"/proc/{self.init_pid}/comm").read_text() != "systemd\n":
            return False  # before that, nsenter would find the machine's own systemd
        return self.run("systemctl", "is-active", "box.target", check=False).stdout == "active\n"

    def _still_there(self) -> None:
        assert self._unshare is not None
        if self._unshare.poll() is not None:
            raise AssertionError(f"the box ended while it booted:\n{self._log.read_text(errors='replace')}")

    def close(self) -> None:
        """End all of it. Never raises; may be called twice."""
        # The cgroup first: `kill` reaches each process in it, whatever became of its parents.
        for cgroup in self._cgroups:
            with contextlib.suppress(OSError):  # no such file before Linux 5.14: the namespace ends it anyway
                (cgroup / "cgroup.kill").write_text("1")
        if self._unshare is not None:
            self._unshare.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # unkillable: nothing more can be done here
                self._unshare.wait(10)
            self._unshare = None
            with contextlib.suppress(AssertionError):  # as above
                wait_for(lambda: not running(self.init_pid), 5)
        for cgroup in self._cgroups:
            remove_cgroup(cgroup)
        self._cgroups.clear()
        self._log.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the tmpfs on it was never ours to see, so it is empty
            self._folder.rmdir()

    # -- what is done in it --------------------------------------------------------------------------

    def command(self, *argv: str, user: str = "root") -> list[str]:
        """What to run out here so that ``argv`` runs in the box, as a user would after logging in there."""
        enter = [*_into(self._visitors), "nsenter", "-t", str(self.init_pid), "--mount", "--pid", "--cgroup"]
        enter += ["--uts", "--ipc", "--root", "--wd", "--"]
        path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
        environment = ["env", "-i", path, "LANG=C.UTF-8", "TERM=xterm-256color", f"USER={user}"]
        if user == "root":
            return [*enter, *environment, "HOME=/root", *argv]
        uid = str(self.uid(user))
        environment += [f"HOME=/home/{user}", f"XDG_RUNTIME_DIR=/run/user/{uid}"]
        return [
            *enter,
            "setpriv",
            "--reuid",
            uid,
            "--regid",
            uid,
            "--clear-groups",
            "--",
            *environment,
            *argv,
        ]

    def run(
        self, *argv: str, user: str = "root", check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the box to its end. With ``check``, a failure fails the test."""
        done = subprocess.run(
            self.command(*argv, user=user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}{done.stderr}{self.journal()}"
            )
        return done

    def path(self, path: str | Path) -> Path:
        """A file of the box, to read or write from out here."""
        return Path(f"/proc/{self.init_pid}/root") / str(path).lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Create or replace a file in the box, with its folders."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def open_to_users(self, path: Path) -> None:
        """Let the box's users get at a path of this machine that is below somebody's private home."""
        for folder in [path, *path.parents]:
            inside = self.path(folder)
            mode = inside.stat().st_mode if inside.is_dir() else 0o011
            if mode & 0o011 != 0o011:  # what is open already may be a folder that the box can't change
                inside.chmod(mode | 0o011)

    def add_user(self, name: str) -> int:
        """Make a user with a home; returns the uid."""
        self.run("useradd", "--create-home", "--shell", "/bin/bash", name)
        return self.uid(name)

    def linger(self, user: str) -> None:
        """Start the user's own manager for good, and wait until it answers."""
        self.run("loginctl", "enable-linger", user)
        wait_for(
            lambda: self.run(
                "systemctl", "--user", "is-active", "basic.target", user=user, check=False
            ).stdout.startswith("active"),
            what=f"the manager of {user}",
        )

    def uid(self, name: str) -> int:
        return self.path(f"/home/{name}").stat().st_uid

    def journal(self, lines: int = 30) -> str:
        """The end of the box's journal, for the message of a failure."""
        return subprocess.run(
            self.command("journalctl", "--no-pager", "-n", str(lines)),
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    def outer_pid(self, pid: int) -> int:
        """This machine's number of a process that the box knows as ``pid``."""
        namespace = Path(f"/proc/{self.init_pid}/ns/pid").readlink()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # gone meanwhile
                if (folder / "ns/pid").readlink() == namespace and _inner_pid(int(folder.name)) == pid:
                    return int(folder.name)
        raise ProcessLookupError(pid)

    def memory_cgroup(self) -> Path | None:
        """A fresh cgroup of the *first* version's memory controller, None where that is not mounted.

        For machines that have the controller there and so not in cgroup2, where the box's systemd could use
        it. It lies outside of the box, and goes with it.
        """
        for where, options in _mounts("cgroup"):
            if "memory" in options:
                cgroup = where / f"{self.name}-{time.monotonic_ns()}"
                cgroup.mkdir()
                self._cgroups.append(cgroup)
                return cgroup
        return None


def _into(cgroup: Path) -> list[str]:
    """What to put before a command so that it runs in a cgroup, under the same pid."""
    return ["sh", "-c", 'echo $$ >"$1"; shift; exec "$@"', "sh", str(cgroup / "cgroup.procs")]


def running(pid: int) -> bool:
    """Whether a process runs; a zombie, whose parent has not taken notice yet, does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _inner_pid(pid: int) -> int:
    """The pid that a process has in its own innermost namespace."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    numbers: Sequence[str] = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
    return int(numbers[-1]) if len(numbers) > 2 else 0


def _sweep(base: Path) -> None:
    """Remove what is left of boxes whose maker was killed: the kernel ended them, and removes no folder."""
    for old in [*base.glob("toowl-box-*"), *Path("/dev/shm").glob("toowl-box-*")]:
        with contextlib.suppress(OSError):  # another test run sweeps too
            if time.time() - old.stat().st_mtime > LIFETIME + 60:
                remove_cgroup(old) if old.is_dir() else old.unlink()


def remove_cgroup(cgroup: Path) -> None:
    """Remove a cgroup, or an empty folder, with all below it; an ending process may hold it a moment."""
    deadline = time.monotonic() + 5
    while cgroup.exists() and time.monotonic() < deadline:
        for folder, _folders, _files in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):  # EBUSY: next time
                Path(folder).rmdir()
        time.sleep(0.01)
