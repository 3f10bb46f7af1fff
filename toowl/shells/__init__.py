"""What a shell is given so that its session knows where its prompts are, and the shell where its terminal is.

One script for each shell, in a file of its own, to be read by that shell: bash 4.4, zsh 5.1 and fish 3.4, or newer.
What all of them do:

- nothing outside of a session, in a shell that nobody types into, on a terminal that is ``dumb``, and the second
  time;
- tell where a prompt (OSC 133 ``A``), what is typed (``B``) and the output of a command (``C``) begin, how the
  command ended (``D``), and in which folder the shell is (OSC 7);
- put the session's name before the prompt, as ``TOOWL_PROMPT`` says;
- take over the environment of the terminal that was attached last, before the next command; in bash, the next prompt.

Rules that they keep: what the user has set up goes on working, in whatever order it was set up, and sees ``$?`` as
it was. No command may fail where ``set -e`` would end the shell, and no variable be read that ``set -u`` may miss.
Nothing is started: all of it is done by the shell itself.
"""

from __future__ import annotations

from pathlib import Path

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """The script for a shell of `SHELLS`."""
    return Path(__file__).with_name(f"toowl.{shell}").read_text()
