"""The I/O driver of one session engine, the same in a custodian and in the daemon.

It turns file descriptors and time into the engine's events, and the engine's effects into I/O. It decides
nothing: what a session does is in `toowld.session`, what is on disk in `toowld.log`. Every event and every
effect passes `_run`, where a trace can be taken.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from toowld.errors import AttachRefused, RemoteProtocolError, ToowlError
from toowld.host.aside import Aside
from toowld.host.loop import Loop, Timer
from toowld.host.pty import Pty
from toowld.host.sockets import FrameSocket
from toowld.log.cursor import Cursor
from toowld.log.format import FOLDER_EVERY
from toowld.log.writer import LogWriter
from toowld.session import Session, SessionState
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.engine import LONGEST_FAREWELL
from toowld.wire import (
    Detach,
    Detached,
    Failure,
    Hello,
    Input,
    Message,
    Ping,
    Pong,
    Request,
    Resize,
    Size,
    Unknown,
)
from toowld.wire import codec as wire_codec
from toowld.wire.text import pack_text

if TYPE_CHECKING:
    from toowld.log.view import LogView  # a custodian needs none, nor the reader that it would load

#: The PTY is read up to here in one wake-up: then clients, timers and the next session get their turn.
READ_AT_ONCE = 64 << 10

#: The kernel hands out at most 4095 bytes of a PTY in one read (N_TTY_BUF_SIZE - 1). One much shorter was the
#: last for now, so asking again would only cost a system call and an exception.
FULL_READ = 2048

#: A child that has ended left at most this in the kernel's buffers (64 KiB, tty_buffer.c); more comes from a
#: background job that must not keep the session from ending.
DRAIN_LIMIT = 256 << 10

#: While the log can't be written, it is tried again so often (seconds).
LOG_RETRY = 1.0

#: What the kernel may hold on its way to a client, by half of what it counts (SO_SNDBUF, socket(7); its own default
#: is 208 KiB counted). It can't be taken back, so at Ctrl-C all of it is still printed, and at 2 MB/s the default
#: would be 0.1 s of that. Also, a client's progress is only seen when three quarters of it are free again.
#: Chosen by experiment: 32 KiB instead of 16 doubled what came after Ctrl-C; less than 16 costs throughput.
SEND_BUFFER = 16 << 10

#: A client that was told goodbye and takes nothing of what is queued for it is cut off after so long (seconds).
CLOSE_TIMEOUT = 5.0

#: One that takes something now and then, after so long, counted from the child's end where that came before: over
#: a slow link, the last 300 KiB and how it ended come through; a client that trickles does not keep us for ever.
LONGEST_CLOSE = LONGEST_FAREWELL


@dataclass(frozen=True, slots=True)
class Joining:
    """How a client wants to attach, as its request said it."""

    client_id: str
    size: Size | None
    read_only: bool
    from_seq: int | None
    replay_bytes: int
    pid: int | None
    tty: str | None
    redraw: bool = False


class _Client:
    """An attachment's I/O side."""

    def __init__(self, joining: Joining, since: float) -> None:
        self.joining = joining
        self.since = since
        self.size = joining.size
        self.socket: FrameSocket
        self.cursor: Cursor | None = None  # into the log, while it is fed from there


