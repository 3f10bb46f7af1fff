"""The session engine. PURE: no I/O, no clock, no threads, so every rule of it can be tested as a script.

``events`` come in, ``effects`` go out, `Session` in ``engine`` is what lies between; ``states`` has every legal
move as a table; ``attachment``, ``outbox``, ``inputs``, ``sizes``, ``queries``, ``answers`` and ``marks`` are its
parts; ``record`` is what is stored about it.
"""

from toowld.session.engine import Session
from toowld.session.record import Record, State
from toowld.session.sizes import SizePolicy
from toowld.session.states import AttachmentState, SessionState

__all__ = ["AttachmentState", "Record", "Session", "SessionState", "SizePolicy", "State"]
