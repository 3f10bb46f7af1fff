"""A session on this terminal: ``attach`` takes over a connection and returns the exit status.

Owns the order of the beginning: the session is entered, the terminal made raw, the picture put on it; and only then,
while the user already looks at it, all that is loaded which moves bytes, keys and modes (`toowl.loop`). Until that
runs, signals are noted, and what is typed waits in the terminal.
"""

from __future__ import annotations

from toowl.entering import complete, enter
from toowl.terminal import RawTerminal, require_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from toowl import picture
    from toowl.connection import Dialler
    from toowl.entering import Entered
    from toowld.client import Client

#: The picture goes before the rest of us for so long (seconds); a slow terminal gets what is left in its time.
_GLANCE = 0.05
#: If the rest can't be loaded, because the package was replaced just now: what `toowl.modes` would do, as far as that
#: can be told without it. The screen; what makes the terminal send bytes by itself; all that a soft reset resets.
_PLAIN = (
    b"\x18\x1b\\\x1b[?1049l\x1b[?2026;1003;1002;1000;9;1016;1015;1006;1005;1004l"
    b"\x1b[?2048;2031;9001;2004;45;1045;67;1039;2027;2033;5522l\x1b[!p\x1b[m\x1b[?66;5;1l\x1b>\x1b[?7;25h\r\n"
)


def attach(
    client: Client,
    params: Mapping[str, Any],
    dialler: Callable[[], Dialler] | None = None,
    ordered: picture.Order | None = None,
) -> int:
    """Attach this terminal to ``params["session"]`` and stay until one side ends it.

    Takes ``client`` over; it is closed afterwards. What ``params`` lacks of the request is filled in. Ends by
    telling the user how it ended, on the terminal. With ``dialler`` a connection that breaks is made anew, for as
    long as it takes.

    Args:
        dialler: called once, when the rest is loaded.
        ordered: the picture to begin with, without which the session is replayed as it was printed.

    Returns:
        The exit status: that of the child (128+n for a signal n), 0 after a detach, 128+n if signal n ended us.

    Raises:
        ToowlError: the session can't be attached, or is lost. The terminal is restored.
    """
    with client:
        require_terminal()
        first = enter(client, complete(params), ordered)
        with RawTerminal() as terminal:
            painted = terminal.write_all(first.picture.data, timeout=_GLANCE) if first.picture else 0
            try:
                from toowl.loop import Loop
            except BaseException:
                if painted:
                    terminal.write_all(_PLAIN, timeout=_GLANCE)
                raise
            dial = None if dialler is None else dialler()
            entered: Entered | None = first
            while entered is not None:  # that is, for as long as there is another session to go on with
                loop = Loop(entered, terminal, painted, dial)
                outcome = loop.run()
                entered, painted = loop.following, 0
    if outcome.error is not None:
        raise outcome.error
    return outcome.status
