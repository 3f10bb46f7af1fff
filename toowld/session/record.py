"""What is stored about a session, as one CBOR map. PURE.

The record is the daemon's memory of a session; the live custodian is the truth, and the log says how the child
ended. So a record may be old, or gone, and nothing is lost but a name.
"""

from __future__ import annotations

import enum
import re

from toowld import cbor
from toowld.classes import field, fields, frozen, replace
from toowld.errors import ToowlError
from toowld.session.sizes import SizePolicy, size_policy
from toowld.wire import DEFAULT_SIZE, Size
from toowld.wire.text import pack_text, unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Form of the map. Readers take any form and ignore keys that they don't know.
FORM = 1

#: So begins the error of a record whose state is of a future version, or damaged.
UNKNOWN_STATE = "unknown state"

_ID = re.compile(r"[0-9a-f]{8}")


class BadRecord(ToowlError):
    """The bytes are no record."""

    code = "bad-record"


class State(enum.Enum):
    """The states that are stored and listed; the engine's, and one for a custodian that does not answer."""

    AWAITING = "awaiting"
    STARTING = "starting"
    RUNNING = "running"
    UNREACHABLE = "unreachable"
    ENDED = "ended"


@frozen
class Record:
    """One session. Times are seconds since the epoch; a process is only ever named with its start time, which
    is in seconds since boot."""

    id: str
    name: str | None = None
    tags: Mapping[str, str] = field(factory=dict)
    persistent: bool = False
    argv: tuple[str, ...] | None = None  # None: the login shell
    cwd: str = "/"
    cwd_at: float = 0.0  # when that folder was seen
    env: Mapping[str, str] = field(factory=dict)
    umask: int | None = None  # of the child; None: as the daemon has it
    limits: Mapping[str, tuple[int, int]] = field(factory=dict)  # of the child: (soft, hard), -1 is none
    on_restore: str | None = None  # a command line for the user's shell, offered after the session was lost
    rows: int = DEFAULT_SIZE.rows
    cols: int = DEFAULT_SIZE.cols
    size_policy: SizePolicy = SizePolicy.SMALLEST
    scrollback_bytes: int = 64 << 20
    confined: Mapping[str, Any] = field(factory=dict)  # which limits its scope has, by their settings
    connection: str | None = None  # over which it was made, "user@host"; None: here
    settings: Mapping[str, Any] = field(
        factory=dict
    )  # what was said for this session itself (`toowld.settings`)
    idle_left: float | None = None  # seconds of its idle_timeout that remain; None: no countdown was running
    ttl_left: float | None = None  # the same of its ttl
    created_at: float = 0.0
    last_active_at: float = 0.0
    state: State = State.AWAITING
    end_reason: str | None = None  # "exited", "lost", "failed"
    exit_code: int | None = None
    exit_signal: int | None = None
    end_requested: bool = False  # somebody asked toowl to end it
    end_cause: str | None = None  # why toowld ended it by itself, in words
    ended_at: float | None = None
    error: str | None = None
    pid: int | None = None
    pid_started: float | None = None
    custodian_pid: int | None = None
    custodian_started: float | None = None
    boot: str | None = None  # the boot id under which those processes were started
    next_seq: int = 0  # output that comes next has this seq or a later one
    version: int = 0  # grows with every change, so that a late reader can tell old news

    @property
    def size(self) -> Size:
        return Size(rows=self.rows, cols=self.cols)

    @property
    def restorable(self) -> bool:
        """Whether it was lost, so that there is something to bring back.

        Of SIGHUP or SIGTERM that nobody asked toowl for, too: at a shutdown a child may be quicker than its keeper.
        """
        if self.state is not State.ENDED:
            return False
        return self.end_reason == "lost" or (
            self.end_reason == "exited" and not self.end_requested and self.exit_signal in _SHUTDOWN_SIGNALS
        )

    @property
    def ended_as_wanted(self) -> bool:
        """Whether its child ended of its own accord, or because somebody asked toowl for it.

        A signal from elsewhere may be a shutdown's, or the kernel's for want of memory: that is nobody's wish.
        """
        if self.state is not State.ENDED or self.end_reason != "exited":
            return False
        return self.exit_signal is None or self.end_requested

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.id

    def changed(self, **changes: Any) -> Record:
        """A copy with changes, and the next version."""
        return replace(self, version=self.version + 1, **changes)

    def to_map(self) -> dict[str, Any]:
        """As a map of plain values; `toowld.wire.text.pack_text` makes it fit for the wire and the disk."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values["state"] = self.state.value
        values["size_policy"] = self.size_policy.value
        values["argv"] = None if self.argv is None else list(self.argv)
        values["env"] = dict(self.env)
        values["tags"] = dict(self.tags)
        values["settings"] = dict(self.settings)
        values["confined"] = dict(self.confined)
        values["limits"] = {name: list(pair) for name, pair in self.limits.items()}
        return values

    @classmethod
    def from_map(cls, values: Mapping[str, Any]) -> Record:
        """Rebuild a record; unknown keys are ignored and missing ones filled in.

        An unknown state, from a future version or a damaged disk, is read as ended (lost).

        Raises:
            BadRecord: no id, or a value of a wrong type.
        """
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        if not (isinstance(known.get("id"), str) and _ID.fullmatch(known["id"])):
            raise BadRecord("the record has no session id")
        try:
            known["state"] = State(known.get("state"))
        except ValueError:
            known |= {
                "state": State.ENDED,
                "end_reason": "lost",
                "error": f"{UNKNOWN_STATE} {known.get('state')!r}",
            }
        known["size_policy"] = size_policy(known.get("size_policy"))
        if isinstance(known.get("argv"), list):
            known["argv"] = tuple(known["argv"])
        if isinstance(known.get("limits"), dict):
            known["limits"] = {
                name: tuple(pair) if isinstance(pair, list) else pair
                for name, pair in known["limits"].items()
            }
        record = cls(**known)
        _check_types(record)
        return record

    @classmethod
    def from_packed(cls, values: Mapping[str, Any]) -> Record:
        """`from_map` for what came over the wire or from the disk."""
        return cls.from_map(unpack_text(dict(values)))


#: What systemd sends to all processes of a scope that it stops.
_SHUTDOWN_SIGNALS = (1, 15)

_NUMBER = (int, float)
_SCALAR = (bool, int, float, str)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "name": (str, type(None)), "tags": (dict,), "persistent": (bool,), "argv": (tuple, type(None)), "cwd": (str,),
    "env": (dict,), "settings": (dict,), "confined": (dict,), "connection": (str, type(None)),
    "idle_left": (*_NUMBER, type(None)), "ttl_left": (*_NUMBER, type(None)), "end_cause": (str, type(None)),
    "umask": (int, type(None)), "limits": (dict,), "cwd_at": _NUMBER, "on_restore": (str, type(None)),
    "rows": (int,), "cols": (int,), "scrollback_bytes": (int,), "created_at": _NUMBER, "last_active_at": _NUMBER,
    "end_requested": (bool,),
    "end_reason": (str, type(None)), "exit_code": (int, type(None)), "exit_signal": (int, type(None)),
    "ended_at": (*_NUMBER, type(None)), "error": (str, type(None)), "pid": (int, type(None)),
    "pid_started": (*_NUMBER, type(None)), "custodian_pid": (int, type(None)),
    "custodian_started": (*_NUMBER, type(None)), "boot": (str, type(None)),
    "next_seq": (int,), "version": (int,),
}  # fmt: skip


def _check_types(record: Record) -> None:
    for name, allowed in _TYPES.items():
        if not isinstance(getattr(record, name), allowed):
            raise BadRecord(f"the record's {name} has a wrong type")
    texts = [*(record.argv or ()), *record.env, *record.env.values(), *record.tags, *record.tags.values()]
    if not all(isinstance(text, str) for text in texts):
        raise BadRecord("the record's argv, env or tags hold something that is no text")
    said = [*record.settings.items(), *record.confined.items()]
    if not all(isinstance(key, str) and isinstance(value, _SCALAR) for key, value in said):
        raise BadRecord("the record's settings hold something that is none")
    if not all(_is_limit(name, pair) for name, pair in record.limits.items()):
        raise BadRecord("the record's limits hold something that is none")
    if record.umask is not None and not 0 <= record.umask <= 0o777:
        raise BadRecord("the record's umask is impossible")
    if not 0 <= record.next_seq < 1 << 63:
        raise BadRecord("the record's next_seq is impossible")
    try:
        _ = record.size
    except ValueError as error:
        raise BadRecord(f"the record's size is impossible: {error}") from error


def _is_limit(name: object, pair: object) -> bool:
    """Whether that can be given to a process: -1 is no limit at all."""
    return (
        isinstance(name, str)
        and isinstance(pair, tuple)
        and len(pair) == 2
        and all(type(value) is int and -1 <= value < 1 << 63 for value in pair)
    )


def encode(record: Record) -> bytes:
    """The bytes that are stored. Environment and arguments that are not UTF-8 keep their bytes."""
    data: bytes = cbor.dumps({"form": FORM, **pack_text(record.to_map())})
    return data


def decode(data: bytes) -> Record:
    """Read stored bytes.

    Raises:
        BadRecord: they are damaged, or no record.
    """
    try:
        values = cbor.loads(data, max_depth=8, allow_indefinite=False)
    except Exception as error:  # damaged bytes reach any of cbor2's tag decoders
        raise BadRecord(f"the record is damaged: {error}") from error
    if not isinstance(values, dict):
        raise BadRecord("the record is not a map")
    return Record.from_packed(values)
