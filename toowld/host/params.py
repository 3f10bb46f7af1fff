"""Typed reading of a request's parameters: a peer's map is never indexed unchecked."""

from __future__ import annotations

import enum

from toowld.errors import RemoteProtocolError
from toowld.wire import Size
from toowld.wire.text import unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    _T = TypeVar("_T")
    _Words = TypeVar("_Words", bound=enum.Enum)

_MISSING: Any = object()


class Params:
    """The parameters of one request.

    Every getter raises `RemoteProtocolError` for a missing value without default, or a wrong type.
    """

    def __init__(self, method: str, values: Mapping[str, Any]) -> None:
        self._method = method
        self._values = values

    def _get(self, name: str, kind: type[_T], default: Any) -> _T:
        value = self._values.get(name, default)
        if value is default and default is not _MISSING:
            return value  # type: ignore[no-any-return]
        if type(value) is not kind:
            raise RemoteProtocolError(f"{self._method}: '{name}' must be {kind.__name__}")
        return value

    def text(self, name: str, default: Any = _MISSING) -> str:
        """Text, also text that is not UTF-8 (see `wire.text`)."""
        value = self._values.get(name, default)
        text = str(unpack_text(value)) if type(value) is bytes else self._get(name, str, default)
        if "\0" in (text or ""):  # no path, argument or name can hold it
            raise RemoteProtocolError(f"{self._method}: '{name}' must not hold NUL")
        return text

    def text_or_none(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.text(name)

    def word_or_none(self, name: str, words: type[_Words]) -> _Words | None:
        """One of an enumeration's words."""
        if (text := self.text_or_none(name)) is None:
            return None
        try:
            return words(text)
        except ValueError:
            known = " or ".join(repr(word.value) for word in words)
            raise RemoteProtocolError(f"{self._method}: '{name}' must be {known}, not {text!r}") from None

    def integer(self, name: str, default: Any = _MISSING) -> int:
        return self._get(name, int, default)

    def integer_or_none(self, name: str) -> int | None:
        return None if self._values.get(name) is None else self.integer(name)

    def number_or_none(self, name: str) -> float | None:
        value = self._values.get(name)
        if type(value) not in (int, float, type(None)):
            raise RemoteProtocolError(f"{self._method}: '{name}' must be a number")
        return None if value is None else float(value)

    def flag(self, name: str, default: Any = _MISSING) -> bool:
        return self._get(name, bool, default)

    def flag_or_none(self, name: str) -> bool | None:
        return None if self._values.get(name) is None else self.flag(name)

    def data(self, name: str, default: Any = _MISSING) -> bytes:
        return self._get(name, bytes, default)

    def mapping(self, name: str, default: Any = _MISSING) -> dict[str, Any]:
        return self._get(name, dict, default)

    def without(self, *names: str) -> dict[str, Any]:
        """The parameters as they came, but for some."""
        return {name: value for name, value in self._values.items() if name not in names}

    def size(self) -> Size:
        """``rows`` and ``cols``."""
        try:
            return Size(rows=self.integer("rows"), cols=self.integer("cols"))
        except ValueError as error:
            raise RemoteProtocolError(f"{self._method}: {error}") from error

    def changes(self, name: str) -> dict[str, str | None]:
        """A map of texts to texts, or to None for what is to be taken away."""
        found = self.mapping(name)
        if not all(
            type(key) is str and (value is None or type(value) is str) for key, value in found.items()
        ):
            raise RemoteProtocolError(f"{self._method}: '{name}' must map texts to texts or to nothing")
        return found

    def umask_or_none(self, name: str) -> int | None:
        umask = self.integer_or_none(name)
        if umask is not None and not 0 <= umask <= 0o777:
            raise RemoteProtocolError(f"{self._method}: '{name}' must be a file mode creation mask")
        return umask

    def limits(self, name: str) -> dict[str, tuple[int, int]]:
        """A map of names to [soft, hard], as setrlimit(2) wants them; -1 is no limit."""
        found = {}
        for key, pair in self.mapping(name, {}).items():
            if type(key) is not str or type(pair) is not list or len(pair) != 2:
                raise RemoteProtocolError(f"{self._method}: '{name}' must map texts to pairs")
            soft, hard = pair
            if not all(type(value) is int and -1 <= value < 1 << 63 for value in pair):
                raise RemoteProtocolError(f"{self._method}: '{name}' holds an impossible limit of {key!r}")
            found[key] = (soft, hard)
        return found

    def texts_or_none(self, name: str) -> tuple[str, ...] | None:
        """A list of texts."""
        value = self._values.get(name)
        if value is None:
            return None
        texts = unpack_text(value)
        if type(texts) is not list or not all(type(text) is str for text in texts):
            raise RemoteProtocolError(f"{self._method}: '{name}' must be a list of texts")
        if any("\0" in text for text in texts):
            raise RemoteProtocolError(f"{self._method}: '{name}' must not hold NUL")
        return tuple(texts)

    def stops(self, name: str) -> tuple[bytes, ...]:
        """A few short byte strings, none of them empty; none if left out."""
        value = self._get(name, list, [])
        if len(value) > 16 or not all(type(stop) is bytes and 0 < len(stop) <= 16 for stop in value):
            raise RemoteProtocolError(
                f"{self._method}: '{name}' must be up to 16 byte strings of 1 to 16 bytes"
            )
        return tuple(value)

    def environment(self, name: str, default: Any = _MISSING) -> dict[str, str]:
        """A map of text to text, without NUL and without '=' in a name, as execve(2) wants it."""
        env: dict[Any, Any] = unpack_text(self.mapping(name, default))
        for key, value in env.items():
            if type(key) is not str or type(value) is not str:
                raise RemoteProtocolError(f"{self._method}: '{name}' must map texts to texts")
            if not key or "=" in key or "\0" in key or "\0" in value:
                raise RemoteProtocolError(f"{self._method}: '{name}' holds an impossible variable {key!r}")
        return env
