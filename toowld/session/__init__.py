"""The session engine. PURE: no I/O, no clock, no threads, so every rule of it can be tested as a script.

``events`` come in, ``effects`` go out, `Session` in ``engine`` is what lies between. Its parts:

- ``states`` has every legal move as a table; ``attachment`` and ``outbox`` are one client's;
- ``joining``: what a client asks for that attaches; ``feeding``: how it gets its output until it is live;
- ``leading``: which of the attachments leads; ``flow``: who may slow the child down;
- ``sizes``: how large the terminal is; ``inputs``: what is typed, once and in order;
- ``queries``, ``routing``, ``answers``: what a program asks its terminal, which one answers, and what we say else;
- ``marks``: what it tells its terminal about itself;
- ``ending``: how the child is ended, and how long its clients are waited for.

``record`` is what is stored about it, ``tags`` are a part of that; ``displays`` has what people are shown of it.
"""

from toowld.session.engine import Session
from toowld.session.record import Record, State
from toowld.session.sizes import SizePolicy
from toowld.session.states import AttachmentState, SessionState

__all__ = ["AttachmentState", "Record", "Session", "SessionState", "SizePolicy", "State"]
