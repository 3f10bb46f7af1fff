"""What can be set: built-in defaults, then ``config.toml``, then the environment.

``TOOWLD_PERSISTENT_SESSIONS`` is read once, when the daemon starts: it decides where new sessions live.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toowld.errors import ConfigError

_log = logging.getLogger(__name__)

GATE = "TOOWLD_PERSISTENT_SESSIONS"


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one daemon; the table ``[daemon]`` of the file. Durations are seconds.

    Attributes:
        scrollback_bytes: of one session's log on disk.
        ended_retention: how long a session is kept whose child exited or was ended on request. Others stay for ever.
        scan_timeout: how long one custodian may take to answer at the start.
        tick: how often ended sessions are looked through, and custodians that do not answer tried again.
    """

    scrollback_bytes: int = 64 << 20
    ended_retention: float = 300.0
    scan_timeout: float = 2.0
    tick: float = 30.0


def load(path: Path) -> Config:
    """Read the file; a missing one is empty.

    Raises:
        ConfigError: it can't be read, a key is unknown, or a value is of a wrong type.
    """
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    table = data.get("daemon", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: 'daemon' must be a table")
    known = {f.name: f for f in dataclasses.fields(Config)}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{path}: unknown key 'daemon.{key}'; known are {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ConfigError(f"{path}: 'daemon.{key}' must be a number, not {value!r}")
    values: dict[str, Any] = {
        key: int(value) if key == "scrollback_bytes" else float(value) for key, value in table.items()
    }
    return Config(**values)


def persistent_enabled(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the gate is open. Anything but "1" and "true" is closed."""
    environ = os.environ if environ is None else environ
    return environ.get(GATE, "").strip().lower() in ("1", "true")
