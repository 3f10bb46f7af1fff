"""libghostty-vt, the terminal emulator, by the few of its functions that we need.

Owns the binding and nothing else; `Model` is what the rest of toowl uses. The shared object comes with the package
``pyghostty``, whose own binding is not imported: it parses 3500 lines of C at every start (130 ms and 10 MB), and
wraps no snapshots. Numbers of options are those of the version that ``pyproject.toml`` pins; a test compares them.

Every call releases the GIL (ctypes does). One terminal is used by one thread at a time.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from toowld.errors import ScreenUnavailable
from toowld.screen import PYGHOSTTY

SUCCESS = 0

OPT_WRITE_PTY = 1
OPT_KITTY_IMAGE_STORAGE_LIMIT = 15
OPT_SCROLLBACK_MAX_BYTES = 27
OPT_SCROLLBACK_MAX_LINES = 28
OPT_CONTINUATION_MAX_BYTES = 31

DECODER_OPT_MAX_CONTINUATION_BYTES = 0
DECODER_OPT_RETAIN_CONTINUATION = 1

_POINTER = ctypes.c_void_p
_POINTER_OUT = ctypes.POINTER(ctypes.c_void_p)
_SIZE_OUT = ctypes.POINTER(ctypes.c_size_t)

#: What gets the terminal's answers: terminal, user data, bytes, their number.
WritePty = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _POINTER, ctypes.c_size_t)

_FUNCTIONS: dict[str, tuple[type | None, list[type]]] = {
    "terminal_new": (ctypes.c_int, [_POINTER, _POINTER_OUT, ctypes.c_uint16, ctypes.c_uint16]),
    "terminal_free": (None, [_POINTER]),
    "terminal_set": (ctypes.c_int, [_POINTER, ctypes.c_int, _POINTER]),
    "terminal_resize": (
        ctypes.c_int,
        [_POINTER, ctypes.c_uint16, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint32],
    ),
    "terminal_vt_write": (None, [_POINTER, ctypes.c_char_p, ctypes.c_size_t]),
    "snapshot_encode_alloc": (ctypes.c_int, [_POINTER, _POINTER, _POINTER_OUT, _SIZE_OUT]),
    "snapshot_decoder_new_buf": (ctypes.c_int, [_POINTER, _POINTER_OUT, ctypes.c_char_p, ctypes.c_size_t]),
    "snapshot_decoder_set": (ctypes.c_int, [_POINTER, ctypes.c_int, _POINTER]),
    "snapshot_decoder_decode": (ctypes.c_int, [_POINTER, _POINTER_OUT]),
    "snapshot_decoder_free": (None, [_POINTER]),
    "free": (None, [_POINTER, _POINTER, ctypes.c_size_t]),
}


@functools.cache
def load() -> ctypes.CDLL:
    """The library.

    Raises:
        ScreenUnavailable: it is not installed, not for this machine, or not of the version that we know.
    """
    # What starts and never comes here spares itself their 15 ms.
    import importlib.metadata
    import importlib.util

    try:
        found = importlib.metadata.version("pyghostty")
    except importlib.metadata.PackageNotFoundError:
        raise ScreenUnavailable("the package pyghostty is not installed: pip install toowl again") from None
    if found != PYGHOSTTY:
        raise ScreenUnavailable(
            f"pyghostty is {found}, and only {PYGHOSTTY} is known: pip install toowl again"
        )
    spec = importlib.util.find_spec("pyghostty")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        raise ScreenUnavailable("the package pyghostty is not whole: pip install toowl again")
    try:
        library = ctypes.CDLL(str(Path(places[0], "_lib", "libghostty-vt.so")))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, f"ghostty_{name}")
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise ScreenUnavailable(f"libghostty-vt can't be loaded: {error}") from error
    return library
