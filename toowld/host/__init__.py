"""The I/O driver of one session engine, used by a custodian and by the daemon alike.

``driver`` brings the engine together with the three sides of a session: ``terminal`` (its child, on a ``pty``),
``scrollback`` (its log) and ``clients`` (who is attached, over ``sockets``; ``leaving``: who no longer is).
``following`` keeps the files by which shells find the terminal that was attached last.
``control`` answers what can be asked of a hosted session; ``loop`` says what an event loop must offer.
"""

from toowld.host.client import Joining
from toowld.host.driver import SessionHost
from toowld.host.loop import Loop, Timer
from toowld.host.sockets import FrameSocket

__all__ = ["FrameSocket", "Joining", "Loop", "SessionHost", "Timer"]
