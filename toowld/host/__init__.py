"""The I/O driver of one session engine, used by a custodian and by the daemon alike.

``driver`` turns descriptors and time into events and effects into I/O; ``pty`` and ``sockets`` are its hands;
``control`` answers what can be asked of a hosted session; ``loop`` says what an event loop must offer.
"""

from toowld.host.driver import Joining, SessionHost
from toowld.host.loop import Loop, Timer
from toowld.host.sockets import FrameSocket

__all__ = ["FrameSocket", "Joining", "Loop", "SessionHost", "Timer"]
