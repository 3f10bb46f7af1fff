"""A file with all settings in it, commented out, from the schema. PURE."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from toowld.settings import schema
from toowld.settings.schema import Key, Kind
from toowld.settings.values import written

_HEAD = """\
# Settings of toowl: ~/.config/toowl/config.toml. Every key stands here with its default; take away the # before one
# to change it. `toowl config check` says what is wrong with a file, `toowl config show` what holds and why. A daemon
# that runs reads it again at `toowld reload`."""

_CONNECTIONS = """
# What is said of one connection goes before [defaults], for sessions that are made over it. So may: {keys}.
#[connections."me@host"]
#{key} = {value}"""

_WIDTH = 110


def example() -> str:
    """The file."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    for table, made in schema.TABLES.items():
        yield ""
        yield from _comment(summary(made))
        yield f"[{table}]"
        for name, key in schema.keys(table).items():
            yield ""
            yield from _comment(f"{key.means} ({wanted(key)}).")
            yield f"#{name} = {_default(table, name, key)}"
        if (free := schema.free(table)) is not None:
            yield ""
            yield from _comment(f"{free.means} ({wanted(free)}).")
    keys = schema.of_connections()
    yield _CONNECTIONS.format(keys=", ".join(keys), key="persistent", value="false")


def summary(table: object) -> str:
    """What a table is, in one sentence."""
    return (table.__doc__ or "").strip().split("\n")[0]


def wanted(key: Key) -> str:
    """What may stand there, for people."""
    kind = " or ".join(f'"{word}"' for word in key.words) if key.words else key.kind.value
    kind = f"a text, or {kind}" if key.alone else kind
    kind = f"{kind}; {', '.join(key.names)}" if key.names else kind
    return f"{kind}; 0: no limit" if key.none else kind


def default(table: str, name: str, key: Key) -> str:
    """What holds if nobody says anything, for people."""
    found = schema.default(table, name)
    return key.hint if found is None else written(found)


def _default(table: str, name: str, key: Key) -> str:
    found = schema.default(table, name)
    if found is not None:
        return written(found)
    return f"true  # default: {key.hint}" if key.kind is Kind.FLAG else f"0  # default: {key.hint}"


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text[:1].upper() + text[1:], _WIDTH, break_on_hyphens=False):
        yield f"# {line}"
