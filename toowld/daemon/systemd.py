"""What the daemon says to systemd, and the scope that it asks of it for each custodian.

Owns the notify protocol (`Notifier`, on the package sdnotify) and the D-Bus calls (`Scopes`, on jeepney).
Knows no session, only ids and pids. Nothing here may hold a session up: a manager that is absent, slow or
says no costs at most `SCOPE_TIMEOUT` and leaves a sentence in `Scopes.reason`.

Why scopes: a custodian that stays in the daemon's service lives only as long as ``KillMode=process`` spares
it, and shares the service's memory limit. In a scope of its own it survives even
``KillMode=control-group``, and whoever stops, restarts or kills the service never reaches it.

Which manager may hold the scope is decided by who outlives whom:

- root asks the system manager, which goes only with the machine;
- anyone else may only ask their own manager, which ends at logout *and ends what is in its scopes*. So it is
  asked only if it lingers, or if the daemon is below it anyway. A daemon that is neither, such as a system
  unit with ``User=`` or a login without linger, keeps its custodians where they are: there a logout does not
  reach them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toowld.classes import fields, frozen

if TYPE_CHECKING:
    from jeepney import Message
    from jeepney.io.asyncio import DBusConnection

_log = logging.getLogger(__name__)

#: What systemd sets for its direct child only (sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)).
_FOR_US_ALONE = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)

#: PID 1 drains its notify socket at once; if it is stuck, going on matters more than telling it.
_NOTIFY_TIMEOUT = 1.0

#: A new session waits for its scope, so a manager that does not answer may cost this much and no more.
SCOPE_TIMEOUT = 1.0

#: An interactive bash ignores SIGTERM; SendSIGHUP ends it, and what ignores both must not hold up a shutdown
#: for systemd's usual 90 s.
_SCOPE_STOP_USEC = 10_000_000

_MANAGER = "org.freedesktop.systemd1"
_BUS_ERROR = "org.freedesktop.DBus.Error."


class Notifier:
    """The daemon's side of ``Type=notify`` and ``WatchdogSec=``. Does nothing outside systemd.

    Takes its variables out of the environment, so that no process below inherits them.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        found = {name: environ.pop(name) for name in _FOR_US_ALONE if name in environ}
        address = found.get("NOTIFY_SOCKET")
        #: None when systemd expects no sign of life from us.
        self.watchdog_usec = _watchdog_usec(found)
        self._notifier = _connect_notifier(address) if address else None

    @property
    def connected(self) -> bool:
        """Whether a service manager listens to us."""
        return self._notifier is not None

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two `watchdog` calls: half of what systemd allows, as sd_watchdog_enabled(3) asks."""
        return None if self.watchdog_usec is None else self.watchdog_usec / 2e6

    def ready(self, status: str) -> None:
        """All sessions are adopted and clients may come."""
        self._notify(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._notify(f"STATUS={_one_line(text)}")

    def stopping(self) -> None:
        """The end has begun, on purpose."""
        self._notify("STOPPING=1\nSTATUS=stopping")

    def watchdog(self) -> None:
        """We are alive. Call from the event loop itself, so that a stuck loop is found out."""
        self._notify("WATCHDOG=1")

    def close(self) -> None:
        """Let go of the socket; later calls do nothing."""
        if self._notifier is not None:
            self._notifier.socket.close()
            self._notifier = None

    def _notify(self, state: str) -> None:
        if self._notifier is None:
            return
        try:
            self._notifier.notify(state)
        except OSError as error:
            _log.warning("can't tell systemd %s: %s", state.split("\n")[0], error)


def _connect_notifier(address: str) -> Any:
    if address.startswith("/") and not Path(address).is_socket():
        _log.warning("the notify socket %s is not there", address)  # sdnotify would leak its own socket
        return None
    # sdnotify reads the variable itself, and hides every error unless asked not to.
    import sdnotify

    os.environ["NOTIFY_SOCKET"] = address
    try:
        notifier = sdnotify.SystemdNotifier(debug=True)
    except OSError as error:
        _log.warning("can't reach the notify socket %s: %s", address, error)
        return None
    finally:
        del os.environ["NOTIFY_SOCKET"]
    notifier.socket.settimeout(_NOTIFY_TIMEOUT)
    return notifier


def _watchdog_usec(found: dict[str, str]) -> int | None:
    if found.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for another process (sd_watchdog_enabled(3))
    try:
        return int(found["WATCHDOG_USEC"]) or None
    except (KeyError, ValueError):
        return None


def _one_line(text: str) -> str:
    # A newline would begin another assignment. sdnotify encodes as Latin-1 and systemd drops what is not
    # UTF-8, so only ASCII arrives.
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()


@frozen
class Limits:
    """What one session may use at most (systemd.resource-control(5)); None is no limit of its own."""

    memory_max: int | None = None  #: bytes
    cpu_quota_per_sec_usec: int | None = None  #: 1_000_000 is one whole CPU
    tasks_max: int | None = None  #: processes and threads

    def properties(self) -> Iterator[tuple[str, tuple[str, int]]]:
        names = ("MemoryMax", "CPUQuotaPerSecUSec", "TasksMax")
        for name, field in zip(names, fields(self), strict=True):
            if (value := getattr(self, field.name)) is not None:
                yield name, ("t", value)


class ScopeError(Exception):
    """The manager did not make the scope. Never leaves this module."""


class Scopes:
    """Moves custodians into transient scopes of the manager that outlives the daemon."""

    def __init__(self, *, timeout: float = SCOPE_TIMEOUT) -> None:
        self._timeout = timeout
        self._oom_policy = True
        self.manager: Literal["system", "user", "none"]
        #: Why there are no scopes, None while there are.
        self.reason: str | None
        self.manager, self.reason = choose_manager()

    def obstacle(self) -> str | None:
        """Why there can't be a scope, as far as that is known without asking for one."""
        return choose_manager()[1]

    async def create(
        self, session_id: str, pid: int, *, description: str, limits: Limits | None = None
    ) -> str | None:
        """Move ``pid`` into the scope of its session, and return the scope's name.

        None, with `reason` set, when that can't be had: the custodian then stays where it is. Takes at most a
        second and never raises.
        """
        # Asked anew each time: linger may have been turned on since.
        self.manager, self.reason = choose_manager()
        if self.manager == "none":
            return None
        try:
            async with asyncio.timeout(self._timeout):
                return await self._create(session_id, pid, description, limits or Limits())
        except TimeoutError:
            self.reason = f"the {self.manager} manager did not answer within {self._timeout:g} s"
        except Exception as error:  # noqa: BLE001 - whatever a bus may send: the session starts all the same
            self.reason = f"the {self.manager} manager made no scope: {error}"
        self.manager = "none"
        _log.warning("session %s has no scope of its own: %s", session_id, self.reason)
        return None

    async def _create(self, session_id: str, pid: int, description: str, limits: Limits) -> str:
        async with _manager(_sockets(self.manager)) as manager:
            # The plain name is taken while a program that an earlier child left behind still runs there.
            for name in (f"toowl-{session_id}.scope", f"toowl-{session_id}-{pid}.scope"):
                try:
                    await self._start(manager, name, pid, description, limits)
                except ScopeError as error:
                    if str(error) != "UnitExists":
                        raise
                else:
                    return name
        raise ScopeError(f"every name for {session_id} is taken")

    async def _start(self, manager: _Manager, name: str, pid: int, description: str, limits: Limits) -> None:
        properties: dict[str, tuple[str, Any]] = {
            "Description": ("s", "".join(c if c.isprintable() else " " for c in description)),
            "PIDs": ("au", [pid]),
            # Forget the scope when its last process ends, also after a failure: the name is needed again.
            "CollectMode": ("s", "inactive-or-failed"),
            "SendSIGHUP": ("b", True),  # see _SCOPE_STOP_USEC
            "TimeoutStopUSec": ("t", _SCOPE_STOP_USEC),
            **dict(limits.properties()),
        }
        if self._oom_policy:
            # One program of the session that eats the memory must not take the shell with it.
            properties["OOMPolicy"] = ("s", "continue")
        try:
            await manager.start_scope(name, list(properties.items()))
        except ScopeError as error:
            # Scopes know OOMPolicy since systemd 253, and in Debian's 252.
            if not self._oom_policy or "OOMPolicy" not in str(error):
                raise
            self._oom_policy = False
            await self._start(manager, name, pid, description, limits)


