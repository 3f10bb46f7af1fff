"""What is still printed after Ctrl-C, at a real terminal that prints slowly. In bytes, not in seconds."""

from __future__ import annotations

import os
import sys
import time

from tests.harness import Sandbox, Terminal, wait_for

#: All that may be on its way (docs/architecture.md): 32 + 64 KiB queued for the client, 32 in its socket, 68 in the
#: client, 64 in the terminal; and what is printed until the keystroke has come through.
MOST = (32 + 64 + 32 + 68 + 64 + 64) << 10


class SlowTerminal(Terminal):
    """Prints half a megabyte a second."""

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.pty_fd, 2048)
            except OSError:
                return
            self._output += data
            time.sleep(len(data) / 500_000)  # it is the terminal that is slow: nothing waits for this


def test_little_is_printed_after_ctrl_c(sandbox: Sandbox) -> None:
    """It was 0.7 to 1 MB, half a second at 2 MB/s."""
    sandbox.up()
    big = sandbox.root / "big"
    big.write_bytes(b"0123456789abcde\n" * (8 << 20 >> 4))
    info = sandbox.new("/bin/sh", name="x")
    terminal = SlowTerminal([sys.executable, "-m", "toowl", "attach", info["id"]], sandbox.env, sandbox.root)
    sandbox.terminals.append(terminal)
    terminal.send("PS1=re''ady; cd /\r")
    terminal.expect("ready")
    terminal.forget()
    terminal.send(f"cat {big}\r")
    wait_for(lambda: len(terminal.output) > 600_000)  # all the buffers are full by now
    before = len(terminal.output)
    terminal.send(b"\x03")
    wait_for(lambda: terminal.output.endswith(b"ready"))
    assert len(terminal.output) - before < MOST