class SessionHost:
    """Runs one `Session` on a loop.

    Args:
        loop: calls us; ours or asyncio's.
        session: the engine.
        log: the session's scrollback log; closed by us. A view of it where the child has ended.
        on_changed: something that lists show has changed.
        on_finished: the child has ended and all clients have been served; the host is closed.
    """

    def __init__(
        self,
        loop: Loop,
        session: Session,
        log: LogWriter | LogView,
        *,
        on_changed: Callable[[], None],
        on_finished: Callable[[], None],
        trace: Callable[[object], None] | None = None,
    ) -> None:
        self.session = session
        self.log = log
        self._writer = cast("LogWriter", log)  # an engine whose child has ended writes nothing to its view
        self.last_active_at = time.time()
        self._loop = loop
        self._on_changed = on_changed
        self._on_finished = on_finished
        self._trace = trace
        self._pty: Pty | None = None
        self._to_pty: deque[bytes | memoryview] = deque()
        self._clients: dict[int, _Client] = {}
        self._leaving: set[FrameSocket] = set()
        self._next_client = 1
        self._events: deque[ev.Event] = deque()
        self._running = False
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._retry: Timer | None = None
        self._syncing: Aside | None = None
        self._folder = ("", 0)  # of the child as last noted, and the seq then
        self._sync_again = False
        self._ended_at: float | None = None  # of the child
        self._finished = False
        self._encoded: tuple[Message | None, bytes] = (None, b"")
        self._performers: dict[type[do.Effect], Callable[[Any], None]] = {
            do.AppendLog: self._append_log,
            do.Send: self._send,
            do.WritePty: self._write_pty,
            do.ReadLog: self._read_log,
            do.FindReplayStart: self._find_replay_start,
            do.WatchRoom: self._watch_room,
            do.PausePty: self._pause_pty,
            do.ResumePty: self._resume_pty,
            do.ResizePty: self._resize_pty,
            do.LogResize: self._log_resize,
            do.LogExit: self._log_exit,
            do.SyncLog: self._sync_log,
            do.NudgeForeground: self._nudge_foreground,
            do.SignalSession: self._signal_session,
            do.ClosePty: lambda effect: self._close_pty(),
            do.CloseClient: self._close_client,
            do.Changed: lambda effect: self._on_changed(),
            do.Finished: lambda effect: self._finish(),
        }

    # --- for the owner ----------------------------------------------------------------------------------

    def start(
        self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str], argv0: str | None, kind: str = "start"
    ) -> None:
        """Start the child.

        Args:
            kind: the mark that the log gets: "start", or "respawn" where the log goes on.

        Raises:
            SpawnFailed: it can't be; the host is closed and nothing is left behind.
        """
        self.tell(ev.StartRequested())
        try:
            pty = Pty.spawn(argv, cwd=cwd, env=env, size=self.session.size, argv0=argv0)
        except ToowlError:
            self.tell(ev.ChildFailed())
            raise
        self._pty = pty
        self._writer.mark(kind, argv=list(argv), cwd=pack_text(cwd), pid=pty.pid)
        self._folder = (cwd, self.session.seq)
        self._watch_log()
        self.tell(ev.ChildStarted(pty.pid))
        self._loop.add_reader(pty.fd, self._on_pty_readable)
        self._loop.add_reader(pty.pidfd, self._on_child_ended)

    @property
    def finished(self) -> bool:
        """The child has ended and all clients have been served."""
        return self._finished

    def print(self, text: bytes) -> None:
        """Put a line of ours into the output, as if the child had printed it."""
        self.tell(ev.PtyOutput(text))

    def join(self, sock: socket.socket, unread: bytes, request_id: int, joining: Joining) -> None:
        """Make an attachment of a connection that asked for it with request ``request_id``.

        The socket becomes ours, whatever happens; a refusal is told to the client.
        """
        number = self._next_client
        self._next_client += 1
        client = _Client(joining, time.time())
        client.socket = FrameSocket(
            sock,
            self._loop,
            on_message=lambda message, fds: self._on_client_message(number, message, fds),
            on_close=lambda reason: self._on_client_closed(number),
            on_sent=lambda queued: self.tell(ev.ClientTook(number, queued)),
            on_room=lambda: self.tell(ev.ClientRoom(number)),
            unread=unread,
        )
        self._clients[number] = client
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        try:
            if self._finished:
                raise AttachRefused("the session has just ended: attach again")
            self.tell(
                ev.ClientJoined(
                    number,
                    joining.client_id,
                    joining.size,
                    joining.read_only,
                    joining.from_seq,
                    joining.replay_bytes,
                    joining.redraw,
                )
            )
        except ToowlError as error:
            del self._clients[number]
            client.socket.send(wire_codec.encode(Failure(request_id, error.code, str(error))))
            self._let_go(client.socket)
            return
        self.last_active_at = client.since
        client.socket.process_unread()

    def tell(self, event: ev.Event) -> None:
        """Give the engine an event and do what it wants.

        Raises:
            ToowlError: the engine refused this event (never when called from within an effect).
        """
        self._events.append(event)
        if not self._running:
            self._run()

    def clients(self) -> list[dict[str, Any]]:
        """Who is attached, for people to see."""
        return [
            {
                "client": number,
                "client_id": client.joining.client_id,
                "pid": client.joining.pid,
                "tty": client.joining.tty,
                "rows": client.size.rows if client.size else None,
                "cols": client.size.cols if client.size else None,
                "read_only": client.joining.read_only,
                "since": client.since,
            }
            for number, client in self._clients.items()
            if number in self.session.attachments
        ]

    def abandon(self, reason: str) -> None:
        """End everything now because *we* are being ended: the child is hung up on and counts as lost."""
        if self.session.state is SessionState.RUNNING and self._pty is not None:
            self._drain()
            self.tell(ev.ChildEnded(None, None, reason))
        self._finish()
        for sock in self._leaving:  # a shutdown does not wait for a slow link
            self._loop.call_at(self._loop.time() + CLOSE_TIMEOUT, self._gone, sock)

    # --- the engine's turn ------------------------------------------------------------------------------

    def _run(self) -> None:
        self._running = True
        try:
            first = True
            while self._events:
                event = self._events.popleft()
                if self._trace is not None:
                    self._trace(event)
                try:
                    effects = self.session.handle(event, self._loop.time())
                except ToowlError:
                    if first:
                        raise
                    continue  # a follow-up of our own that came too late
                finally:
                    first = False
                for effect in effects:
                    if self._trace is not None:
                        self._trace(effect)
                    self._performers[type(effect)](effect)
        finally:
            self._running = False
            self._set_timer()

    def _set_timer(self) -> None:
        deadline = None if self._finished else self.session.next_deadline()
        if self._timer is not None:
            if deadline is not None and deadline >= self._timer_at:
                return  # the deadline moves on with every byte; `_on_timer` sets the rest of the way
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        deadline = self.session.next_deadline()
        if deadline is not None and deadline <= self._loop.time():
            self.tell(ev.TimerFired())
        else:
            self._set_timer()

    # --- the PTY ----------------------------------------------------------------------------------------

    def _on_pty_readable(self) -> None:
        """The hot path: everything that any child prints comes through here."""
        assert self._pty is not None
        if data := self._read_pty(READ_AT_ONCE):
            self.tell(ev.PtyOutput(data))

    def _read_pty(self, limit: int) -> bytes:
        assert self._pty is not None
        fd = self._pty.fd
        pieces = []
        total = 0
        while total < limit:
            try:
                piece = os.read(fd, limit - total)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # EIO: the end of the file on a PTY; the child's end is reported by its pidfd
                self._loop.remove_reader(fd)
                break
            if not piece:
                break
            pieces.append(piece)
            total += len(piece)
            if len(piece) < FULL_READ:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _drain(self) -> None:
        """Read what is left in the kernel; its buffers are flushed to us before it says EAGAIN (n_tty_read)."""
        left = DRAIN_LIMIT
        while left > 0 and (data := self._read_pty(min(left, READ_AT_ONCE))):
            left -= len(data)
            self.tell(ev.PtyOutput(data))

    def _on_child_ended(self) -> None:
        assert self._pty is not None
        result = self._pty.reap()
        if result is None:
            return
        self._drain()
        self.tell(ev.ChildEnded(*result))

    def _write_pty(self, effect: do.WritePty) -> None:
        self.last_active_at = time.time()
        idle = not self._to_pty
        self._to_pty.append(effect.data)
        if idle:
            self._flush_pty()

    def _flush_pty(self) -> None:
        pty = self._pty
        if pty is None:
            self._to_pty.clear()
            return
        took = 0
        try:
            while self._to_pty:
                head = self._to_pty[0]
                count = os.write(pty.fd, head)
                took += count
                if count == len(head):
                    self._to_pty.popleft()
                else:
                    self._to_pty[0] = memoryview(head)[count:]
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(pty.fd, self._flush_pty)
        except OSError:  # EIO: nobody reads there any more; without acknowledgement, clients know it
            self._to_pty.clear()
        if not self._to_pty:
            self._loop.remove_writer(pty.fd)
        if took:
            self.tell(ev.PtyTook(took))

    def _pause_pty(self, effect: do.PausePty) -> None:
        if self._pty is not None:
            self._loop.remove_reader(self._pty.fd)

    def _resume_pty(self, effect: do.ResumePty) -> None:
        if self._pty is not None:
            self._loop.add_reader(self._pty.fd, self._on_pty_readable)

    def _resize_pty(self, effect: do.ResizePty) -> None:
        if self._pty is not None:
            self._pty.resize(effect.size)

    def _nudge_foreground(self, effect: do.NudgeForeground) -> None:
        if self._pty is not None:
            self._pty.nudge()

    def _signal_session(self, effect: do.SignalSession) -> None:
        if self._pty is not None:
            self._pty.signal_session(effect.signal)

    def _close_pty(self) -> None:
        if self._pty is not None:
            self._ended_at = self._loop.time()
            self._loop.remove_reader(self._pty.fd)
            self._loop.remove_writer(self._pty.fd)
            self._loop.remove_reader(self._pty.pidfd)
            self._pty.close()
            self._pty = None
        self._to_pty.clear()

    # --- the log ----------------------------------------------------------------------------------------

    def _append_log(self, effect: do.AppendLog) -> None:
        self._writer.append(effect.data)
        self._watch_log()

    def _log_resize(self, effect: do.LogResize) -> None:
        self._writer.resize(effect.size)
        self._watch_log()

    def _log_exit(self, effect: do.LogExit) -> None:
        # The pid tells whose end this is, should an older one be the last that reached the disk.
        self._writer.mark(
            "exit",
            reason=effect.reason,
            code=effect.code,
            signal=effect.signal,
            requested=effect.requested,
            pid=self.session.pid,
        )
        self._watch_log()

    def _sync_log(self, effect: do.SyncLog) -> None:
        if self.session.state is SessionState.ENDED:
            self._writer.sync()  # who is told of the end must find it on the disk
        else:
            self._begin_sync()
        self._watch_log()

    def _begin_sync(self) -> None:
        """Sync beside the loop: a slow disk must not hold up a session."""
        if self._syncing is not None:
            self._sync_again = True
            return
        self._note_folder()
        sync = self._writer.begin_sync()
        if sync is None:
            return

        def on_done() -> None:
            self._syncing = None
            self._writer.end_sync(sync)
            self._watch_log()
            again, self._sync_again = self._sync_again, False
            if again:
                self._begin_sync()

        try:
            self._syncing = Aside(self._loop, sync.run, on_done)
        except OSError:  # no descriptor is free
            sync.run()
            self._writer.end_sync(sync)

    def _note_folder(self) -> None:
        """With each sync: a shell that is started in place of a lost one begins where that one was.

        The daemon notes it as well, but may not be there.
        """
        if self._pty is None or (folder := self._pty.folder()) is None:
            return
        noted, seq = self._folder
        if folder != noted or self.session.seq - seq > FOLDER_EVERY:
            self._folder = (folder, self.session.seq)
            self._writer.mark("folder", cwd=pack_text(folder))

    def _watch_log(self) -> None:
        """After every use of the log: if it lost its disk, say so and keep trying."""
        if self.log.degraded and self._retry is None:
            self._on_changed()
            self._retry = self._loop.call_at(self._loop.time() + LOG_RETRY, self._retry_log)

    def _retry_log(self) -> None:
        self._retry = None
        if self._writer.retry():
            self._begin_sync()  # what was only in memory has waited long enough
            self._on_changed()
        else:
            self._watch_log()

    def _read_log(self, effect: do.ReadLog) -> None:
        client = self._clients.get(effect.client)
        if client is None:
            return
        if client.cursor is None or client.cursor.seq != effect.seq:
            client.cursor = self.log.cursor(effect.seq)
        data = client.cursor.read(effect.limit)
        self._events.append(ev.LogRead(effect.client, client.cursor.seq - len(data), data))
        if client.cursor.seq >= self.session.seq:
            client.cursor = None  # caught up: what is read next comes much later, if ever

    def _find_replay_start(self, effect: do.FindReplayStart) -> None:
        client = self._clients[effect.client]
        wanted = self.log.replay_start(effect.back)
        client.cursor = self.log.cursor(wanted, safe=wanted > 0)
        data = client.cursor.read(effect.limit)
        self._events.append(ev.LogRead(effect.client, client.cursor.seq - len(data), data))

    # --- clients ----------------------------------------------------------------------------------------

    def _on_client_message(self, number: int, message: Message, fds: list[int]) -> None:
        for fd in fds:  # nobody asked for any
            os.close(fd)
        client = self._clients[number]
        try:
            match message:
                case Input(seq, data):
                    self.tell(ev.ClientTyped(number, seq, data))
                case Resize(rows, cols):
                    client.size = _checked_size(rows, cols)
                    self.tell(ev.ClientResized(number, client.size))
                case Ping(token):
                    client.socket.send(wire_codec.encode(Pong(token)))
                case Detach():
                    self.tell(ev.ClientDismissed(number, "client"))
                case Request(request_id, method):
                    text = f"{method}: an attached connection takes no requests: open another"
                    client.socket.send(wire_codec.encode(Failure(request_id, "refused", text)))
                case Hello() | Pong() | Unknown():
                    pass
                case _:
                    raise RemoteProtocolError(f"a client does not send {type(message).__name__}")
        except RemoteProtocolError as error:
            self._clients.pop(number, None)
            client.socket.send(wire_codec.encode(Detached(f"protocol error: {error}")))
            self._let_go(client.socket)
            self.tell(ev.ClientLeft(number))

    def _on_client_closed(self, number: int) -> None:
        if self._clients.pop(number, None) is not None:  # else we are just saying goodbye to it
            self.tell(ev.ClientLeft(number))

    def _send(self, effect: do.Send) -> None:
        client = self._clients.get(effect.client)
        if client is None:
            return
        message, frame = self._encoded
        if message is not effect.message:  # one piece of output goes to many, encoded once
            frame = wire_codec.encode(effect.message)
            self._encoded = (effect.message, frame)
        client.socket.send(frame)

    def _watch_room(self, effect: do.WatchRoom) -> None:
        if (client := self._clients.get(effect.client)) is not None:
            client.socket.watch_room()

    def _close_client(self, effect: do.CloseClient) -> None:
        if (client := self._clients.pop(effect.client, None)) is not None:
            self._let_go(client.socket)

    def _let_go(self, sock: FrameSocket) -> None:
        """Close a connection once its last bytes are out, or after a while."""
        if not sock.is_open:
            return  # it was gone before our goodbye
        sock.on_sent = sock.on_room = None
        sock.on_close = lambda reason: self._gone(sock)
        self._leaving.add(sock)
        sock.close_when_sent()
        if sock.is_open:
            now = self._loop.time()
            until = (now if self._ended_at is None else self._ended_at) + LONGEST_CLOSE
            self._wait_for(sock, sock.queued, until)

    def _wait_for(self, sock: FrameSocket, queued: int, until: float) -> None:
        """Look again later whether it still takes something."""
        when = min(self._loop.time() + CLOSE_TIMEOUT, until)
        self._loop.call_at(when, self._look_at_leaving, sock, queued, until)

    def _look_at_leaving(self, sock: FrameSocket, queued: int, until: float) -> None:
        if not sock.is_open:
            return
        if sock.queued < queued and self._loop.time() < until:
            self._wait_for(sock, sock.queued, until)
        else:
            self._gone(sock)

    def _gone(self, sock: FrameSocket) -> None:
        sock.close()
        self._leaving.discard(sock)
        if self._finished and not self._leaving:
            self._report_finished()

    # --- the end ----------------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        self._close_pty()
        if self._syncing is not None:
            self._sync_again = False
            self._syncing.wait()  # closing the log syncs the rest
        if self._retry is not None:
            self._retry.cancel()
        self.log.close()
        for client in self._clients.values():
            client.socket.close()
        self._clients.clear()
        if not self._leaving:
            self._report_finished()

    def _report_finished(self) -> None:
        report, self._on_finished = self._on_finished, lambda: None
        report()


def _checked_size(rows: int, cols: int) -> Size:
    try:
        return Size(rows=rows, cols=cols)
    except ValueError as error:
        raise RemoteProtocolError(str(error)) from error