def choose_manager(root: Path = Path("/")) -> tuple[Literal["system", "user", "none"], str | None]:
    """Which manager may hold scopes for us, and why none if none. ``root`` is for tests."""
    if os.environ.get("TOOWLD_SCOPES", "1") == "0":
        return "none", "turned off by TOOWLD_SCOPES=0"
    if not (root / "run/systemd/system").is_dir():  # sd_booted(3)
        return "none", "systemd does not run this machine"
    uid = os.getuid()
    if uid == 0:
        return "system", None
    if f"/user@{uid}.service/" in _read(root / "proc/self/cgroup") or lingers(uid, root):
        return "user", None
    return "none", "your systemd manager ends at logout: turn that off with `loginctl enable-linger`"


def lingers(uid: int, root: Path = Path("/")) -> bool:
    """Whether a user's manager runs from boot to shutdown, logged in or not."""
    try:
        return (root / "var/lib/systemd/linger" / pwd.getpwuid(uid).pw_name).exists()
    except KeyError:  # a uid without a name has no manager
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _sockets(manager: str) -> list[tuple[str, bool]]:
    """Where a manager can be asked, best first; and whether that is a bus or the manager's own socket.

    The latter is what systemctl(1) falls back to where no D-Bus daemon runs.
    """
    if manager == "system":
        return [("/run/dbus/system_bus_socket", True), ("/run/systemd/private", False)]
    # A system unit with User= has no XDG_RUNTIME_DIR. DBUS_SESSION_BUS_ADDRESS is not looked at: it may
    # name a desktop's bus that has no systemd on it.
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return [(f"{folder}/bus", True), (f"{folder}/systemd/private", False)]


