"""The blocking client: carries out the plans over `toowld.client`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from toowl import caller, foreground, turn
from toowl.api import executing, plans, waiting
from toowl.api.plans import Dial, Give, Hear, Look, Now, Pause, Peek, Plan, Post, Step, Turn
from toowl.api.values import Completed, Ended, Executed, Happened, Lost, Piece, Screen, Session, Waited
from toowld import paths
from toowld.client import Client as Connection
from toowld.errors import DaemonUnreachable, RefusedError, ToowlError
from toowld.paths import Paths
from toowld.wire import DEFAULT_SIZE, Message, Size

if TYPE_CHECKING:
    from toowld.screen.follow import Followed

_T = TypeVar("_T")


class Client:
    """Sessions of one daemon.

    Every method makes a connection of its own: so a client may be shared by threads, and outlives its daemon.
    A ``session`` is an id, a name, or the beginning of an id that fits only one. All methods raise `ToowlError`:
    `DaemonUnreachable` where no daemon runs, `SessionNotFound`, `RefusedError`, …

    It need not be closed. What is still open when it is, in whatever thread, ends: iterators give nothing more, all
    else is refused, as is what is asked afterwards. As a context manager it is closed at the end.

    Args:
        where: the folders of the daemon; as the environment says if left out.
    """

    def __init__(self, where: Paths | None = None) -> None:
        self._paths = paths.resolve() if where is None else where
        self._open: set[Driver] = set()
        self._closed = False

    def close(self) -> None:
        """End what is still open. May be called twice, and by any thread."""
        self._closed = True
        for driver in list(self._open):
            driver.end()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- sessions ---------------------------------------------------------------------------------------

    def sessions(self) -> list[Session]:
        """All sessions, last active first."""
        return self._run(plans.sessions())

    def session(self, session: str) -> Session:
        """One of them."""
        return self._run(plans.session("info", session=session))

    def new(
        self,
        argv: Sequence[str] | None = None,
        *,
        name: str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        size: Size = DEFAULT_SIZE,
        persistent: bool | None = None,
    ) -> Session:
        """Make a session that runs ``argv``, or the login shell.

        Args:
            name: a name that is taken gets a suffix: look at the result's.
            cwd: its folder; ours if left out.
            env: set besides our own environment.
            persistent: whether it outlives the daemon; as the daemon is set if left out.
        """
        params = caller.new_params(argv, name=name, cwd=cwd, env=env, size=size, persistent=persistent)
        return self._run(plans.session("new", **params))

    def rename(self, session: str, name: str) -> Session:
        """Give it another name."""
        return self._run(plans.session("rename", session=session, name=name))

    def tag(self, session: str, **tags: str | None) -> Session:
        """Note something of it; None takes a note away."""
        return self._run(plans.session("tag", session=session, tags=tags))

    def kill(self, session: str, *, force: bool = False) -> Session:
        """End its program, and wait until it is gone. ``force``: at once, by SIGKILL."""
        return self._run(plans.kill(session, force))

    def remove(self, session: str) -> None:
        """Forget it, with all that it printed. Its program has ended."""
        self._run(plans.ask("remove", 60.0, session=session))

    # --- input and output -------------------------------------------------------------------------------

    def send(self, session: str, data: bytes | str) -> None:
        """Type into it. Enter is ``\\r``, or ``\\n``."""
        self._run(plans.ask("send", session=session, data=data.encode() if isinstance(data, str) else data))

    def read(
        self, session: str, from_seq: int = 0, *, follow: bool = False
    ) -> Iterator[Piece | Lost | Ended]:
        """What it printed from ``from_seq`` on; with ``follow`` until its program ends, and then how it did.

        Each byte comes once, also if the daemon or the connection is lost meanwhile. `Lost`: is not held any more.
        """
        return self._stream(plans.read(session, from_seq, uuid4().hex, follow))

    def capture(self, session: str, lines: int | None = None) -> str:
        """What it printed, as text without escape sequences; the last ``lines`` of it."""
        return self._run(plans.capture(session, lines))

    def screen(self, session: str) -> Screen:
        """What it shows now. Works on ended sessions, and without a daemon too.

        Raises:
            ScreenError: that can't be told: no terminal emulator is installed, or a very long sequence has not ended.
        """
        return self._run(plans.screen(session))

    # --- following --------------------------------------------------------------------------------------

    def events(
        self,
        sessions: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        *,
        since: int | None = None,
        run: str | None = None,
        idle: float | None = None,
        input: bool = False,
    ) -> Iterator[Happened]:
        """What happens from now on, or after event ``since`` of ``run``, for ever.

        Each event once and in order; "missed" where some are not kept. Goes on with the next daemon.

        Args:
            sessions: only of these. names: only events of these names.
            idle: tell, too, when a session has printed nothing for so many seconds.
            input: tell, too, when a session waits for somebody to type.
        """
        return self._stream(plans.events(sessions, names, since, run, idle=idle, input=input))

    def wait(
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
        """Wait until one thing is so.

        Args:
            exit: its program has ended.
            match: a line of its output has this regular expression in it, from ``from_seq`` on, or from now on.
            idle: it has printed nothing for so many seconds.
            prompt: its shell is at its prompt, as that tells (``toowl shell-integration``).
            input: what runs in the foreground waits for somebody to type.
            screen: a line that it shows has this regular expression in it. It is looked at now, or half a second
                after somebody typed, and whenever it has printed something and was silent for a moment.
            timeout: seconds.
        """
        return self._run(
            waiting.wait(
                session, uuid4().hex, exit=exit, match=match, from_seq=from_seq, idle=idle, prompt=prompt,
                input=input, screen=screen, timeout=timeout,
            )
        )  # fmt: skip

    def run(
        self,
        argv: Sequence[str],
        *,
        name: str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        size: Size = DEFAULT_SIZE,
        persistent: bool | None = None,
    ) -> Completed:
        """Run a command in a new session to its end. Arguments as of `new`."""
        params = caller.new_params(argv, name=name, cwd=cwd, env=env, size=size, persistent=persistent)
        return self._run(plans.run(params, uuid4().hex))

    def exec(
        self, session: str, command: str, *, timeout: float | None = None, force: bool = False
    ) -> Executed:
        """Type a command into the shell of a session, which is at its prompt, and wait until it is done.

        It runs in that very shell, and can change its folder and variables.

        Args:
            command: a line for that shell, or several.
            timeout: seconds; the command goes on then.
            force: type it, even if the shell does not seem to be at its prompt.
        """
        return self._run(
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

    def _run(self, plan: Plan[_T]) -> _T:
        with self._driver() as driver:
            return driver.run(plan)

    def _stream(self, plan: Plan[None]) -> Iterator[Any]:
        with self._driver() as driver:
            yield from driver.stream(plan)

    @contextmanager
    def _driver(self) -> Iterator[Driver]:
        driver = Driver(self._paths)
        self._open.add(driver)
        try:
            if self._closed:  # looked at behind that, because `close` does it the other way round
                raise RefusedError("this client is closed: make another one")
            yield driver
        finally:
            driver.close()
            self._open.discard(driver)


def look(where: Paths, session: str) -> Followed:
    """Carry out `Look`."""
    from toowl.history import History  # most plans have no use for it

    with History(session, where) as history:
        return history.followed()


class Driver:
    """Carries out one plan, on one connection at a time.

    Args:
        pipe: a descriptor that what comes is written to: when nobody reads it any more, that is a `BrokenPipeError`.
    """

    def __init__(self, where: Paths, *, pipe: int | None = None) -> None:
        self._paths = where
        self._pipe = pipe
        self._connection: Connection | None = None
        self._turn: turn.Turn | None = None
        self._over = False

    def run(self, plan: Plan[_T]) -> _T:
        """Carry it out to its end.

        Raises:
            RefusedError: `end` was called. ToowlError: as the plan has it.
        """
        result: Any = None
        error: ToowlError | None = None
        while True:
            if self._over:
                raise RefusedError("this client was closed meanwhile")
            try:
                step = plan.send(result) if error is None else plan.throw(error)
            except StopIteration as end:
                value: _T = end.value
                return value
            result, error = self._do(step)

    def stream(self, plan: Plan[None]) -> Iterator[Any]:
        """Carry it out, and pass on what it gives, until `end` is called."""
        result: Any = None
        error: ToowlError | None = None
        while not self._over:
            try:
                step = plan.send(result) if error is None else plan.throw(error)
            except StopIteration:
                return
            if isinstance(step, Give):
                yield step.item
                result, error = None, None
            else:
                result, error = self._do(step)

    def _do(self, step: Step) -> tuple[Any, ToowlError | None]:
        try:
            return self._carry_out(step), None
        except ToowlError as error:
            return None, error

    def _carry_out(self, step: Step) -> Any:
        match step:
            case Dial(session):
                self._hang_up()
                self._connection = self._dial(session)
            case Post(method, params):
                return self._present.post(method, dict(params))
            case Hear(until):
                return self._hear(until)
            case Pause(seconds):
                time.sleep(seconds)
            case Now():
                return time.monotonic()
            case Look(session):
                return look(self._paths, session)
            case Peek(pid):
                return foreground.foreground(pid)
            case Turn(session):
                self._turn = self._turn or turn.Turn(self._paths, session)
                return self._turn.take()
        return None

    def _dial(self, session: str | None) -> Connection:
        try:
            return Connection.connect(self._paths)
        except DaemonUnreachable as error:
            if session is None:
                raise
            try:
                return Connection.connect_path(self._paths.custodian_socket(session))
            except ToowlError:
                raise error from None

    @property
    def _present(self) -> Connection:
        if self._connection is None:
            raise DaemonUnreachable("the connection to toowld is lost: try again")
        return self._connection

    def _hear(self, until: float | None) -> Message | None:
        connection = self._present
        if (message := connection.decoder.next_message()) is not None:
            return message
        timeout = None if until is None else max(until - time.monotonic(), 0.0)
        if not connection.wait(timeout, self._pipe):
            return None
        return connection.receive(timeout=None)

    def end(self) -> None:
        """Stop at the next step; what waits for the peer wakes up. For other threads."""
        self._over = True
        if (connection := self._connection) is not None:
            with suppress(OSError):  # it was closed in this moment
                connection.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up, and let go of what is held."""
        self._hang_up()
        if self._turn is not None:
            self._turn.close()
            self._turn = None

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
