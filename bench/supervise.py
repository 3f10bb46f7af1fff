"""Nothing of a run stays behind: no process, no socket, no folder, also after Ctrl-C or a ``kill -9`` of the worker.

Owns the worker process, everything that descends from it, and the one folder that all files are in. Daemons leave
their parents on purpose; a subreaper (prctl(2)) is where the kernel puts them then, so here all of them are found as
descendants, whatever they did to get away.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopped(BaseException):
    """The user wants no more of it."""


def supervised(work: Callable[[Path], int]) -> int:
    """Run ``work`` in a process of its own, with an empty folder; returns its exit status.

    At its end, or at a signal, everything that it started is killed and the folder removed.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Directly below /tmp: paths of sockets have to fit sun_path.
    root = Path(tempfile.mkdtemp(prefix="tb-", dir="/tmp"))
    for number in _STOPPING:
        signal.signal(number, _stop)
    try:
        sys.stdout.flush()
        worker = os.fork()
        if not worker:
            _work(work, root)
        return _await(worker)
    except _Stopped:
        print("\nbench: stopped", file=sys.stderr)
        return 130
    finally:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it there
        _end_descendants()
        shutil.rmtree(root, ignore_errors=True)


def _stop(_signum: int, _frame: FrameType | None) -> None:
    raise _Stopped


def _work(work: Callable[[Path], int], root: Path) -> None:
    """The worker's whole life. In a session of its own, so that Ctrl-C is ours to handle."""
    status = 1
    try:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        status = work(root)
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - the end of the process: os._exit would not show it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _await(worker: int) -> int:
    """Until the worker ends; orphans are reaped meanwhile, as pid 1 would do it."""
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _end_descendants(patience: float = 20) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # gone meanwhile
                process.kill()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:  # none is left
            return
        time.sleep(0.01)
    print(f"bench: still there: {psutil.Process().children(recursive=True)}", file=sys.stderr)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
