"""Losing sessions on purpose: a reboot, a killed custodian, a record that says something else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import uuid
from typing import Any

import cbor2
import psutil

from tests.daemon.steps import wait_displayed
from tests.harness import Sandbox, Terminal, alive, machine_cannot, wait_for
from toowld.session import Record
from toowld.session import record as records

DETACH = b"\x1cd"


def power_off(box: Sandbox) -> None:
    """Every process of the sandbox is gone at once, and so is the runtime folder."""
    while processes := box.processes():
        # The daemon first: it must not see the others go, and note it.
        processes.sort(key=lambda process: process.pid != box.daemon_pid)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went by itself just now
                process.kill()
        wait_for(lambda gone=processes: not any(alive(process.pid) for process in gone))  # type: ignore[misc]
    assert box.daemon is not None
    box.daemon.wait()
    shutil.rmtree(box.paths.runtime)


def boot(box: Sandbox, flag: bool = True) -> None:
    """Start the daemon under another boot id: that of a mount namespace of its own."""
    if os.getuid() != 0:
        machine_cannot("only root may give processes another boot id to read")
    path = box.root / "boot_id"
    path.write_text(f"{uuid.uuid4()}\n")
    script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
    box.up(flag, within=["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(path)])


def reboot(box: Sandbox, flag: bool = True) -> None:
    power_off(box)
    boot(box, flag)


def stored(box: Sandbox, session: str) -> Record:
    return records.decode((box.paths.session(session) / "record").read_bytes())


def rewrite(box: Sandbox, session: str, **changes: Any) -> None:
    path = box.paths.session(session) / "record"
    path.write_bytes(cbor2.dumps(cbor2.loads(path.read_bytes()) | changes))


def leave(terminal: Terminal) -> None:
    terminal.send(DETACH)
    assert terminal.wait() == 0


def lose(box: Sandbox, name: str) -> None:
    """A session's custodian is killed."""
    os.kill(box.info(name)["custodian_pid"], signal.SIGKILL)
    wait_displayed(box, name, "ended (lost)")
