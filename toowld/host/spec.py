"""How a hosted session begins: what the daemon decides, and a custodian (or the daemon itself) carries out."""

from __future__ import annotations

from toowld.classes import frozen
from toowld.errors import RemoteProtocolError, SpawnFailed
from toowld.host.driver import SessionHost
from toowld.host.inheritance import Inheritance
from toowld.host.loop import Loop
from toowld.host.params import Params
from toowld.host.pty import check_start
from toowld.log import LogWriter
from toowld.session import Record, Session
from toowld.wire.text import pack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


@frozen
class Spec:
    """One start of a session's child.

    Attributes:
        record: what is known of the session; a custodian keeps it, so that the daemon's copy may be lost.
        folder: of the session's log.
        argv: program and arguments, never empty.
        argv0: what the child sees as its own name, if not the program.
        env: all of the child's environment.
        kind: the mark in the log: "start", or "respawn" where an older child ended.
        banner: put into the output before the child starts.
        following: the path of what its shells follow, without what is behind the id (`toowld.host.following`).
    """

    record: Record
    folder: str
    argv: tuple[str, ...]
    argv0: str | None
    env: Mapping[str, str]
    kind: str = "start"
    banner: bytes = b""
    following: str | None = None

    def to_params(self) -> dict[str, Any]:
        """For the request ``start``."""
        params: dict[str, Any] = pack_text(
            {
                "record": self.record.to_map(),
                "folder": self.folder,
                "argv": self.argv,
                "argv0": self.argv0,
                "env": dict(self.env),
                "kind": self.kind,
                "following": self.following,
            }
        )
        return params | {"banner": self.banner}

    @classmethod
    def from_params(cls, values: Mapping[str, Any]) -> Spec:
        """Read the request ``start``.

        Raises:
            RemoteProtocolError, BadRecord: something is missing or of a wrong type.
        """
        params = Params("start", values)
        argv = params.texts_or_none("argv")
        if not argv:
            raise RemoteProtocolError("start: 'argv' must not be empty")
        return cls(
            record=Record.from_packed(params.mapping("record")),
            folder=params.text("folder"),
            argv=argv,
            argv0=params.text_or_none("argv0"),
            env=params.environment("env"),
            kind=params.text("kind", "start"),
            banner=params.data("banner", b""),
            following=params.text_or_none("following"),
        )


def open_host(
    loop: Loop,
    spec: Spec,
    *,
    on_changed: Callable[[], None],
    on_finished: Callable[[], None],
    call_when_still: Callable[[Callable[[], object]], None] | None = None,
) -> SessionHost:
    """Open the log and make a host, without starting the child yet (`start_child`).

    Raises:
        SpawnFailed: the log can't be opened, or the child certainly not be started; nothing is left behind.
    """
    record = spec.record
    check_start(spec.argv, record.cwd, spec.env)
    try:
        log = LogWriter(
            spec.folder,
            record.id,
            limit=record.scrollback_bytes,
            size=record.size,
            seq=record.next_seq,
        )
    except OSError as error:
        raise SpawnFailed(
            f"can't open the log of session {record.label}: {error.strerror}: {spec.folder}: see `toowld doctor`"
        ) from error
    session = Session(seq=log.end, size=record.size, policy=record.size_policy)
    # child_seq: what a client typed for an earlier child is not for this one.
    session.about = {
        "id": record.id,
        "name": record.name,
        "persistent": record.persistent,
        "child_seq": log.end,
        "lend": pack_text(spec.folder),  # a terminal; what happens to it meanwhile is to be read there
    }
    host = SessionHost(
        loop,
        session,
        log,
        on_changed=on_changed,
        on_finished=on_finished,
        call_when_still=call_when_still,
    )
    if spec.following is not None:
        host.follow(spec.following, record.env.get("SSH_AUTH_SOCK"))
    return host


def start_child(host: SessionHost, spec: Spec, limits: Mapping[str, tuple[int, int]] | None = None) -> None:
    """Start the child.

    Args:
        limits: those that it has where the record does not say, if they are not to be ours.

    Raises:
        SpawnFailed: it can't be; the host is finished.
    """
    if spec.banner:
        host.print(spec.banner)
    record = spec.record
    host.start(
        spec.argv,
        cwd=record.cwd,
        env=spec.env,
        argv0=spec.argv0,
        inheritance=Inheritance(record.umask, {**(limits or {}), **record.limits}),
        kind=spec.kind,
    )
