"""What a new session gets of the process that asks for it: environment, folder, umask, limits."""

from __future__ import annotations

import os

from toowld.errors import UsageError
from toowld.wire import Size
from toowld.wire.text import pack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def new_params(
    argv: Sequence[str] | None,
    *,
    name: str | None,
    cwd: str | os.PathLike[str] | None,
    env: Mapping[str, str] | None,
    size: Size,
    persistent: bool | None,
    on_restore: str | None = None,
) -> dict[str, Any]:
    """The parameters of the request ``new`` (docs/protocol.md). ``env``: what is set besides our own environment.

    Raises:
        UsageError: the folder that we are in is gone, or ``argv`` is a line for a shell.
    """
    if isinstance(argv, str | bytes):  # is a sequence too, of its letters
        raise UsageError(f"a command is a list of texts, such as ['sh', '-c', {argv!r}]")
    params: dict[str, Any] = pack_text(
        {
            "argv": None if argv is None else list(argv),
            "name": (name or "").strip() or None,  # a blank name is none
            "cwd": os.path.abspath(cwd or _here()),  # noqa: PTH100 - Path has no such without links resolved
            "env": {**environment(), **(env or {})},
            "umask": _umask(),
            "limits": _limits(),
            "rows": size.rows,
            "cols": size.cols,
            "persistent": persistent,
            "on_restore": on_restore,
        }
    )
    return params


def environment() -> dict[str, str]:
    """Our environment as a new session gets it."""
    ours = ("TOOWL", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) or name == "TOOWL_PROMPT"  # a user's taste
    }


def _umask() -> int:
    """Our own; there is no way to ask for it without setting it."""
    present = os.umask(0o077)
    os.umask(present)
    return present


def _limits() -> dict[str, list[int]]:
    """What our caller may use of everything; what is started for him may use as much."""
    import resource

    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name[7:].lower(): list(resource.getrlimit(getattr(resource, name))) for name in names}


def _here() -> str:
    """The folder that we are in; with the links by which the user came here, as a shell shows it."""
    logical = os.environ.get("PWD", "")
    try:
        if os.path.isabs(logical) and os.path.samefile(logical, "."):  # noqa: PTH117,PTH121 - plain text in and out
            return logical
        return os.getcwd()  # noqa: PTH109
    except OSError as error:
        raise UsageError(
            f"the current folder is gone ({error.strerror}): cd to another, or give --cwd"
        ) from error
