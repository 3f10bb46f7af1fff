"""The tools of the tests that run real processes.

`Sandbox` owns short temporary folders, an environment that points every part of toowl at them, the daemon,
and every process that was started in there: at the end all are killed by pid and waited for, whatever the
test did.
Its daemons come from the `nursery`, which has imported what they run.
`Terminal` is a user at a real PTY. `wait_for` is how a test waits: for a condition, never for time.

Nothing here knows how the parts work inside; it uses what a user has: programs, sockets, /proc.
"""

from __future__ import annotations

from tests.harness.needs import MACHINE_CANNOT, machine_cannot, need_inotify, need_program
from tests.harness.processes import alive, describe, peer_pid
from tests.harness.sandbox import REPOSITORY, Sandbox
from tests.harness.terminal import PAINTED, Terminal, holds
from tests.harness.waiting import DEADLINE, wait_for

__all__ = [
    "DEADLINE",
    "MACHINE_CANNOT",
    "PAINTED",
    "REPOSITORY",
    "Sandbox",
    "Terminal",
    "alive",
    "describe",
    "holds",
    "machine_cannot",
    "need_inotify",
    "need_program",
    "peer_pid",
    "wait_for",
]
