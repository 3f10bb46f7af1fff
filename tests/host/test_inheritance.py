"""What a child has of its caller: the umask and the limits; and that we keep our own."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness import REPOSITORY, machine_cannot
from tests.host.rig import ENV, SIZE, open_fds
from toowld.host.inheritance import Inheritance
from toowld.host.pty import Pty

NAMES = [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"]


def own() -> dict[str, object]:
    umask = os.umask(0o77)
    os.umask(umask)
    return {"umask": umask, **{name: resource.getrlimit(getattr(resource, name)) for name in NAMES}}


@pytest.fixture(autouse=True)
def we_keep_ours() -> Iterator[None]:
    before, fds = own(), open_fds()
    yield
    assert own() == before
    assert open_fds() == fds


class Child:
    """A child on a PTY, stopped by nothing; ended with the test."""

    def __init__(self, umask: int | None = None, limits: Mapping[str, tuple[int, int]] | None = None) -> None:
        inheritance = Inheritance(umask, limits or {})
        self.pty = Pty.spawn(["cat"], cwd="/", env=ENV, size=SIZE, inheritance=inheritance)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        os.kill(self.pty.pid, signal.SIGKILL)
        os.waitpid(self.pty.pid, 0)
        self.pty.close()

    @property
    def umask(self) -> int:
        status = Path(f"/proc/{self.pty.pid}/status").read_text()
        return int(dict(line.split(":\t", 1) for line in status.splitlines())["Umask"], 8)

    def limit(self, name: str) -> tuple[int, int]:
        return resource.prlimit(self.pty.pid, getattr(resource, f"RLIMIT_{name.upper()}"))


def test_nothing_given_is_nothing_changed() -> None:
    with Child() as child:
        assert child.umask == own()["umask"]
        assert all(child.limit(name[7:]) == own()[name] for name in NAMES)


@pytest.mark.parametrize("umask", [0, 0o027, 0o777], ids=oct)
def test_umask(umask: int) -> None:
    with Child(umask) as child:
        assert child.umask == umask


def test_every_limit() -> None:
    wanted = {}
    for name in NAMES:
        hard = resource.getrlimit(getattr(resource, name))[1]
        lower = 1 << 20 if hard == resource.RLIM_INFINITY else hard // 2
        wanted[name[7:].lower()] = (lower // 2, lower)
    # The kernel would end it, or not even begin it, with these.
    wanted |= {"as": (1 << 32, 1 << 33), "data": (1 << 32, 1 << 33), "cpu": (60, 90)}
    with Child(limits=wanted) as child:
        found = {name: child.limit(name) for name in wanted}
    assert found.pop("stack")[0] == wanted.pop("stack")[0], "of the stack's only the soft one is given"
    assert found == wanted


def test_limits_that_we_have_used_up_are_the_childs_alone() -> None:
    """Less memory than we have, less time than we took: the child may end of it, we must not."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    assert used > 0.05, "this process has computed something"
    limits = {"cpu": (0, 0), "as": (1 << 20, 1 << 20), "data": (1 << 20, 1 << 20), "fsize": (0, 0)}
    with Child(limits=limits) as child:
        assert all(child.limit(name) == limits[name] for name in limits)


def test_what_a_program_looks_at_when_it_begins_is_there_by_then() -> None:
    """Not only afterwards: as a shell of a few instructions would see it."""
    script = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    for soft in range(150, 170):
        inheritance = Inheritance(limits={"nofile": (soft, 200)})
        command = [sys.executable, "-S", "-E", "-c", script]
        pty = Pty.spawn(command, cwd="/", env=ENV, size=SIZE, inheritance=inheritance)
        _, status = os.waitpid(pty.pid, 0)
        assert status == 0
        assert os.read(pty.fd, 100) == f"{soft}\r\n".encode()
        pty.close()


def test_few_open_files_are_the_childs_alone() -> None:
    """We may have more open than it is allowed; and who wants to start it can still be told why not."""
    with Child(limits={"nofile": (10, 20)}) as child:
        assert child.limit("nofile") == (10, 20)


def test_names_of_other_kernels_are_ignored() -> None:
    with Child(limits={"nonsense": (1, 1), "": (1, 1), "core": (0, 0)}) as child:
        assert child.limit("core") == (0, 0)


def test_more_than_we_may_give_is_given_as_far_as_we_may() -> None:
    """As somebody who is not root, below a hard limit that is lower than the caller's."""
    script = (
        "import os, resource\n"
        "from toowld.host.inheritance import Inheritance\n"
        "from toowld.host.pty import Pty\n"
        "from toowld.wire import Size\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, 600)); resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "given = Inheritance(limits={'nofile': (500, 9000), 'core': (-1, -1), 'stack': (4 << 20, 9 << 20)})\n"
        "pty = Pty.spawn(['cat'], cwd='/', env={}, size=Size(rows=1, cols=1), inheritance=given)\n"
        "of = lambda which: resource.prlimit(pty.pid, which)\n"
        "print([of(resource.RLIMIT_NOFILE), of(resource.RLIMIT_CORE), of(resource.RLIMIT_STACK)[0]])\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))\n"
        "pty.close(); os.kill(pty.pid, 9)\n"
    )
    if os.getuid():
        machine_cannot("become somebody else without being root")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "[(500, 600), (0, 0), 4194304]",
        "(300, 600) (0, 0)",
    ], done
