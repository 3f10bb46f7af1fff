"""Sessions from Python: `Client`, and `AsyncClient` for asyncio, with the same methods.

What is asked, in which order, and what is done when the daemon is another one meanwhile, stands once, in ``plans``
and ``waiting`` (PURE); `Client` and `AsyncClient` carry that out. Errors are those of `toowld.errors`. Examples:
docs/automation.md.
"""

from toowl.api.aio import AsyncClient
from toowl.api.sync import Client
from toowl.api.values import Completed, Ended, Happened, Lost, Piece, Screen, Session, Waited

__all__ = [
    "AsyncClient", "Client", "Completed", "Ended", "Happened", "Lost", "Piece", "Screen", "Session", "Waited",
]  # fmt: skip