class _Manager:
    """One D-Bus connection to a systemd manager. Calls come one at a time, so it needs no second task."""

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self._removed: dict[str, str] = {}  # job → its result

    async def join_bus(self) -> None:
        """Say hello to the bus and ask it for the end of jobs. The manager's own socket needs neither."""
        from jeepney import MatchRule
        from jeepney.bus_messages import message_bus

        await self._call(message_bus.Hello())
        rule = MatchRule(type="signal", sender=_MANAGER, member="JobRemoved")
        await self._call(message_bus.AddMatch(rule))

    async def start_scope(self, name: str, properties: list[tuple[str, tuple[str, Any]]]) -> None:
        """Make the scope and wait until its processes are in it.

        Raises:
            ScopeError: the manager's words; ``UnitExists`` when the name is taken.
        """
        from jeepney import DBusAddress, new_method_call

        address = DBusAddress("/org/freedesktop/systemd1", _MANAGER, f"{_MANAGER}.Manager")
        arguments: tuple[Any, ...] = (name, "fail", properties, [])
        (job,) = await self._call(
            new_method_call(address, "StartTransientUnit", "ssa(sv)a(sa(sv))", arguments)
        )
        while job not in self._removed:
            self._note(await self._connection.receive())
        if (result := self._removed[job]) != "done":
            raise ScopeError(f"{name}: the job ended as {result!r}")

    async def _call(self, message: Message) -> tuple[Any, ...]:
        from jeepney import DBusErrorResponse, HeaderFields
        from jeepney.wrappers import unwrap_msg

        serial = next(self._connection.outgoing_serial)
        await self._connection.send(message, serial=serial)
        while True:
            reply = await self._connection.receive()
            if reply.header.fields.get(HeaderFields.reply_serial) == serial:
                break
            self._note(reply)  # a job may end before the call that made it returns
        try:
            body: tuple[Any, ...] = unwrap_msg(reply)
        except DBusErrorResponse as error:
            if error.name == f"{_MANAGER}.UnitExists":
                raise ScopeError("UnitExists") from error
            text = " ".join(str(part) for part in error.data or ()) or error.name
            raise ScopeError(text.removeprefix(_BUS_ERROR)) from error
        return body

    def _note(self, message: Message) -> None:
        from jeepney import HeaderFields

        if message.header.fields.get(HeaderFields.member) == "JobRemoved":
            _id, job, _unit, result = message.body
            self._removed[job] = result


@contextlib.asynccontextmanager
async def _manager(sockets: list[tuple[str, bool]]) -> AsyncIterator[_Manager]:
    """Connect to the first socket that there is; hang up at the end, whatever happens."""
    from jeepney.auth import BEGIN, Authenticator
    from jeepney.io.asyncio import DBusConnection

    errors = []
    for path, is_bus in sockets:
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            errors.append(f"{path}: {error.strerror or error}")
            continue
        try:
            authenticator = Authenticator()
            for data in authenticator:
                writer.write(data)
                answer = await reader.read(1024)
                if not answer:
                    raise ScopeError(f"{path} refused us")
                authenticator.feed(answer)
            writer.write(BEGIN)
            manager = _Manager(DBusConnection(reader, writer))
            if is_bus:
                await manager.join_bus()
            yield manager
        finally:
            writer.transport.abort()  # nothing is left to send
        return
    raise ScopeError("; ".join(errors))
