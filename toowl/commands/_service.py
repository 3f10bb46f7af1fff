"""Whether systemd keeps the daemon here, and how to have it started then.

A daemon of ours in its place would be a rival: the service, started again, finds it and gives up, over and over.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from toowl.commands._text import safe
from toowld.errors import DaemonUnreachable

if TYPE_CHECKING:
    from toowld.paths import Paths

#: A start is over when all sessions are found again: two seconds for each custodian that does not answer, at most.
_PATIENCE = 15.0


def start(where: Paths) -> bool:
    """Have the daemon started by whose business it is; False if that is nobody's but ours.

    Raises:
        DaemonUnreachable: it is a service's, and could not be started.
    """
    if where.runtime.parent == Path("/run"):
        # Only root can have made that folder: for a system unit that runs as us (`toowld.paths`).
        name = where.runtime.name
        unit = "toowld" if name == "toowl" else f"toowld@{name.removeprefix('toowl-')}"
        return _start_unit(unit, next_step=f"start it with `sudo systemctl start {unit}`")
    if _has_manager(where):
        return _start_unit("--user", "toowld", next_step="see `systemctl --user status toowld`")
    return False


def _has_manager(where: Paths) -> bool:
    """Whether the daemon of a user's unit would be in this very folder, and somebody is there to start it."""
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not folder or where.runtime != Path(folder, "toowl"):
        return False
    return Path(folder, "systemd/private").exists()


def _start_unit(*unit: str, next_step: str) -> bool:
    """Start it; False if there is no such unit."""
    try:
        known = _systemctl("show", "--property=LoadState", "--value", *unit)
        if known.stdout.strip() != b"loaded":
            return False
        done = _systemctl("start", *unit)
    except subprocess.TimeoutExpired:
        reason = "it takes too long"
    except OSError:  # no systemctl: nobody's service
        return False
    else:
        if done.returncode == 0:
            return True
        lines = done.stderr.decode(errors="replace").strip().split("\n")
        reason = safe(lines[0].rstrip(".")) or f"systemctl exited with {done.returncode}"
    raise DaemonUnreachable(f"toowld is a service here, and could not be started ({reason}): {next_step}")


def _systemctl(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["systemctl", "--no-ask-password", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PATIENCE,
        check=False,
    )
