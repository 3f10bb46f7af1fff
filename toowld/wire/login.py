"""The part of an environment that belongs to a terminal and a login rather than to a session. PURE.

A session remembers its environment for as long as it exists. A socket of ssh-agent(1), a display, the kind of the
terminal: what is saved of those points to a login that ended long ago, so whoever starts the session again gives his
own along.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: What tmux's update-environment has, the terminal itself, and their like on Wayland and with logind.
LOGIN_VARIABLES = (
    "TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION",
    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "WINDOWID",
    "SSH_AUTH_SOCK", "SSH_AGENT_PID", "SSH_ASKPASS", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY",
    "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_SESSION_ID", "KRB5CCNAME",
)  # fmt: skip


def login_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Those that ``env`` has."""
    return {name: env[name] for name in LOGIN_VARIABLES if env.get(name)}
