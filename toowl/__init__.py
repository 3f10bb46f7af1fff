"""toowl: what people use to reach their sessions.

``cli`` dispatches to one module per command in ``commands``; ``connection`` speaks to the daemon over its
socket; ``attach`` puts a session on this terminal; ``keys``, ``modes`` and ``replay`` are its PURE parts.
toowl imports of toowld only ``wire``, ``errors`` and ``paths``, and, for what works without a daemon, ``log``.
"""
