"""toowl: what people use to reach their sessions.

``cli`` dispatches to one module per command in ``commands``; ``connection`` speaks to the daemon over its
socket; ``attach`` puts a session on this terminal, and ``screen`` writes to it; ``keys``, ``modes``, ``replay`` and
``banner`` are their PURE parts.
toowl imports of toowld only ``wire``, ``errors`` and ``paths``, and, for what works without a daemon, ``log``.
"""
