"""Text from the kernel that may not be UTF-8: argv, environment, paths. PURE.

Python shows such bytes as lone surrogates (PEP 383), which CBOR text can't hold. They travel and are stored as
CBOR byte strings instead, so a session gets exactly the bytes that its caller had.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pack_text(value: Any) -> Any:
    """``value`` with every text that is not UTF-8 as bytes, in lists and maps too."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogateescape")
        return value
    if isinstance(value, dict):
        return {pack_text(k): pack_text(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [pack_text(v) for v in value]
    return value


def unpack_text(value: Any) -> Any:
    """The opposite of `pack_text`: every byte string as text, in lists and maps too."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {unpack_text(k): unpack_text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [unpack_text(v) for v in value]
    return value
