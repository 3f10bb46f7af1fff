"""What a test needs, and this machine may not have."""

from __future__ import annotations

import ctypes
import os
import shutil

import pytest

#: The part of a skip reason that CI accepts: what no package can give this kind of machine.
MACHINE_CANNOT = "machine cannot: "


def need_program(*names: str) -> None:
    """Skip the test where a program is not installed (in CI that is a failure: install it there)."""
    if missing := [name for name in names if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")


def machine_cannot(what: str) -> None:
    """Skip the test because this kind of machine can't do it; accepted in CI too."""
    pytest.skip(MACHINE_CANNOT + what)


def need_inotify() -> None:
    """Skip the test while other processes of this user hold every inotify(7) instance: an editor may, or a bench.

    A custodian that got none looks only now and then whether its socket is still there.
    """
    fd = ctypes.CDLL(None).inotify_init1(0)
    if fd < 0:
        machine_cannot("every inotify instance of this user is taken")
    os.close(fd)
