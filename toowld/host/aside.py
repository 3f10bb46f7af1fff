"""Work that blocks, done beside a loop: in a thread that lives only as long as the work.

For fdatasync(2), which takes milliseconds to seconds, while a session must go on. Measured with 4 MiB to sync: 3 to
12 ms in the loop, 0.1 ms to start a thread, and 20 KiB of memory afterwards; a pool, or `threading`, costs more.
"""

from __future__ import annotations

import _thread
import os

from toowld.host.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Aside:
    """Runs ``work`` in a thread, and then ``on_done`` in the loop.

    Args:
        work: never raises, and uses nothing that the loop's thread uses: no path that depends on the working
            folder, no new descriptors or files (these, and the umask, change while a child is started).
        on_done: called once.
    """

    def __init__(self, loop: Loop, work: Callable[[], None], on_done: Callable[[], None]) -> None:
        self._loop = loop
        self._on_done = on_done
        # The end of file in this pipe is the news: whoever is gone by then, nothing is written to nobody.
        self._fd, writer = os.pipe()
        loop.add_reader(self._fd, self._done)

        def run() -> None:
            try:
                work()
            finally:
                os.close(writer)

        try:
            _thread.start_new_thread(run, ())
        except RuntimeError:  # no thread to be had (RLIMIT_NPROC): late is better than never
            run()

    def _done(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._on_done()

    def wait(self) -> None:
        """Wait until the work is done, and ``on_done`` too. Not from within ``on_done``."""
        os.read(self._fd, 1)
        self._done()
