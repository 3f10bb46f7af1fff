"""A scripted session that is given the user's terminal, and does with it what a real one does."""

from __future__ import annotations

import mmap
import os
import select
import socket
from pathlib import Path

from tests.client.world import World
from toowld import wire
from toowld.log.writer import LogWriter

SIZE = wire.Size(rows=24, cols=80)


class Lent(World):
    """A session that is given the terminal: `tty_fd` and `page` of the last offer."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.log = LogWriter(folder, "0badcafe", size=SIZE)
        self.folder = folder
        self.tty_fd = -1
        self._memory: mmap.mmap | None = None

    @property
    def page(self) -> wire.Page:
        assert self._memory is not None
        return wire.Page(self._memory)

    def close(self) -> None:
        super().close()
        self._drop()
        self.log.close()

    def _drop(self) -> None:
        if self._memory is not None:
            os.close(self.tty_fd)
            self._memory.close()
            self._memory = None

    def start(self, output: bytes = b"$ ") -> wire.Lend:
        """Attach, show ``output``, and wait for the offer that follows."""
        self.log.append(output)
        self.attach(live=len(output), lend=os.fspath(self.folder))
        self.send(wire.Output(0, output), wire.Live(len(output)))
        self.sees(output[-10:])
        return self.offered()

    def offered(self) -> wire.Lend:
        """The next message, which must be an offer of the terminal."""
        fds: list[int] = []
        while (message := self.decoder.next_message()) is None:
            data, more, _, _ = socket.recv_fds(self.session, 65536, 4)
            assert data, "the client hung up"
            fds += more
            self.decoder.feed(data)
        assert isinstance(message, wire.Lend), message
        self._drop()
        self.tty_fd, page_fd = fds
        self._memory = mmap.mmap(page_fd, wire.Page.SIZE)
        os.close(page_fd)
        return message

    def lend(self, output: bytes = b"$ ") -> wire.Lend:
        """The same, and take it."""
        offer = self.start(output)
        self.send(wire.Lent(offer.seq))
        return offer

    def write(self, output: bytes) -> None:
        """What a session does with its child's output while it has the terminal."""
        self.log.append(output)
        assert os.write(self.tty_fd, output) == len(output)
        seq, input_seq = self.page.position
        self.page.position = (seq + len(output), input_seq)

    def read(self, count: int) -> bytes:
        """Read what is typed, as a session does."""
        data = b""
        while len(data) < count:
            assert select.select([self.tty_fd], [], [], 20)[0], "nothing was typed"
            data += os.read(self.tty_fd, count - len(data))
        seq, input_seq = self.page.position
        self.page.position = (seq, input_seq + len(data))
        return data

    def silent(self) -> bool:
        """Whether nothing is shown, and the client says nothing, for as long as it might take."""
        return not select.select([self.user, self.session.fileno()], [], [], 0.2)[0]

    def leave(self, status: int = 0) -> bytes:
        self.type(b"\x1cd")
        self.receive(wire.Detach)
        self.send(wire.Detached("client"))
        return self.ends(status)
