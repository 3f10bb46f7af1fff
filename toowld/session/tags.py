"""What people and scripts note of a session, as key=value, to find it again by. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping

from toowld.errors import RefusedError

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: Longest value, and most tags of one session: they are in each answer to ``list``.
MAX_VALUE = 256
MAX_TAGS = 32


def tagged(tags: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The tags after some were set, or (None) taken away.

    Raises:
        RefusedError: there can't be such a tag, or not so many.
    """
    for key, value in changes.items():
        if not _KEY.fullmatch(key):
            raise RefusedError(f"{key!r} is no key of a tag: use letters, digits and . _ - (64 at most)")
        if value is not None and (len(value) > MAX_VALUE or not value.isprintable()):
            raise RefusedError(
                f"the value of tag {key!r} must be printable, and {MAX_VALUE} characters at most"
            )
    merged = {**tags, **changes}
    found = {key: value for key, value in sorted(merged.items()) if value is not None}
    if len(found) > MAX_TAGS:
        raise RefusedError(
            f"a session has {MAX_TAGS} tags at most: take one away with `toowl tag SESSION KEY=`"
        )
    return found
