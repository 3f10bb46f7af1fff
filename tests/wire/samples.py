"""Messages for the tests of the wire: strategies for any of them, and the frozen vectors as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from toowld.classes import fields, frozen
from toowld.wire import messages
from toowld.wire.messages import BY_TAG, Message

#: Every form of every message that was ever released. Lines are added, never changed and never removed.
VECTORS = Path(__file__).with_name("vectors.json")

INTEGERS = st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.text() | st.binary() | st.floats(allow_nan=False)
#: Array > params > record > list > map is the deepest that we send.
MAPS = st.dictionaries(
    st.text(),
    SCALARS | st.lists(SCALARS, max_size=4) | st.dictionaries(st.text(), SCALARS, max_size=4),
    max_size=4,
)
_BY_TYPE: Mapping[str, st.SearchStrategy[Any]] = {
    "int": INTEGERS,
    "str": st.text(),
    "bytes": st.binary(max_size=4096),
    "int | None": st.none() | INTEGERS,
    "Mapping[str, Any]": MAPS,
}


def _any_of(cls: type[Message]) -> st.SearchStrategy[Message]:
    values = {one.name: _BY_TYPE[one.type] for one in fields(cls)}
    return st.builds(cls, **values)


any_message: st.SearchStrategy[Message] = st.one_of([_any_of(cls) for cls in BY_TAG.values()])


def _from_json(value: Any) -> Any:
    """JSON has no bytes: they stand as ``{"bytes": "hex"}``."""
    if isinstance(value, dict):
        if value.keys() == {"bytes"}:
            return bytes.fromhex(value["bytes"])
        return {key: _from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return value


@frozen
class Vector:
    """One frozen form: its bytes, the message, and whether we still send exactly these bytes."""

    name: str
    frame: bytes
    message: Message
    sent: bool


def load_vectors() -> list[Vector]:
    found = []
    for entry in json.loads(VECTORS.read_text()):
        cls: type[Message] = getattr(messages, entry["message"])
        found.append(
            Vector(
                name=entry["name"],
                frame=bytes.fromhex(entry["frame"]),
                message=cls(**_from_json(entry["fields"])),
                sent=entry["sent"],
            )
        )
    return found
