"""Which value holds, and where it comes from.

Built-in < file < environment, for the daemon. For a session, each narrower level goes before: the file's
``[defaults]`` (or the environment's) < the table of the connection that it is made over < what was said for the
session itself.

An environment variable for each key is made of its table and name: ``TOOWLD_DAEMON_TICK`` is ``daemon.tick``. The
gate, ``TOOWLD_PERSISTENT_SESSIONS``, is none of these: open, it turns the built-in ``persistent`` to true; closed, no
session is persistent, whoever wants it (the daemon tells).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toowld.classes import fields, frozen
from toowld.errors import ConfigError
from toowld.settings import schema, values
from toowld.settings.file import File
from toowld.settings.schema import GATE, Audit, Daemon, Defaults, Environment, Hooks, Reaper


@frozen
class Value:
    """What holds for one key, and by whose word, for people."""

    value: Any
    origin: str


#: So do origins read that are no place in a file.
BUILT_IN = "default"
SESSION = "session"

#: The key that holds for sessions made over a connection, where nothing narrower is said.
REMOTE = "idle_timeout_remote"


def is_open(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the gate is open. Anything but "1" and "true" is closed."""
    environ = os.environ if environ is None else environ
    return environ.get(GATE, "").strip().lower() in ("1", "true")


class Settings:
    """All settings, from one file and one environment.

    Attributes:
        gate: whether sessions may be persistent.
    """

    def __init__(
        self, file: File | None = None, environ: Mapping[str, str] | None = None, *, gate: bool = False
    ) -> None:
        self.gate = gate
        self._file = File("") if file is None else file
        self._environ = {} if environ is None else _from_environment(environ)
        self.daemon: Daemon = self._table("daemon")
        self.defaults: Defaults = self._table("defaults")
        self.environment: Environment = self._table("environment")
        self.audit: Audit = self._table("audit")
        self.reaper: Reaper = self._table("reaper")
        self.hooks: Hooks = self._table("hooks")

    @property
    def ends_some(self) -> bool:
        """Whether a session may end by itself for which nothing is said, and that was made over no connection."""
        return bool(self.reaper.enabled or self.defaults.idle_timeout or self.defaults.ttl)

    @classmethod
    def load(
        cls, path: Path, environ: Mapping[str, str] | None = None, *, gate: bool | None = None
    ) -> Settings:
        """Read the file and the environment.

        Raises:
            ConfigError: something in there is wrong: the first of it, by its line.
        """
        environ = os.environ if environ is None else environ
        file = File.read(path)
        file.check()
        return cls(file, environ, gate=is_open(environ) if gate is None else gate)

    def _table(self, table: str) -> Any:
        names = [*self._file.values, *self._environ]
        given = {
            name: self._said(f"{table}.{name}")
            for owner, _, name in (full.partition(".") for full in names)
            if owner == table
        }
        if schema.free(table) is not None:
            given["given"] = {name: given.pop(name) for name in given.keys() - schema.keys(table).keys()}
        return schema.TABLES[table](**given)

    def _said(self, full: str) -> Any:
        if full in self._environ:
            return self._environ[full]
        return self._file.values[full]

    def of_session(self, said: Mapping[str, Any] | None = None, connection: str | None = None) -> Defaults:
        """What a session has.

        Args:
            said: for this session itself.
            connection: over which it is made, as "user@host"; None: none.
        """
        own = {one.name: getattr(self.defaults, one.name) for one in fields(Defaults)}
        own |= self._file.connections.get(connection or "", {})
        known = schema.of_sessions()
        own |= {name: value for name, value in (said or {}).items() if name in known}
        if own["persistent"] is None:
            own["persistent"] = self.gate
        return Defaults(**own)

    def idle_timeout(
        self, said: Mapping[str, Any], connection: str | None, *, named: bool
    ) -> tuple[float, str] | None:
        """How long nobody may be attached to a session (seconds; 0: as long as nobody wants), and the key of that.

        None: nothing says so, which means the same as 0.
        """
        own = self.of_session(said, connection).idle_timeout
        if own is not None:
            return own, "idle_timeout"
        if connection:
            return self.reaper.idle_timeout_remote, REMOTE
        if not self.reaper.enabled:
            return None
        if named:
            return self.reaper.idle_timeout_named, "idle_timeout_named"
        return self.reaper.idle_timeout_anonymous, "idle_timeout_anonymous"

    def explain(
        self, *, said: Mapping[str, Any] | None = None, connection: str | None = None
    ) -> dict[str, Value]:
        """Every key as ``table.key``: what holds, and why. With ``said``: for a session of which that was said."""
        found = {}
        for full in {**schema.everything(), **self._file.values}:
            table, _, name = full.partition(".")
            if table == "defaults" and name in (said or {}):
                found[full] = Value((said or {})[name], SESSION)
            elif table == "defaults" and name in self._file.connections.get(connection or "", {}):
                assert connection is not None
                origin = self._file.where_of_connection(connection, name)
                found[full] = Value(self._file.connections[connection][name], origin)
            elif full in self._environ:
                found[full] = Value(self._environ[full], f"environment, {variable(full)}")
            elif full in self._file.values:
                found[full] = Value(self._file.values[full], self._file.where(full))
            elif full == "defaults.persistent":
                found[full] = Value(self.gate, f"environment, {GATE}" if self.gate else BUILT_IN)
            else:
                found[full] = Value(schema.default(table, name), BUILT_IN)
        return found

    def news(self, before: Settings) -> list[str]:
        """What has changed, in words, and when that is heeded."""
        was, now = before.explain(), self.explain()
        told = []
        for full in {**was, **now}:
            old, new = (found[full].value if full in found else None for found in (was, now))
            if old != new:
                key = schema.everything().get(full)
                takes = schema.Takes.NOW if key is None else key.takes
                told.append(f"{full} = {_shown(new)} (was {_shown(old)}): heeded {takes.value}")
        names = {*before._file.connections, *self._file.connections}
        told += [
            f'{schema.CONNECTIONS}."{name}" has changed: heeded {schema.Takes.NEW.value}'
            for name in sorted(names)
            if before._file.connections.get(name) != self._file.connections.get(name)
        ]
        return told


def said_of_session(changes: Mapping[str, object]) -> dict[str, Any]:
    """What somebody says for one session, checked: a text is read as on a command line; None or "" says nothing more.

    Raises:
        ConfigError: one of the names is unknown, or a value impossible.
    """
    known = schema.of_sessions()
    found: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            hint = values.suggestion(name, known)
            raise ConfigError(
                f"unknown setting '{name}' of a session{hint or '; known are ' + ', '.join(known)}"
            )
        if value is None or value == "":
            found[name] = None
        elif isinstance(value, str):
            found[name] = values.parse(name, known[name], value)
        else:
            found[name] = values.check(name, known[name], value)
    return found


def variable(full: str) -> str:
    """The environment variable of a key."""
    return f"TOOWLD_{full.replace('.', '_').upper()}"


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """
    Raises:
        ConfigError: a value is wrong; the variable is named.
    """
    found = {}
    for full, key in schema.everything().items():
        name = variable(full)
        if name in environ:
            try:
                found[full] = values.parse(name, key, environ[name])
            except ConfigError as error:
                raise ConfigError(f"environment: {error}") from error
    return found


def _shown(value: object) -> str:
    return "nothing" if value is None else values.written(value)
