"""Processes of our own code beside the daemon, that live as long as it does: the zygote, and the screens' helper."""

from __future__ import annotations

import socket
import subprocess
import sys

from toowld.daemon import limits


def start(*module: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Run one of our modules: the arguments of ``python -m``. The number of its socket to us comes behind them.

    It inherits nothing of ours, not even our stderr: custodians would have it from a zygote for years.

    Returns:
        The process, and our end of the socket.

    Raises:
        OSError: no process can be started.
    """
    ours, its = socket.socketpair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *module, str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        ours.close()
        raise
    finally:
        its.close()
    limits.restore_for(process.pid)
    return process, ours
