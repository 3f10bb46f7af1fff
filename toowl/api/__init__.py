"""Sessions from Python: `Client`, and `AsyncClient` for asyncio, with the same methods.

What is asked, in which order, and what is done when the daemon is another one meanwhile, stands once, in ``plans``,
``waiting`` and ``executing`` (PURE); `Client` and `AsyncClient` carry that out. Errors are those of `toowld.errors`.
Examples: docs/automation.md.
"""

from toowl.api.sync import Client
from toowl.api.values import Completed, Ended, Executed, Happened, Lost, Piece, Screen, Session, Waited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toowl.api.aio import AsyncClient

__all__ = [
    "AsyncClient", "Client", "Completed", "Ended", "Executed", "Happened", "Lost", "Piece", "Screen", "Session",
    "Waited",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Loads the client for asyncio when it is asked for: ``toowl wait`` needs none of it, and took 100 ms, not 60."""
    if name == "AsyncClient":
        from toowl.api.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
