"""The request ``subscribe`` of clients: which events they want, and from which on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toowld.daemon.connection import Connection
from toowld.daemon.events import Bus, Happening, Listener
from toowld.daemon.registry import Registry
from toowld.host.params import Params
from toowld.wire import Event, encode


def follow(connection: Connection, bus: Bus, registry: Registry, params: Params) -> Mapping[str, Any]:
    """Bring a client the events that it wants, behind the answer that this returns.

    Raises:
        RemoteProtocolError: see `Params`. SessionNotFound, SessionAmbiguous: it wants those of a session that is not
            there.
    """
    sessions, names = params.texts_or_none("sessions"), params.texts_or_none("names")
    wanted = None if sessions is None else {registry.find(name).record.id for name in sessions}
    since, run = params.integer_or_none("since"), params.text_or_none("run")

    def wants(happening: Happening) -> bool:
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
    connection.follow(listener)
    return {"run": bus.run, "number": bus.last}
