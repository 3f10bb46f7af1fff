"""What a child has of whoever asked for it besides environment and folder: the umask and the resource limits.

A process has these of its parent, and that is a daemon, or a keeper, which a service manager may have started with
quite other ones than its user's login has. A shell that somebody asks for should be as if it had been started there.
"""

from __future__ import annotations

import contextlib
import os
import resource

from toowld.classes import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: These the program, or the kernel at the exec, looks at before it has done anything. The others begin to count
#: later, and must not even for a moment be our own: of CPU time or memory we may have used more than they allow.
_AT_ONCE = {
    "core": resource.RLIMIT_CORE,
    "nofile": resource.RLIMIT_NOFILE,
    "stack": resource.RLIMIT_STACK,
}

#: While fewer descriptors than this would be left to us, the limit of open files is not lent: threads of ours may
#: open something just then.
_SPARE = 64

_UNLIMITED = resource.RLIM_INFINITY


@frozen
class Inheritance:
    """What one child is given; what is not in here it has of us.

    Attributes:
        umask: file mode creation mask.
        limits: (soft, hard) by name, as in ``RLIMIT_NOFILE`` without its beginning and in lower case; -1: none.
            Those that we may not give are given as far as we may; names that this kernel lacks are ignored.
    """

    umask: int | None = None
    limits: Mapping[str, tuple[int, int]] = field(factory=dict)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Have ourselves, while the child is started, what it should have from its first moment."""
        before = {}
        for name, which in _AT_ONCE.items():
            if name in self.limits:
                own = resource.getrlimit(which)
                soft = _lower(self.limits[name][0], own[1])
                if name == "nofile" and soft < len(os.listdir("/proc/self/fd")) + _SPARE:
                    continue
                before[which] = own
                resource.setrlimit(which, (soft, own[1]))
        umask = None if self.umask is None else os.umask(self.umask)
        try:
            yield
        finally:
            if umask is not None:
                os.umask(umask)
            for which, own in before.items():
                resource.setrlimit(which, own)

    def give(self, pid: int) -> None:
        """Give a child that has just been started the rest."""
        for name, wanted in self.limits.items():
            if (which := _number(name)) is None or name == "stack":
                # It has the soft one. We go on a moment before the exec is over, and at its end the kernel puts back
                # what both were when it began (finalize_exec): here the hard one would be given to be lost.
                continue
            # Gone already, or set-uid: then it keeps what it was started with.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                present = resource.prlimit(pid, which)
                if wanted == present:
                    continue
                try:
                    resource.prlimit(pid, which, wanted)
                except (ValueError, PermissionError):  # only root may give more than we have
                    hard = _lower(wanted[1], present[1])
                    resource.prlimit(pid, which, (_lower(wanted[0], hard), hard))


NOTHING_GIVEN = Inheritance()


def _number(name: str) -> int | None:
    number: int | None = getattr(resource, f"RLIMIT_{name.upper()}", None)
    return number


def _lower(one: int, other: int) -> int:
    if one == _UNLIMITED or other == _UNLIMITED:
        return max(one, other)  # the one that is a limit, if one is
    return min(one, other)
