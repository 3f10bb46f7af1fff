"""The entry point ``toowld``; all roles begin in `toowld.__main__`."""

from toowld.__main__ import main

__all__ = ["main"]
