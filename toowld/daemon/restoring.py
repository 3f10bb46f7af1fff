"""What a session that was lost begins again with, and the words for how it was lost. PURE.

No process comes back: not after a reboot, not after its custodian was killed. What comes back is the session, with
its name, folder, environment and scrollback, and a fresh shell below that. A command is another matter than a shell.
Run twice, without anybody looking, it may do harm, so where nobody has just asked for it by name it is only offered.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from toowld.session import Record

#: Whatever the last program left switched on must not meet the next shell: alternate screen, mouse, focus and
#: paste reporting off, then a soft reset (DECSTR), then plain colours.
_CLEAN = b"\x1b[?47l\x1b[?9;1000;1002;1003;1004;1005;1006;1015;2004l\x1b[!p\x1b[0m\x1b[?25h\r\n"

REBOOT = "the machine was restarted"
DAEMON_ENDED = "its daemon ended, and a standard session ends with it"
NOT_STARTED = "its daemon ended before its program was started"
TOLD_TO_END = "its custodian was told to end (SIGTERM), as when the machine is shut down"
SIGNALLED = "its custodian{} was killed: by somebody, or by the kernel for want of memory"

#: Shells that read commands from the terminal if they are not told otherwise.
_SHELLS = {
    "ash", "bash", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "oksh", "osh", "pwsh", "rbash", "sh",
    "tcsh", "xonsh", "yash", "zsh",
}  # fmt: skip

#: Environment that can't do what TERM promises; a session made on a better terminal keeps its own.
_NO_TERMINAL = ("", "dumb", "unknown")

# Ctrl-C ends the inner shell, which has the default for it; the outer one has a trap, and goes on.
_OFFER = """trap : INT QUIT
if /bin/sh -c 'printf "press Enter to run: %s\\n(n and Enter, or Ctrl-C: a shell instead) " "$0"
read -r answer && [ -z "$answer" ]' {shown}; then
{run}
else
echo
fi
exec {shell}
"""


def program(record: Record, shell: str, *, asked_for: bool) -> tuple[tuple[str, ...], str | None]:
    """What a session's child is to be: its arguments, and its own name if that is not the program's.

    As long as ``record`` says that the session is lost, commands are offered only: whoever brings back all that was
    lost, or attaches one session of many, need not know what ran there.

    Args:
        shell: the user's.
        asked_for: somebody wants this very program now.
    """
    own, own_name = _own(record, shell)
    is_shell = record.argv is None or _is_shell(own)
    if asked_for or not record.restorable or (is_shell and record.on_restore is None):
        return own, own_name
    # Within the offer there is no way to give a program another name; -l makes a login shell too.
    fresh = own if is_shell and record.argv else (shell, "-l")
    if record.on_restore is None:
        command = shlex.join(own)
        return _offer(command, f"exec {command}", fresh), None
    wanted = shlex.join((shell, "-c", record.on_restore))
    # What stands for a command ends the session as that would have; a session with a shell keeps its shell.
    return _offer(record.on_restore, wanted if is_shell else f"exec {wanted}", fresh), None


def _own(record: Record, shell: str) -> tuple[tuple[str, ...], str | None]:
    if record.argv is None:
        return (shell,), f"-{shell.rpartition('/')[2]}"
    return record.argv, None


def _is_shell(argv: Sequence[str]) -> bool:
    """Whether that is a shell for somebody to type into: with an operand it runs a script, or one command."""
    return argv[0].rpartition("/")[2] in _SHELLS and all(word.startswith("-") for word in argv[1:])


def _offer(shown: str, run: str, shell: Sequence[str]) -> tuple[str, ...]:
    script = _OFFER.format(shown=shlex.quote(_printable(shown)), run=run, shell=shlex.join(shell))
    return ("/bin/sh", "-c", script)


def banner(record: Record, notices: Sequence[str] = ()) -> bytes:
    """What stands between the scrollback and a fresh child, ``record`` being as it was before."""
    lines = list(notices)
    if record.restorable and record.error:
        lines.insert(0, record.error)
    lines.append("shell restarted" if record.end_reason == "exited" else "restored; new shell")
    return _CLEAN + b"".join(f"--- {_printable(line)} ---\r\n".encode(errors="replace") for line in lines)


def _printable(text: str) -> str:
    """For a terminal: nothing in a folder's or a command's name may act on it."""
    return "".join(char if char.isprintable() else "?" for char in text)


def why_lost(record: Record, boot: str, *, told_to_end: bool) -> str:
    """Why nothing runs any more in a session of which ``record`` says that something does.

    Args:
        boot: the present boot id.
        told_to_end: its custodian has noted in the log that it went on request.
    """
    if record.boot is not None and record.boot != boot:
        return REBOOT
    if not record.persistent:
        return DAEMON_ENDED
    if told_to_end:
        return TOLD_TO_END
    if record.custodian_pid is None:
        return NOT_STARTED
    return SIGNALLED.format(f" (pid {record.custodian_pid})")


def refreshed(saved: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The saved environment, with what the client has that starts the session again.

    It gives only what belongs to its own terminal and login (`toowld.wire.login`); what it does not have stays.
    """
    return {**saved, **{k: v for k, v in given.items() if k != "TERM" or v not in _NO_TERMINAL}}
