"""Where the daemon of an environment listens: of `toowld.paths` no more than that, needed before all else."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where systemd makes the ``RuntimeDirectory=`` of system units.
_SYSTEM_RUNTIME = "/run"


def daemon_socket() -> str:
    """Where the daemon of our environment listens: `toowld.paths.Paths.daemon_socket`, for those who need no more."""
    return f"{runtime_folder(os.environ)}/toowld.sock"


def runtime_folder(env: Mapping[str, str]) -> str:
    """Where the sockets are, as `toowld.paths` tells."""
    return (
        first(env, ("TOOWL_RUNTIME_DIR", ""), ("RUNTIME_DIRECTORY", ""))
        or _of_system_unit()
        or first(env, ("XDG_RUNTIME_DIR", "/toowl"))
        or f"/tmp/toowl-{os.getuid()}"
    )


def first(env: Mapping[str, str], *candidates: tuple[str, str]) -> str | None:
    """The first of some variables that is set, as an absolute path with what belongs behind it."""
    for variable, suffix in candidates:
        # systemd separates several directories by colons; ours asks for one.
        if value := env.get(variable, "").split(":")[0]:
            return os.path.abspath(value) + suffix  # noqa: PTH100 - Path has no such that keeps links
    return None


def _of_system_unit() -> str | None:
    """The runtime folder that a system unit with ``User=`` us keeps, if there is one.

    ``toowld.service`` has ``/run/toowl``, ``toowld@NAME.service`` has ``/run/toowl-NAME``. To ask who owns them
    needs no look into the password database, which may be on the network.
    """
    try:
        for name in sorted(os.listdir(_SYSTEM_RUNTIME)):  # noqa: PTH208
            if name == "toowl" or name.startswith("toowl-"):
                folder = f"{_SYSTEM_RUNTIME}/{name}"
                found = os.lstat(folder)
                if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                    return folder
    except OSError:  # no /run, or a folder that goes just now
        pass
    return None
