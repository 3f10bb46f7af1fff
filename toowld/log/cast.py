"""A log as an asciinema recording: asciicast v2 (what asciinema 2 plays) or v3. Knows records, not files.

The text of all "o" events is the log's output, decoded as UTF-8 over record boundaries, U+FFFD for what is
not UTF-8. Where output is missing (older than the log holds, or damaged) stands an "m" event instead of
text, and characters are not joined over it. Input is never in a log, so it is never in a recording.

Time: within one boot the monotonic clock, across boots the wall clock, and never a step back. The real times are
kept however long a session was idle; ``idle_limit`` goes into the header, and players shorten by it.
"""

from __future__ import annotations

import codecs
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO, Protocol

from toowld.log.format import MARK, OUTPUT, RESIZE, LogRecord
from toowld.log.reader import GapMark
from toowld.wire.messages import DEFAULT_SIZE, Size

#: Tell progress this often, in bytes of output: 64 MiB take about a second.
_PROGRESS_STEP = 1 << 20


class _Text(Protocol):
    def __call__(self, text: str, /) -> object: ...


def write_cast(
    records: Iterable[LogRecord | GapMark],
    out: BinaryIO,
    *,
    version: int = 2,
    idle_limit: float | None = None,
    title: str | None = None,
    command: str | None = None,
    env: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write ``records`` (of `LogReader.records`) to ``out`` as a recording.

    Args:
        version: 2 or 3.
        idle_limit: seconds that players should shorten every pause to.
        command: what was recorded; taken from the log's first start mark if not given.
        env: a few variables worth knowing, such as TERM and SHELL. They are published with the recording.
        progress: called now and then with the number of output bytes done, and at the end.

    Raises:
        ValueError: there is no such version.
        OSError: ``out`` takes no more.
    """
    if version not in (2, 3):
        raise ValueError(f"asciicast version {version} is not known: 2 or 3")
    stream = iter(records)
    head = list(_until_output(stream))
    clock = _Clock()
    size = next((item.size for item in head if isinstance(item, LogRecord) and item.size), DEFAULT_SIZE)
    header = _header(version, size, head, command)
    extra = {"title": title, "idle_time_limit": idle_limit, "env": dict(env) if env else None}
    header |= {key: value for key, value in extra.items() if value is not None}
    if version == 3 and env and "TERM" in env:
        header["term"]["type"] = env["TERM"]
    _write(out, json.dumps(header))
    events = _Events(out, clock, size, relative=version == 3)
    done = told = 0
    for item in chain(head, stream):
        if isinstance(item, GapMark):
            events.gap(item)
            continue
        clock.see(item)
        if item.type == OUTPUT:
            events.output(item.payload)
            done += len(item.payload)
            if progress is not None and done - told >= _PROGRESS_STEP:
                progress(done)
                told = done
        elif item.type == RESIZE or item.type == MARK:
            events.state(item)
    events.finish(with_exit=version == 3)
    if progress is not None:
        progress(done)


def _write(out: BinaryIO, line: str) -> None:
    out.write(line.encode("ascii") + b"\n")  # json has escaped all else


def _until_output(stream: Iterator[LogRecord | GapMark]) -> Iterator[LogRecord | GapMark]:
    """What comes before the first output, and that: enough for the header."""
    for item in stream:
        yield item
        if isinstance(item, LogRecord) and item.type == OUTPUT:
            return


def _header(version: int, size: Size, head: list[LogRecord | GapMark], command: str | None) -> dict[str, Any]:
    if version == 2:
        header: dict[str, Any] = {"version": 2, "width": size.cols, "height": size.rows}
    else:
        header = {"version": 3, "term": {"cols": size.cols, "rows": size.rows}}
    first = next((item for item in head if isinstance(item, LogRecord)), None)
    if first is not None:
        header["timestamp"] = first.wall_us // 1_000_000
    command = command or next(filter(None, map(_command, head)), None)
    if command:
        header["command"] = command
    if head and isinstance(head[0], GapMark):
        header["note"] = _gap_text(head[0])
    return header


def _command(item: LogRecord | GapMark) -> str | None:
    if isinstance(item, LogRecord) and item.type == MARK:
        argv = item.fields.get("argv")
        if isinstance(argv, list) and argv:
            return shlex.join(map(str, argv))
    return None


def _gap_text(gap: GapMark) -> str:
    if (count := gap.size) is None:
        return "interrupted: some of the output before this was lost, nobody knows how much"
    if gap.reason == "dropped":
        return f"truncated: {count} bytes before this are older than the log holds"
    if count == 0:
        return "damaged: part of the log can't be read here"
    return f"{gap.reason}: {count} bytes of output are missing here"


class _Clock:
    """Microseconds since the first record, from records of any number of boots."""

    def __init__(self) -> None:
        self.now = 0
        self._base = 0  # `now` at mono `_mono`
        self._mono: int | None = None
        self._last: LogRecord | None = None
        self._boot: object = None

    def see(self, record: LogRecord) -> None:
        new_boot = False
        if record.type == MARK and (fields := record.fields).get("kind") == "segment":
            boot = fields.get("boot")
            new_boot = self._boot is not None and boot != self._boot
            self._boot = boot
        last, self._last = self._last, record
        if last is None or self._mono is None:
            self._mono = record.mono_us
        elif new_boot or record.mono_us < last.mono_us:  # the mark of a boot may be damaged
            self._base = self.now + max(0, record.wall_us - last.wall_us)
            self._mono = record.mono_us
        self.now = max(self.now, self._base + record.mono_us - self._mono)


class _Events:
    """The lines after the header."""

    def __init__(self, out: BinaryIO, clock: _Clock, size: Size, *, relative: bool) -> None:
        self._out = out
        self._clock = clock
        self._size = size
        self._relative = relative
        self._last = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._started = False
        self._exit: dict[str, Any] | None = None

    def _event(self, kind: str, text: str) -> None:
        now = self._clock.now
        time = now - self._last if self._relative else now
        self._last = now
        _write(self._out, f'[{time // 1_000_000}.{time % 1_000_000:06d}, "{kind}", {json.dumps(text)}]')

    def output(self, data: bytes) -> None:
        if text := self._decoder.decode(data):
            self._event("o", text)

    def gap(self, gap: GapMark) -> None:
        self._flush()
        self._event("m", _gap_text(gap))

    def state(self, record: LogRecord) -> None:
        """A resize, or a mark: of a start, an exit, a new segment (which tells the size again)."""
        if (size := record.size) is not None and size != self._size:
            self._size = size
            self._event("r", f"{size.cols}x{size.rows}")
        fields = record.fields
        kind = fields.get("kind")
        if kind == "exit":
            self._exit = fields
        elif kind in ("start", "respawn"):
            if self._exit is not None:
                self._event("m", _exit_text(self._exit))
                self._exit = None
            if self._started or kind == "respawn":
                self._event("m", "restarted")
            self._started = True

    def finish(self, *, with_exit: bool) -> None:
        self._flush()
        if self._exit is None:
            return
        status = _exit_status(self._exit)
        if with_exit and status is not None:
            self._event("x", str(status))
        else:
            self._event("m", _exit_text(self._exit))

    def _flush(self) -> None:
        if text := self._decoder.decode(b"", final=True):
            self._event("o", text)
        self._decoder.reset()


def _exit_status(fields: Mapping[str, Any]) -> int | None:
    """As a shell tells it: 128 and the signal where there was one."""
    code, signal = fields.get("code"), fields.get("signal")
    if isinstance(signal, int):
        return 128 + signal
    return code if isinstance(code, int) else None


def _exit_text(fields: Mapping[str, Any]) -> str:
    code, signal = fields.get("code"), fields.get("signal")
    if isinstance(signal, int):
        return f"ended (signal {signal})"
    return (
        f"ended (exited {code})" if isinstance(code, int) else f"ended ({fields.get('reason') or 'unknown'})"
    )
