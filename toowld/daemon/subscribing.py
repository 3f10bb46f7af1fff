"""The request ``subscribe`` of clients: which events they want, and from which on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from toowld.daemon.connection import Connection
from toowld.daemon.events import Bus, Happening, Listener
from toowld.daemon.registry import Registry
from toowld.daemon.watching import Watching
from toowld.errors import RemoteProtocolError
from toowld.host.params import Params
from toowld.wire import Event, encode

#: It is looked twice a second (seconds).
LEAST_SILENCE = 0.5


def follow(
    connection: Connection, bus: Bus, registry: Registry, watching: Watching, params: Params
) -> Mapping[str, Any]:
    """Bring a client the events that it wants, behind the answer that this returns.

    Raises:
        RemoteProtocolError: see `Params`. SessionNotFound, SessionAmbiguous: it wants those of a session that is not
            there.
    """
    sessions, names = params.texts_or_none("sessions"), params.texts_or_none("names")
    wanted = None if sessions is None else {registry.find(name).record.id for name in sessions}
    silence, inputs = params.number_or_none("idle"), params.flag("input", False)
    if silence is not None and not LEAST_SILENCE <= silence < math.inf:
        raise RemoteProtocolError(f"subscribe: 'idle' must be a number of seconds, at least {LEAST_SILENCE}")
    since, run = params.integer_or_none("since"), params.text_or_none("run")

    def wants(happening: Happening) -> bool:
        if happening.name == "idle" and happening.data["seconds"] != silence:
            return False  # somebody else asked for that
        if happening.name == "input" and not inputs:
            return False
        return (wanted is None or happening.session in wanted) and (names is None or happening.name in names)

    def missed(count: int | None, number: int) -> None:
        connection.bring(encode(Event("missed", {"run": bus.run, "number": number, "count": count})))

    listener = Listener(
        bus,
        wants=wants,
        take=lambda happening: connection.bring(bus.frame(happening)),
        missed=missed,
        since=bus.last if since is None else since,
        run=run,
    )
    listener.on_close = watching.begin(silence, inputs)
    connection.follow(listener)
    return {"run": bus.run, "number": bus.last}
