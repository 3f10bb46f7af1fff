"""What can be set: built-in defaults, then ``config.toml``, then the environment.

``TOOWLD_PERSISTENT_SESSIONS`` is read once, when the daemon starts: it decides where new sessions live.
"""

from __future__ import annotations

import enum
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toowld.classes import Field, field, fields, frozen
from toowld.errors import ConfigError
from toowld.session import SizePolicy

GATE = "TOOWLD_PERSISTENT_SESSIONS"


def _setting(default: float, least: float, means: str) -> Any:
    return field(default=default, metadata={"least": least, "means": means})


def _word(default: enum.Enum, means: str) -> Any:
    """A setting that is one of a few words: the values of an enumeration."""
    return field(default=default, metadata={"means": means})


@frozen
class Config:
    """The settings of one daemon; the table ``[daemon]`` of the file. What they mean also stands in the manual."""

    scrollback_bytes: int = _setting(
        64 << 20,
        16 << 10,
        "how much of a session's output is kept on disk, in bytes; sessions that run keep theirs",
    )
    size: SizePolicy = _word(
        SizePolicy.SMALLEST,
        'how large a session is while several terminals are attached: "smallest", what all that may type can show, '
        'or "latest", as the one whose user attached, typed or resized it last; sessions keep what they began with',
    )
    ended_retention: float = _setting(
        300.0,
        0,
        "how long a session is kept whose program exited, or was ended on request, in seconds; inf: for ever, as "
        "all others are",
    )
    scan_timeout: float = _setting(
        2.0, 0.01, "how long one custodian may take to answer when the daemon starts, in seconds"
    )
    tick: float = _setting(
        30.0,
        0.01,
        "how often the daemon looks for sessions to forget, and for custodians that did not answer, in seconds",
    )


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
        raise ConfigError(f"{path}: {error}: correct it, or move it away") from error
    if elsewhere := data.keys() - {"daemon"}:
        raise ConfigError(f"{path}: unknown key '{min(elsewhere)}'; all stand below [daemon]")
    table = data.get("daemon", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: 'daemon' must be a table: begin it with [daemon]")
    settings = {setting.name: setting for setting in fields(Config)}
    for key in table:
        if key not in settings:
            raise ConfigError(f"{path}: unknown key 'daemon.{key}'; known are {', '.join(sorted(settings))}")
    checked: dict[str, Any] = {key: _checked(path, settings[key], value) for key, value in table.items()}
    return Config(**checked)


def _checked(path: Path, setting: Field, value: object) -> int | float | enum.Enum:
    if isinstance(setting.default, enum.Enum):
        return _checked_word(path, setting, value)
    least, whole = setting.metadata["least"], isinstance(setting.default, int)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= least:
        if not whole:
            return float(value)
        if value != math.inf:
            return int(value)
    raise ConfigError(f"{path}: 'daemon.{setting.name}' must be a number, at least {least}, not {value!r}")


def _checked_word(path: Path, setting: Field, value: object) -> enum.Enum:
    words: dict[str, enum.Enum] = {word.value: word for word in type(setting.default)}
    if isinstance(value, str) and value in words:
        return words[value]
    from difflib import get_close_matches  # only here: most daemons never need it

    near = get_close_matches(str(value).lower(), words, n=1)
    hint = f": did you mean '{near[0]}'?" if near else ""
    known = " or ".join(f"'{word}'" for word in words)
    raise ConfigError(f"{path}: 'daemon.{setting.name}' must be {known}, not {value!r}{hint}")


def persistent_enabled(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the gate is open. Anything but "1" and "true" is closed."""
    environ = os.environ if environ is None else environ
    return environ.get(GATE, "").strip().lower() in ("1", "true")
