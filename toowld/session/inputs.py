"""Input on its way to the PTY: taken once per client id, in order, acknowledged when the PTY has it. PURE."""

from __future__ import annotations

from collections import OrderedDict, deque

from toowld.errors import LocalProtocolError, RefusedError, RemoteProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: What may wait for a child that does not read, of each client and of all that is injected. Clients keep at most
#: 256 KiB in flight, so an honest one never gets here, whatever the others do.
MAX_PENDING = 1 << 20

#: Client ids that are remembered for de-duplication after they left; each costs about 150 bytes.
MAX_REMEMBERED = 256


class InputQueue:
    """Accepts input, drops what it already had, and knows which client's bytes the PTY took."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}  # client id -> end of what was accepted
        self._away: OrderedDict[str, None] = OrderedDict()  # those of them that left, the longest ago first
        self._waiting: deque[tuple[str | None, int, int]] = deque()  # client id, its end seq, bytes left
        self._pending: dict[str | None, int] = {}  # client id, None for what is injected -> bytes waiting

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        return {
            "taken": dict(self._taken),
            "away": list(self._away),
            "waiting": [list(item) for item in self._waiting],
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> InputQueue:
        """The opposite of `freeze`."""
        queue = cls()
        queue._taken.update(state["taken"])
        queue._away.update(dict.fromkeys(state["away"]))
        for client_id, end, left in state["waiting"]:
            queue._wait(client_id, end, left)
        return queue

    @property
    def pending(self) -> int:
        """Bytes accepted that the PTY has not taken yet."""
        return sum(self._pending.values())

    def taken(self, client_id: str) -> int:
        """How much input of this client id was ever accepted."""
        return self._taken.get(client_id, 0)

    def written(self, client_id: str) -> int:
        """How much input of this client id the PTY has, which is what may be acknowledged."""
        return max(self.taken(client_id) - self._pending.get(client_id, 0), 0)

    def joined(self, client_id: str) -> None:
        """The client is attached: it is not forgotten before it has left."""
        self._away.pop(client_id, None)

    def left(self, client_id: str) -> None:
        """The client is not attached any more, and may come back."""
        if client_id not in self._taken:
            return
        self._away[client_id] = None
        self._away.move_to_end(client_id)
        if len(self._away) > MAX_REMEMBERED:
            forgotten, _ = self._away.popitem(last=False)
            del self._taken[forgotten]

    def accept(
        self,
        client_id: str,
        seq: int | None,
        data: bytes,
        keep: Callable[[bytes], bytes] = lambda fresh: fresh,
    ) -> bytes:
        """The part of ``data`` that is new and shall be typed now.

        Args:
            seq: where ``data`` begins; None: it continues what was taken.
            keep: what of the new part is to be typed. The rest counts as if the PTY had it.

        Raises:
            RemoteProtocolError: bytes before ``seq`` are missing, or far more than allowed is in flight.
        """
        have = self._taken.get(client_id, 0)
        if seq is None:
            seq = have
        if seq > have or seq < 0:
            raise RemoteProtocolError(f"input begins at {seq}, expected {have}")
        fresh = data[have - seq :]
        if not fresh:
            return b""
        if self._pending.get(client_id, 0) + len(fresh) > MAX_PENDING:
            raise RemoteProtocolError(f"more than {MAX_PENDING} bytes of input are waiting for the child")
        self._taken[client_id] = end = have + len(fresh)
        kept = keep(fresh)
        self._wait(client_id, end, len(kept))
        return kept

    def passed(self, client_id: str, count: int) -> None:
        """So many more bytes of this client went straight to the PTY, while nothing was waiting."""
        self._taken[client_id] = self._taken.get(client_id, 0) + count

    def inject(self, data: bytes) -> None:
        """Accept input that belongs to no client.

        Raises:
            RefusedError: too much is waiting already.
        """
        if self._pending.get(None, 0) + len(data) > MAX_PENDING:
            raise RefusedError("the session's program does not read its input: try again when it does")
        self._wait(None, 0, len(data))

    def _wait(self, client_id: str | None, end: int, count: int) -> None:
        if not count:
            return
        self._waiting.append((client_id, end, count))
        self._pending[client_id] = self._pending.get(client_id, 0) + count

    def wrote(self, count: int) -> dict[str, int]:
        """The PTY took the next ``count`` bytes. Returns, by client id, what may be acknowledged.

        Raises:
            LocalProtocolError: so many were not waiting.
        """
        if count > self.pending:
            raise LocalProtocolError(f"the PTY took {count} bytes of input, of {self.pending}")
        acks: dict[str, int] = {}
        while count:
            client_id, end, left = self._waiting.popleft()
            used = min(left, count)
            count -= used
            left -= used
            self._pending[client_id] -= used
            if not self._pending[client_id]:
                del self._pending[client_id]
            if client_id is not None:
                acks[client_id] = end - left
            if left:
                self._waiting.appendleft((client_id, end, left))
        return acks
