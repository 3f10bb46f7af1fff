"""What the shells of a session follow: the agent and the environment of the terminal that was attached last.

A shell gets its environment when it is started, and then has it for years: a ``DISPLAY`` of a login that is long
over, an ``SSH_AUTH_SOCK`` that nobody listens on. So a session has two files of its own, for as long as it is there,
beside each other in ``following`` in the runtime folder:

- ``ID.agent``, a symlink to the socket of somebody's ssh-agent(1), which is the session's SSH_AUTH_SOCK. A symlink
  costs nobody a wake-up, and ssh finds out at once when nobody is behind it.
- ``ID.env``, read by the shell's integration before a prompt (``toowl/shells``): a line that is another one each
  time, then for each variable ``NAME=value``, or ``NAME`` if the terminal has none. No value has a newline.

Both are replaced as a whole (rename(2)). They follow the one who may type and attached last; when he leaves, the one
before him. When nobody is left, the files stay, but not an agent that does not answer any more.

What is in there may be secret: it is for the user alone (0600, in a folder 0700), and goes into no log.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from toowld.classes import frozen
from toowld.errors import ToowlError
from toowld.paths import AGENT, ENVIRONMENT, EXEC_LOCK, answers, leads_to_socket_of_ours, secure_folder
from toowld.wire.text import pack_text, unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from typing import Any

#: More is not kept of a client: as much as somebody may sensibly want, and little for a custodian.
MAX_VARIABLES = 64
MAX_VALUE = 4096

#: The kernel follows as many links, and then says ELOOP (path_resolution(7)).
_MAX_LINKS = 40


@frozen
class Offer:
    """What a client has that shells may follow.

    Attributes:
        agent: the path of its agent's socket.
        environment: name to value; None: it has none of that name.
    """

    agent: str | None
    environment: Mapping[str, str | None]

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        packed: dict[str, Any] = pack_text({"agent": self.agent, "environment": dict(self.environment)})
        return packed

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Offer:
        """The opposite of `freeze`."""
        values = unpack_text(dict(state))
        return cls(values["agent"], values["environment"])


def offer(agent: str | None, environment: Mapping[str, str | None]) -> Offer:
    """What can be followed of that: a file can't hold all that an environment can."""
    fitting = {
        name: value
        for name, value in environment.items()
        if name.isascii() and name.isidentifier() and _fits(value)
    }
    path = agent if agent is not None and agent.startswith("/") and _fits(agent) else None
    return Offer(path, dict(list(fitting.items())[:MAX_VARIABLES]))


def _fits(value: str | None) -> bool:
    return value is None or (len(value) <= MAX_VALUE and not {"\n", "\0"} & set(value))


class Following:
    """The two files of one session.

    Args:
        base: their path without what is behind the id.
        name: of the session.
    """

    def __init__(self, base: str, name: str | None) -> None:
        self._base = base
        self._name = name
        self._environment: Mapping[str, str | None] | None = None  # None: nobody was attached yet

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        environment = None if self._environment is None else dict(self._environment)
        return {"base": pack_text(self._base), "name": self._name, "environment": pack_text(environment)}

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Following:
        """The opposite of `freeze`. Touches no file."""
        following = cls(unpack_text(state["base"]), state["name"])
        following._environment = unpack_text(state["environment"])
        return following

    def begin(self, agent: str | None) -> None:
        """A child is about to be started; ``agent``: that of whoever wanted it."""
        self._make(lambda: self._link_to([] if agent is None else [agent]))

    def look(self, offers: Iterable[Offer]) -> None:
        """Follow the last of those who are attached. If there is none, all stays as it is, as far as it works."""
        present = list(offers)
        if present:
            self._environment = present[-1].environment
            self._make(self._write_environment)
        agents = [one.agent for one in reversed(present) if one.agent is not None]
        self._make(lambda: self._link_to(agents))

    def rename(self, name: str | None) -> None:
        """The session has another name now; shells show it."""
        self._name = name
        self._make(self._write_environment)

    def _make(self, make: Callable[[], None]) -> None:
        """Write a file. It is made again at the next occasion if that can't be: no session fails for it."""
        with contextlib.suppress(OSError):
            try:
                make()
            except FileNotFoundError:  # the runtime folder is emptied at a logout
                folder = Path(self._base).parent
                with contextlib.suppress(
                    ToowlError
                ):  # it is somebody else's: then there is nothing to follow
                    secure_folder(folder.parent)
                    secure_folder(folder)
                    make()

    def _write_environment(self) -> None:
        environment = {"TOOWL_NAME": self._name, **(self._environment or {})}
        lines = [str(time.time_ns())]
        lines += [name if value is None else f"{name}={value}" for name, value in environment.items()]
        path = self._base + ENVIRONMENT
        fd = os.open(f"{path}~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            file.write(os.fsencode("\n".join(lines) + "\n"))
        os.replace(f"{path}~", path)

    def _link_to(self, agents: Sequence[str]) -> None:
        """Lead to the first of them that is there; to none if the present one is not either."""
        path = self._base + AGENT
        found = next(
            (agent for agent in agents if leads_to_socket_of_ours(agent) and not _leads_to(agent, path)), None
        )
        if found is None:
            if not answers(path):
                with contextlib.suppress(FileNotFoundError):  # there was none
                    os.unlink(path)
            return
        with contextlib.suppress(FileNotFoundError):  # of one who was killed over it
            os.unlink(f"{path}~")
        os.symlink(found, f"{path}~")
        os.replace(f"{path}~", path)


def _leads_to(path: str, end: str) -> bool:
    """Whether following ``path`` comes past ``end``: that is so for whoever attaches from within a session."""
    for _ in range(_MAX_LINKS):
        if path == end:
            return True
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:  # it is no link
            return False
    return True


def forget(base: str) -> None:
    """Remove the files of a session that is no more."""
    for path in (base + AGENT, base + ENVIRONMENT, base + EXEC_LOCK):
        for name in (path, f"{path}~"):
            with contextlib.suppress(OSError):
                os.unlink(name)


def sweep(folder: Path, known: Container[str]) -> None:
    """Remove the files of sessions that are not ``known``: a daemon may have died over it."""
    with contextlib.suppress(OSError):  # there is no such folder yet
        for name in os.listdir(folder):
            if name[:8] not in known:
                with contextlib.suppress(OSError):
                    os.unlink(folder / name)
