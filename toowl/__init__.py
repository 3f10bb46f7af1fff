"""toowl: what people use to reach their sessions; from Python, by `Client` and `AsyncClient`.

``cli`` dispatches to one module per command in ``commands``; ``connection`` speaks to the daemon over its
socket; ``attach`` puts a session on this terminal, ``loop`` moves its bytes, and ``screen`` writes to it; ``keys``,
``modes``, ``replay`` and ``banner`` are their PURE parts. ``history`` is what a session printed and shows, also
without a daemon; ``offline``, what is recorded of it. ``api`` is what Python programs use. ``shells`` and
``completion`` are what shells are given, ``execution`` is what is typed into them for a command, and read from them
(PURE), ``foreground`` whether they are at their prompt, ``turn`` that one command is typed at a time.
toowl imports of toowld only ``wire``, ``errors`` and ``paths``, and, for what works without a daemon, ``log``.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toowl.api import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    """Loads the clients when they are asked for: `toowl ls` needs none of it."""
    if name in __all__:
        from toowl import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
