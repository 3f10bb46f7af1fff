"""The commands of the settings that are run when something happens (`toowld.settings.schema.Hooks`).

They are run beside everything else, a few at once; those that wait for their turn are bounded too, so a hook that
makes the event that it hears of does no more harm than to keep itself busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping

from toowld.daemon import limits
from toowld.daemon.events import Bus, Happening, Listener
from toowld.daemon.watching import Watching
from toowld.paths import Paths
from toowld.settings.schema import Hooks as Wanted

_log = logging.getLogger(__name__)

#: Commands that wait for their turn.
MOST_WAITING = 64

#: Of what a command prints, so much goes to the log (bytes); and in one piece it is read so much.
_LOGGED, _READ = 4096, 64 << 10

#: Who has ended may have left somebody behind with its output open (seconds).
_LAST_WORDS = 0.2


class Hooks:
    """Runs them.

    Args:
        wanted: the settings that hold now.
    """

    def __init__(self, paths: Paths, wanted: Callable[[], Wanted], bus: Bus, watching: Watching) -> None:
        self._paths = paths
        self._wanted = wanted
        self._watching = watching
        self._waiting: deque[tuple[Happening, str]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._left_out = 0
        self._end_watch: Callable[[], None] = lambda: None
        self._listener = Listener(
            bus, wants=self._wants, take=self._take, missed=lambda count, number: None, since=bus.last
        )

    def start(self) -> None:
        """From now on."""
        self._listener.start()
        self.reload()

    def reload(self) -> None:
        """Heed other settings."""
        wanted = self._wanted()
        before, self._end_watch = (
            self._end_watch,
            self._watching.begin(
                wanted.idle_after if "idle" in wanted.given else None, "input" in wanted.given
            ),
        )
        before()

    async def close(self) -> None:
        """The daemon ends, and what runs."""
        self._listener.close()
        self._end_watch()
        self._waiting.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _wants(self, happening: Happening) -> bool:
        if happening.name == "idle" and happening.data["seconds"] != self._wanted().idle_after:
            return False  # somebody else asked for that
        return happening.name in self._wanted().given

    def _take(self, happening: Happening) -> bool:
        for command in self._wanted().given[happening.name]:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append((happening, command))
            else:
                self._left_out += 1
        self._begin()
        return True

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self._wanted().at_once:
            task = asyncio.get_running_loop().create_task(self._run(*self._waiting.popleft()))
            self._running.add(task)
            task.add_done_callback(self._on_done)
        if self._left_out and not self._waiting:
            _log.warning("%s hooks were left out: too many waited already", self._left_out)
            self._left_out = 0

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a hook could not be run", exc_info=error)
        self._begin()

    async def _run(self, happening: Happening, command: str) -> None:
        what = f"hook of {happening.name}, session {happening.session}"
        timeout = self._wanted().timeout
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=_home(),
                env=self._environment(happening),
                start_new_session=True,  # a group of its own, to be killed as one
            )  # fmt: skip
        except OSError as error:
            _log.error("%s: it can't be started: %s", what, error.strerror)
            return
        limits.restore_for(process.pid)
        assert process.stdout is not None
        printed = bytearray()
        reading = asyncio.create_task(_read(process.stdout, printed))
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            if process.returncode is None:
                _log.error("%s: killed, as it took longer than %.12g s (hooks.timeout)", what, timeout)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            await asyncio.wait([reading], timeout=_LAST_WORDS)
            reading.cancel()
        if printed:
            text = bytes(printed[:_LOGGED]).decode(errors="replace").rstrip()
            _log.info("%s: %s", what, text + (" …" if len(printed) > _LOGGED else ""))
        if process.returncode:
            _log.warning("%s: exit status %s", what, process.returncode)

    def _environment(self, happening: Happening) -> dict[str, str]:
        """What a command gets: with what programs say of themselves, so without what no variable can hold."""
        ours = {
            "TOOWL_RUNTIME_DIR": str(self._paths.runtime),
            "TOOWL_STATE_DIR": str(self._paths.state),
            "TOOWL_EVENT": happening.name,
            "TOOWL_SESSION": happening.session,
            "TOOWL_NAME": happening.label or "",
            "TOOWL_AT": f"{happening.at:.3f}",
            "TOOWL_DATA": json.dumps(dict(happening.data), default=str),
        }
        ours |= {f"TOOWL_EVENT_{key.upper()}": _text(value) for key, value in _single(happening.data).items()}
        return {**os.environ, **ours}


def _single(data: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in data.items() if not isinstance(value, dict | list | tuple)}


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, bool) or value is None:
        return "1" if value else ""
    return str(value).replace("\0", "")


def _home() -> str:
    home = os.environ.get("HOME", "/")
    return home if os.path.isdir(home) else "/"  # noqa: PTH112


async def _read(stream: asyncio.StreamReader, printed: bytearray) -> None:
    """Take all that comes, so that nobody waits for us; of that we keep a little."""
    while data := await stream.read(_READ):
        if len(printed) <= _LOGGED:
            printed += data
