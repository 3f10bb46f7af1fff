"""``config.toml``: its keys with their values, and all that is wrong with it, each by its line. PURE but for `read`.

tomllib says where a syntax error is, and of a key that is merely wrong nothing. So lines are found by a scan of our
own, and only when somebody asks: a daemon that starts with a file that is right never does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from toowld.classes import frozen
from toowld.errors import ConfigError
from toowld.settings import schema, values

_Path = tuple[str, ...]


@frozen
class Problem:
    """Something wrong, and where."""

    place: _Path  # the key's path in the file
    text: str


class File:
    """One file that was read.

    Attributes:
        name: its path, for people.
        values: ``table.key`` → value, for every key that is right.
        connections: "user@host" → key → value.
        problems: all that is wrong.
    """

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        self.values: dict[str, Any] = {}
        self.connections: dict[str, dict[str, Any]] = {}
        self.problems: list[Problem] = []
        self._text = text
        self._places: dict[str, _Path] = {}
        self._syntax: str | None = None
        if text:
            self._take(text)

    @classmethod
    def read(cls, path: Path) -> File:
        """Read a file; one that is not there is empty.

        Raises:
            ConfigError: it can't be read.
        """
        try:
            return cls(str(path), path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(str(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{path}: {reason}: correct it, or move it away") from error

    def check(self) -> None:
        """Make sure that nothing is wrong.

        Raises:
            ConfigError: the first thing that is, and how many more there are.
        """
        found = self.told()
        if not found:
            return
        more = len(found) - 1
        raise ConfigError(found[0] + (f" (and {more} more: see `toowl config check`)" if more else ""))

    def told(self) -> list[str]:
        """All that is wrong, as ``file:line: text``, from top to bottom."""
        if self._syntax is not None:
            return [self._syntax]
        placed = [(self._line(problem.place), problem.text) for problem in self.problems]
        return [f"{self.name}:{line}: {text}" for line, text in sorted(placed)]

    def where(self, key: str) -> str:
        """``file:line`` of a key that is in `values`."""
        return f"{self.name}:{self._line(self._places[key])}"

    def where_of_connection(self, connection: str, key: str) -> str:
        """``file:line`` of a key that is in `connections`."""
        return f"{self.name}:{self._line((schema.CONNECTIONS, connection, key))}"

    # --- what stands in it ------------------------------------------------------------------------------

    def _take(self, text: str) -> None:
        import tomllib  # a daemon without a file does without it

        try:
            found = tomllib.loads(text)
        except (
            ValueError,
            RecursionError,
        ) as error:  # TOMLDecodeError is one; a number of 5000 digits is another
            self._syntax = _syntax(self.name, str(error))
            return
        for table, content in found.items():
            if table != schema.CONNECTIONS and table not in schema.TABLES:
                self._refuse((table,), _unknown_table(table, content))
            elif not isinstance(content, dict):
                self._refuse((table,), f"'{table}' must be a table: begin it with [{table}]")
            elif table == schema.CONNECTIONS:
                self._take_connections(content)
            else:
                for name, value in content.items():
                    self._take_key(table, name, value)

    def _take_key(self, table: str, name: str, value: object) -> None:
        place, full = (table, name), f"{table}.{name}"
        known = schema.keys(table)
        if (home := schema.MOVED.get(full)) is not None:
            full, known = home, schema.keys(home.partition(".")[0])
            name = home.partition(".")[2]
        key, free = known.get(name), schema.free(table)
        if key is None and free is not None and (name in free.names or not free.names):
            key = free
        if key is None:
            own = [other for other in known if f"{table}.{other}" not in schema.MOVED]
            own += free.names if free is not None else ()
            self._refuse(place, _unknown_key(table, name, own))
        elif full in self._places:
            self._refuse(place, f"'{full}' stands in the file twice, here as '{'.'.join(place)}'")
        elif (found := self._checked(place, key, value)) is not None:
            self.values[full] = found
            self._places[full] = place

    def _take_connections(self, content: Mapping[str, Any]) -> None:
        known = schema.of_connections()
        for connection, table in content.items():
            place = (schema.CONNECTIONS, connection)
            if not isinstance(table, dict):
                self._refuse(place, f'a connection is a table: [{schema.CONNECTIONS}."{connection}"]')
                continue
            for name, value in table.items():
                if name not in known:
                    self._refuse(
                        (*place, name), _unknown_key(f'{schema.CONNECTIONS}."{connection}"', name, known)
                    )
                elif (found := self._checked((*place, name), known[name], value)) is not None:
                    self.connections.setdefault(connection, {})[name] = found

    def _checked(self, place: _Path, key: schema.Key, value: object) -> Any:
        try:
            return values.check(".".join(place), key, value)
        except ConfigError as error:
            self._refuse(place, str(error))
            return None

    def _refuse(self, place: _Path, text: str) -> None:
        # Keys may hold anything, and this is told in one line.
        self.problems.append(Problem(place, "".join(char if char.isprintable() else "?" for char in text)))

    # --- where it stands --------------------------------------------------------------------------------

    def _line(self, place: _Path) -> int:
        """The line of a key, or else of the table that it is in."""
        for length in range(len(place), 0, -1):
            if (line := self._lines.get(place[:length])) is not None:
                return line
        return 1

    @cached_property
    def _lines(self) -> dict[_Path, int]:
        found: dict[_Path, int] = {}
        table: _Path = ()
        for number, statement in _statements(self._text):
            if statement.lstrip().startswith("["):
                table, value = _header(statement), {}
            else:
                value = _loaded(statement) or {}
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], number)
            for path in _paths(value):
                found.setdefault((*table, *path), number)
        return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """What stands in a file that is right, each with the number of its first line.

    A statement goes on for as long as what there is of it can't be read: a list or a text of several lines.
    """
    pending, first = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if not pending:
            first = number
        pending += f"{line}\n"
        if _loaded(pending) is not None:
            if pending.strip():
                yield first, pending
            pending = ""


def _loaded(text: str) -> dict[str, Any] | None:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _header(statement: str) -> _Path:
    """The table that ``[a.b]`` or ``[[a.b]]`` begins."""
    path: list[str] = []
    inner: Any = _loaded(statement)
    while inner:
        if isinstance(inner, list):
            inner = inner[0]
            continue
        [(name, inner)] = inner.items()
        path.append(name)
    return tuple(path)


def _paths(value: Mapping[str, Any]) -> Iterator[_Path]:
    for name, inner in value.items():
        yield (name,)
        if isinstance(inner, dict):
            for path in _paths(inner):
                yield (name, *path)


# --- words ----------------------------------------------------------------------------------------------


def _unknown_key(table: str, name: str, known: Any) -> str:
    hint = values.suggestion(name, known)
    return f"unknown key '{table}.{name}'{hint or '; known are ' + ', '.join(sorted(known))}"


def _unknown_table(name: str, content: object) -> str:
    if not isinstance(content, dict):
        homes = [full for full in [*schema.everything(), *schema.MOVED] if full.partition(".")[2] == name]
        where = f"it belongs below [{homes[0].partition('.')[0]}]" if homes else "all stand below a [table]"
        return f"unknown key '{name}': {where}"
    known = [*schema.TABLES, schema.CONNECTIONS]
    hint = values.suggestion(name, known)
    return f"unknown table '{name}'{hint or '; known are ' + ', '.join(sorted(known))}"


def _syntax(name: str, text: str) -> str:
    """tomllib's words, with the line where it belongs."""
    import re

    what, _, place = text.rpartition(" (at ")
    line = re.match(r"line (\d+)", place)
    where = f":{line[1]}" if line else ""
    return f"{name}{where}: {what or text}{'' if line or not what else ' (at ' + place}: correct it, or move it away"
