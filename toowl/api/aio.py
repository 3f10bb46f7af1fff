"""The client for asyncio: carries out the plans over a stream."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TypeVar
from uuid import uuid4

from toowl import caller, foreground, turn
from toowl.api import executing, plans, waiting
from toowl.api.plans import Dial, Give, Hear, Look, Now, Pause, Peek, Plan, Post, Step, Turn
from toowl.api.sync import look
from toowl.api.values import Completed, Ended, Executed, Happened, Lost, Piece, Screen, Session, Waited
from toowld import __version__, paths, wire
from toowld.errors import DaemonUnreachable, RefusedError, RemoteProtocolError, ToowlError, from_wire
from toowld.paths import Paths
from toowld.wire import DEFAULT_SIZE, Message, Size

_T = TypeVar("_T")
_UCRED = struct.Struct("3i")
_RECEIVE_BYTES = 1 << 18
_HELLO_TIMEOUT = 5.0
#: Pause before a connect is tried again whose listener had too many waiting (seconds).
_BUSY = 0.01


class AsyncClient:
    """As `toowl.Client`, for asyncio: its methods say what they do."""

    def __init__(self, where: Paths | None = None) -> None:
        self._paths = paths.resolve() if where is None else where
        self._open: set[_Driver] = set()
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        for driver in list(self._open):
            await driver.end()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def sessions(self) -> list[Session]:
        return await self._run(plans.sessions())

    async def session(self, session: str) -> Session:
        return await self._run(plans.session("info", session=session))

    async def new(
        self,
        argv: Sequence[str] | None = None,
        *,
        name: str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        size: Size = DEFAULT_SIZE,
        persistent: bool | None = None,
    ) -> Session:
        params = caller.new_params(argv, name=name, cwd=cwd, env=env, size=size, persistent=persistent)
        return await self._run(plans.session("new", **params))

    async def rename(self, session: str, name: str) -> Session:
        return await self._run(plans.session("rename", session=session, name=name))

    async def tag(self, session: str, **tags: str | None) -> Session:
        return await self._run(plans.session("tag", session=session, tags=tags))

    async def kill(self, session: str, *, force: bool = False) -> Session:
        return await self._run(plans.kill(session, force))

    async def remove(self, session: str) -> None:
        await self._run(plans.ask("remove", 60.0, session=session))

    async def send(self, session: str, data: bytes | str) -> None:
        data = data.encode() if isinstance(data, str) else data
        await self._run(plans.ask("send", session=session, data=data))

    def read(
        self, session: str, from_seq: int = 0, *, follow: bool = False
    ) -> AsyncIterator[Piece | Lost | Ended]:
        return self._stream(plans.read(session, from_seq, uuid4().hex, follow))

    async def capture(self, session: str, lines: int | None = None) -> str:
        return await self._run(plans.capture(session, lines))

    async def screen(self, session: str) -> Screen:
        return await self._run(plans.screen(session))

    def events(
        self,
        sessions: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        *,
        since: int | None = None,
        run: str | None = None,
        idle: float | None = None,
        input: bool = False,
    ) -> AsyncIterator[Happened]:
        return self._stream(plans.events(sessions, names, since, run, idle=idle, input=input))

    async def wait(
        self,
        session: str,
        *,
        exit: bool = False,
        match: str | None = None,
        from_seq: int | None = None,
        idle: float | None = None,
        prompt: bool = False,
        input: bool = False,
        screen: str | None = None,
        timeout: float | None = None,
    ) -> Waited:
        return await self._run(
            waiting.wait(
                session, uuid4().hex, exit=exit, match=match, from_seq=from_seq, idle=idle, prompt=prompt,
                input=input, screen=screen, timeout=timeout,
            )
        )  # fmt: skip

    async def run(
        self,
        argv: Sequence[str],
        *,
        name: str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        size: Size = DEFAULT_SIZE,
        persistent: bool | None = None,
    ) -> Completed:
        params = caller.new_params(argv, name=name, cwd=cwd, env=env, size=size, persistent=persistent)
        return await self._run(plans.run(params, uuid4().hex))

    async def exec(
        self, session: str, command: str, *, timeout: float | None = None, force: bool = False
    ) -> Executed:
        return await self._run(
            executing.execute(
                session,
                command,
                uuid4().hex,
                timeout=timeout,
                force=force,
                own=os.environ.get("TOOWL_SESSION"),
            )
        )

    # --- carrying out -----------------------------------------------------------------------------------

    async def _run(self, plan: Plan[_T]) -> _T:
        with self._driver() as driver:
            result: Any = None
            error: ToowlError | None = None
            while True:
                if driver.over:
                    raise RefusedError("this client was closed meanwhile")
                try:
                    step = plan.send(result) if error is None else plan.throw(error)
                except StopIteration as end:
                    value: _T = end.value
                    return value
                result, error = await driver.do(step)

    async def _stream(self, plan: Plan[None]) -> AsyncIterator[Any]:
        with self._driver() as driver:
            result: Any = None
            error: ToowlError | None = None
            while not driver.over:
                try:
                    step = plan.send(result) if error is None else plan.throw(error)
                except StopIteration:
                    return
                if isinstance(step, Give):
                    yield step.item
                    result, error = None, None
                else:
                    result, error = await driver.do(step)

    @contextmanager
    def _driver(self) -> Iterator[_Driver]:
        if self._closed:
            raise RefusedError("this client is closed: make another one")
        driver = _Driver(self._paths)
        self._open.add(driver)
        try:
            yield driver
        finally:
            self._open.discard(driver)
            driver.close()


class _Driver:
    """Carries out steps, on one connection at a time. ``over``: no more are wanted."""

    def __init__(self, where: Paths) -> None:
        self.over = False
        self._paths = where
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._decoder = wire.FrameDecoder()
        self._last_id = 0
        self._turn: turn.Turn | None = None

    async def do(self, step: Step) -> tuple[Any, ToowlError | None]:
        try:
            return await self._carry_out(step), None
        except ToowlError as error:
            return None, error

    async def _carry_out(self, step: Step) -> Any:
        match step:
            case Dial(session):
                await self._dial(session)
            case Post(method, params):
                self._last_id += 1
                await self._send(wire.Request(self._last_id, method, dict(params)))
                return self._last_id
            case Hear(until):
                return await self._hear(until)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Now():
                return asyncio.get_running_loop().time()
            case Look(session):
                return await asyncio.to_thread(look, self._paths, session)
            case Peek(pid):
                return foreground.foreground(pid)
            case Turn(session):
                self._turn = self._turn or turn.Turn(self._paths, session)
                return self._turn.take()
        return None

    async def _dial(self, session: str | None) -> None:
        try:
            await self._connect(os.fspath(self._paths.daemon_socket))
        except DaemonUnreachable as error:
            if session is None:
                raise
            try:
                await self._connect(os.fspath(self._paths.custodian_socket(session)))
            except ToowlError:
                raise error from None

    async def _connect(self, path: str) -> None:
        self._hang_up()
        self._decoder = wire.FrameDecoder()
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT):
                self._stream = await self._open(path)
                peer: socket.socket = self._stream[1].get_extra_info("socket")
                _, uid, _ = _UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
                if uid != os.getuid():
                    raise RefusedError(f"{path} belongs to uid {uid}, not to us: run as that user")
                about = {"role": "client", "build": __version__, "pid": os.getpid()}
                await self._send(wire.Hello(about=about))
                hello = await self._receive()
        except TimeoutError:
            raise DaemonUnreachable(f"toowld at {path} does not answer: see `toowld doctor`") from None
        except OSError as error:
            raise DaemonUnreachable(
                f"no toowld is running at {path}: start it with `toowld --detach`; `toowld doctor` tells more"
            ) from error
        if isinstance(hello, wire.Failure):
            raise from_wire(hello.code, hello.text)
        if not isinstance(hello, wire.Hello):
            raise RemoteProtocolError(f"{path} did not begin with a Hello: is it a toowld?")
        wire.negotiate(hello)

    async def _open(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_unix_connection(path, limit=_RECEIVE_BYTES)
            except BlockingIOError:  # too many wait already
                await asyncio.sleep(_BUSY)

    async def _send(self, message: Message) -> None:
        if self._stream is None:
            raise DaemonUnreachable("the connection to toowld is lost: try again")
        writer = self._stream[1]
        writer.write(wire.encode(message))
        try:
            await writer.drain()
        except OSError:
            return  # it hung up, and perhaps said why before: that is read first

    async def _hear(self, until: float | None) -> Message | None:
        try:
            async with asyncio.timeout_at(until):
                return await self._receive()
        except TimeoutError:
            return None

    async def _receive(self) -> Message:
        while (message := self._decoder.next_message()) is None:
            if self._stream is None:
                raise DaemonUnreachable("the connection to toowld is lost: try again")
            try:
                data = await self._stream[0].read(_RECEIVE_BYTES)
            except OSError as error:
                raise DaemonUnreachable(f"lost toowld: {error.strerror}: try again") from error
            if not data:
                raise DaemonUnreachable("toowld hung up: try again")
            self._decoder.feed(data)
        return message

    async def end(self) -> None:
        """Stop at the next step; what waits for the peer wakes up."""
        self.over = True
        if self._stream is not None:
            writer = self._stream[1]
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def close(self) -> None:
        self._hang_up()
        if self._turn is not None:
            self._turn.close()
            self._turn = None

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None
