"""What is set for one session: `toowl new` says it when the session is made, `toowl set` later.

It stays in the record as it was said, so that `toowl config show` can tell it from what the settings of the daemon
say. What is made of it at once is here too: the size and the scrollback of a session that runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toowld.daemon import confining
from toowld.daemon.entry import Entry
from toowld.daemon.registry import Registry
from toowld.errors import ToowlError
from toowld.host.params import Params
from toowld.session import SizePolicy
from toowld.settings.resolve import Settings, said_of_session
from toowld.settings.schema import GATE, Defaults


def said(params: Params) -> dict[str, Any]:
    """What a request ``new`` says of the session itself.

    Raises:
        ConfigError: a setting is unknown, or a value impossible.
    """
    wanted = params.mapping("settings", {})
    # These two have had a parameter of their own before there was ``settings``.
    if (persistent := params.flag_or_none("persistent")) is not None:
        wanted = {**wanted, "persistent": persistent}
    if (policy := params.word_or_none("size_policy", SizePolicy)) is not None:
        wanted = {**wanted, "size": policy.value}
    return {name: value for name, value in said_of_session(wanted).items() if value is not None}


def persistence(wanted: bool, gate: bool) -> tuple[bool, list[str]]:
    """Whether a session is persistent that is to be, and what its user should be told."""
    if wanted and not gate:
        return False, [
            f"this daemon runs without {GATE}=1: this is a standard session, which ends with the daemon"
        ]
    return wanted, []


async def change(entry: Entry, registry: Registry, settings: Settings, params: Params) -> list[str]:
    """Carry out a request ``set``.

    Returns:
        what its user should be told.

    Raises:
        ConfigError, StoreError, RefusedError, SessionNotFound: nothing has changed.
    """
    changes = said_of_session(params.mapping("settings"))
    connection = entry.record.connection
    await registry.configure(
        entry, changes, lambda said: _facts(changes, settings.of_session(said, connection))
    )
    return [*await _heeded(entry, changes), *_later(entry, settings, changes)]


def _facts(changes: Mapping[str, Any], found: Defaults) -> dict[str, Any]:
    """What else of the record follows from that."""
    facts: dict[str, Any] = {}
    if "size" in changes:
        facts["size_policy"] = SizePolicy(found.size)
    if "scrollback_bytes" in changes:
        facts["scrollback_bytes"] = found.scrollback_bytes
    return facts


async def _heeded(entry: Entry, changes: Mapping[str, Any]) -> list[str]:
    """Let whoever keeps a session that runs know what he has to."""
    keeper, record = entry.keeper, entry.record
    if keeper is None:
        return []
    known = {
        "settings": dict(record.settings),
        "size_policy": record.size_policy.value,
        "scrollback_bytes": record.scrollback_bytes,
    }
    try:
        await keeper.request("set", known)
    except ToowlError as error:
        if changes.keys() & {"size", "scrollback_bytes"}:
            return [f"session {record.label}: stored, and heeded when its program is next started: {error}"]
    return []


def _later(entry: Entry, settings: Settings, changes: Mapping[str, Any]) -> list[str]:
    """What it takes a fresh program for."""
    record = entry.record
    notices: list[str] = []
    later: list[str] = []
    if changes.get("persistent") not in (None, record.persistent):
        wanted, notices = persistence(changes["persistent"], settings.gate)
        if wanted != record.persistent:
            later.append("persistent" if wanted else "standard")
    if confining.LIMITS.keys() & changes.keys() and confining.wanted(record, settings) != record.confined:
        later.append("limited like that")
    if later and entry.running:
        notices.append(
            f"session {record.label} is {' and '.join(later)} from the next start of its program on: "
            f"`toowl restart {record.label}` starts it again, which ends what runs in it"
        )
    return notices
