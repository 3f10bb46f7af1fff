"""toowld: the daemon that keeps terminal sessions, and the custodians that keep them alive.

What lives where, from the inside out. A package may import only what stands above it:

``errors``, ``paths``, ``classes``, ``cbor``   shared by everything
``wire``       PURE  messages and their bytes; the only part that clients need
``session``    PURE  the session engine: events in, effects out
``log``              the scrollback log: format (pure), writer, reader, cast export
``screen``           what a terminal would show of a log: model, snapshots, rendering
``host``             the I/O driver of one engine: PTY, sockets, timers
``custodian``        a process that hosts one session, and the zygote that forks it
``daemon``           a process that knows all sessions: registry, adoption, broker, systemd

The flag ``TOOWLD_PERSISTENT_SESSIONS`` decides in which process an engine lives (a custodian,
or the daemon itself) and nothing else. ``custodian`` and ``daemon`` never import each other:
they speak ``wire``. PURE packages do no I/O and read no clock, so their tests need neither.

``docs/architecture.md`` tells the same with pictures; ``docs/protocol.md`` has every byte.
"""

__version__ = "0.1.0"
