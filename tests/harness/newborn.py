"""The nursery's process: imports what a daemon does, and forks one on request. A program; `nursery` starts it."""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

from toowld import __main__ as program
from toowld.daemon import cli, detach  # noqa: F401 - with these a daemon has all that it needs to be ready


def serve(asked: socket.socket) -> dict[str, Any] | None:
    """Fork until nobody asks any more (None); in a fork, what it is to be."""
    while True:
        data, fds, _, _ = socket.recv_fds(asked, 1 << 20, 1)
        if not data:
            return None
        about: dict[str, Any] = json.loads(data)
        if "ended" in about:
            _, status = os.waitpid(about["ended"], 0)
            asked.send(b"%d" % os.waitstatus_to_exitcode(status))
        elif pid := os.fork():
            os.close(fds[0])
            asked.send(b"%d" % pid)
        else:
            asked.close()
            return {**about, "output": fds[0]}


def become(about: Mapping[str, Any]) -> None:
    """Take on all that an exec would have brought."""
    os.setsid()
    nothing, output = os.open(os.devnull, os.O_RDONLY), about["output"]
    for fd, source in enumerate((nothing, output, output)):
        os.dup2(source, fd)
    os.closerange(3, max(nothing, output) + 1)
    os.environ.clear()
    os.environ.update(about["env"])
    os.chdir(about["cwd"])
    sys.argv = [os.fspath(program.__file__), *about["argv"]]
    gc.unfreeze()


def main() -> int:
    if os.fork():
        return 0
    gc.collect()
    gc.freeze()
    if (about := serve(socket.socket(fileno=int(sys.argv[1])))) is None:
        return 0
    become(about)
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
