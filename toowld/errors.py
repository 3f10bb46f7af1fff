"""Every error that toowl raises on purpose.

::

    ToowlError
    ├── ProtocolError
    │   ├── LocalProtocolError    we tried to send something illegal: our bug
    │   └── RemoteProtocolError   the peer sent something illegal: drop that peer
    │       └── VersionMismatch   it speaks no version that we speak
    ├── SessionError
    │   ├── SessionNotFound
    │   ├── SessionAmbiguous      an id prefix that fits several sessions
    │   ├── SessionExists
    │   └── AttachRefused
    ├── RefusedError              busy, not permitted, not in this state
    ├── CustodianError
    │   ├── CustodianLost         the process is gone
    │   ├── CustodianUnreachable  it is there, but does not answer
    │   ├── SpawnFailed           the child could not be started
    │   └── UpgradeFailed         its code could not be replaced: what ran before runs on
    ├── ScreenError               what a session shows can't be told
    │   └── ScreenUnavailable     there is no terminal emulator to tell it
    ├── DaemonUnreachable
    ├── ConfigError
    └── UsageError

``code`` travels in `wire.Failure` and never changes its meaning; ``exit_status`` is what the CLI
exits with. Messages are one line and say what failed, which session, and the next step.
"""

from __future__ import annotations


class ToowlError(Exception):
    """Base of all errors that are shown to a user as one line."""

    code = "error"
    exit_status = 1


class ProtocolError(ToowlError):
    """The rules of the wire were broken."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """We tried to send something that the wire does not allow. Always a bug here."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the wire does not allow."""


class VersionMismatch(RemoteProtocolError):
    """The peer speaks no version of the protocol that we speak."""


class SessionError(ToowlError):
    """Something about one session."""

    code = "session"


class SessionNotFound(SessionError):
    """No session has that id, id prefix or name."""

    code = "not-found"
    exit_status = 3


class SessionAmbiguous(SessionError):
    """More than one session has that id prefix."""

    code = "ambiguous"
    exit_status = 3


class SessionExists(SessionError):
    """The id is taken."""

    code = "exists"
    exit_status = 4


class AttachRefused(SessionError):
    """The session can't be attached in its present state."""

    code = "attach-refused"
    exit_status = 4


class RefusedError(ToowlError):
    """The request is understood and not carried out: busy, or not permitted."""

    code = "refused"
    exit_status = 4


class CustodianError(ToowlError):
    """Something about the process that keeps a session."""

    code = "custodian"


class CustodianLost(CustodianError):
    """The custodian is gone, and the session's processes with it."""

    code = "custodian-lost"


class CustodianUnreachable(CustodianError):
    """The custodian lives but does not answer in time."""

    code = "unreachable"
    exit_status = 4


class SpawnFailed(CustodianError):
    """The child could not be started: missing program, missing folder, no free PTY."""

    code = "spawn-failed"


class UpgradeFailed(CustodianError):
    """The code of a custodian could not be replaced; what ran before runs on."""

    code = "upgrade-failed"


class ScreenError(ToowlError):
    """What a session shows can't be told: not now, or not for this output."""

    code = "screen"


class ScreenUnavailable(ScreenError):
    """There is no terminal emulator to tell what a session shows."""

    code = "no-screen"


class DaemonUnreachable(ToowlError):
    """No daemon answers on the socket."""

    code = "daemon-unreachable"
    exit_status = 5


class ConfigError(ToowlError):
    """A setting is unknown or has a bad value."""

    code = "config"


class UsageError(ToowlError):
    """The command line is wrong."""

    code = "usage"
    exit_status = 2


def _all_subclasses(cls: type[ToowlError]) -> list[type[ToowlError]]:
    return [cls, *(deep for sub in cls.__subclasses__() for deep in _all_subclasses(sub))]


def from_wire(code: str, text: str) -> ToowlError:
    """Rebuild the error that a peer sent; an unknown code becomes a plain `ToowlError`.

    A protocol error that the *peer* reports is about what *we* sent.
    """
    if code == ProtocolError.code:
        return LocalProtocolError(text)
    for cls in _all_subclasses(ToowlError):
        if cls.code == code:
            return cls(text)
    return ToowlError(text)
