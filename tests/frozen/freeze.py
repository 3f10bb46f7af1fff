#!/usr/bin/env python3
"""Write ``NAME.zip`` and ``NAME.state`` from the code as it is now. See README.md: once released, never again.

``NAME.zip`` has the Python source of both packages, with NAME in its version; the same source gives the same bytes.
``NAME.state`` is what a custodian leaves to its successor, with a bit of everything in it.
"""

from __future__ import annotations

import os
import socket
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.custodian.world import World  # noqa: E402
from tests.harness import Sandbox, wait_for  # noqa: E402
from toowld import __version__  # noqa: E402
from toowld.wire import Input, InputAck, Live, Ping, encode  # noqa: E402

ID = "0badcafe"


def write_zip(path: Path, name: str) -> None:
    """The source."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for source in sorted(
            found for part in ("toowl", "toowld") for found in (REPOSITORY / part).rglob("*.py")
        ):
            text = source.read_text()
            if source == REPOSITORY / "toowld/__init__.py":
                assert f'"{__version__}"' in text
                text = text.replace(f'"{__version__}"', f'"{__version__}+{name}"')
            about = zipfile.ZipInfo(source.relative_to(REPOSITORY).as_posix(), (2026, 1, 1, 0, 0, 0))
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, text, compresslevel=9)


def write_state(path: Path) -> None:
    """The state: the program that is to look at it takes a copy instead."""
    with Sandbox() as box:
        world = World(box)
        try:
            env = {"PATH": os.defpath, "NOT_UTF8": "\udcff"}
            script = "stty raw -echo; printf 'rea'; printf 'dy\\033[6n'; exec sleep 1000"
            _pid, link, _child = world.start(ID, "/bin/sh", "-c", script, env=env, name="frozen")
            world.connect(ID).request("subscribe")
            client = world.attach(ID, "one")
            client.expect(Live)
            client.expect_output(b"ready")
            viewer = world.attach(ID, "two", read_only=True)
            viewer.expect(Live)
            away = world.attach(ID, "three")
            away.expect(Live)
            away.send(Input(0, b"left"))
            away.expect(InputAck)
            away.close()
            client.send(Input(0, b"x" * 20_000))  # more than the kernel takes
            client.expect(InputAck)
            half = world.connect(ID)
            half.request("info")
            ours, its = socket.socketpair()
            with ours, its:
                socket.send_fds(half.sock, [encode(Ping(1))[:3]], [its.fileno()])
            copy = (sys.executable, "-c", f"import os, sys; {_COPY}")
            link.ask("upgrade", argv=list(copy), env={"FROZEN": str(path)}, dry_run=True)
            wait_for(path.exists)
        finally:
            world.close()


_COPY = (
    "fd = int(sys.argv[sys.argv.index('--state') + 1]); "
    "open(os.environ['FROZEN'], 'wb').write(os.pread(fd, 1 << 24, 0))"
)


if __name__ == "__main__":
    name = sys.argv[1]
    if any(HERE.glob(f"{name}.*")):
        sys.exit(f"{name} is frozen already: give the next number")
    write_zip(HERE / f"{name}.zip", name)
    write_state(HERE / f"{name}.state")
