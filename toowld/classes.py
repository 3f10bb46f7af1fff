"""`frozen` and `define`: classes that are their fields, under the names that attrs gave them. PURE.

Nearly every class of values here is made with one of the two. `dataclasses` does the same, but compiles up to six
functions per class, 0.4 ms, and imports `inspect`, 7 ms: with seventy such classes that was half of the time in which
``toowl attach`` started. Here only ``__init__`` is compiled; the rest are functions that all classes share.

What differs from dataclasses: all have slots, and an assignment to a frozen one is refused by mypy, not at run time,
where the check would make each of them three times as slow to create.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    C = TypeVar("C")
else:  # of a command's start, typing would take as much as all of its classes

    def dataclass_transform(**_):
        return lambda maker: maker


_MISSING: Any = object()


class Field:
    """One field of such a class.

    Attributes:
        type: its annotation, as it stands in the source.
        required: without a default.
    """

    __slots__ = ("default", "factory", "metadata", "name", "type")

    def __init__(self, default: Any, factory: Callable[[], Any] | None, metadata: dict[str, Any]) -> None:
        self.name = self.type = ""
        self.default = default
        self.factory = factory
        self.metadata = metadata

    @property
    def required(self) -> bool:
        return self.default is _MISSING and self.factory is None


def field(
    *,
    default: Any = _MISSING,
    factory: Callable[[], Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Any:
    """What is behind the ``=`` of a field that is more than a default: a fresh value for each, or facts about it."""
    return Field(default, factory, metadata or {})


def fields(of: Any) -> tuple[Field, ...]:
    """The fields of such a class, or of one of its objects, in order."""
    found: tuple[Field, ...] = of.__fields__
    return found


def replace(thing: C, **changes: Any) -> C:
    """A copy with changes."""
    return type(thing)(**{name: getattr(thing, name) for name in thing.__match_args__} | changes)  # type: ignore[attr-defined]


def to_dict(thing: Any) -> Any:
    """As maps, lists and plain values, all the way down."""
    if hasattr(thing, "__fields__"):
        return {one.name: to_dict(getattr(thing, one.name)) for one in thing.__fields__}
    if isinstance(thing, list | tuple):
        return [to_dict(one) for one in thing]
    if isinstance(thing, dict):
        return {key: to_dict(value) for key, value in thing.items()}
    return thing


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: Any = None, /, *, kw_only: bool = False) -> Any:
    """Make a class of values: compared and hashed by their fields, and never assigned to."""
    if cls is None:
        return lambda cls: _made(cls, kw_only, hashed=True)
    return _made(cls, kw_only, hashed=True)


@dataclass_transform(field_specifiers=(field,))
def define(cls: type[C], /) -> type[C]:
    """Make a class of things with fields: compared by them, not hashable."""
    made: type[C] = _made(cls, False, hashed=False)
    return made


def _made(cls: Any, kw_only: bool, *, hashed: bool) -> Any:
    inherited = {
        one.name: one for base in reversed(cls.__mro__) for one in base.__dict__.get("__fields__", ())
    }
    own = {}
    namespace = dict(cls.__dict__)
    for name, annotation in namespace.get("__annotations__", {}).items():
        if annotation.startswith("ClassVar"):
            continue
        given = namespace.pop(name, _MISSING)
        own[name] = one = given if isinstance(given, Field) else Field(given, None, {})
        one.name, one.type = name, annotation
    found = tuple((inherited | own).values())
    names = tuple(one.name for one in found)
    for left in ("__dict__", "__weakref__"):
        namespace.pop(left, None)
    key = attrgetter(*names) if names else _nothing
    namespace |= {
        "__slots__": tuple(name for name in own if name not in inherited),
        "__fields__": found,
        "__match_args__": names,
        "_key": staticmethod(key),
        "__init__": _initialiser(cls.__qualname__, found, kw_only, hasattr(cls, "__post_init__")),
    }
    namespace.setdefault("__eq__", _equal)
    namespace.setdefault("__repr__", _shown)
    if "__hash__" not in cls.__dict__ or cls.__dict__["__hash__"] is None:
        namespace["__hash__"] = _hashed if hashed else None
    # Slots are laid out when a class is made, so it is made again, as dataclasses do.
    return type(cls)(cls.__name__, cls.__bases__, namespace)


def _initialiser(owner: str, found: tuple[Field, ...], kw_only: bool, checked: bool) -> Any:
    """``__init__``, the one that is called often: it is compiled, so that it does nothing but assign."""
    names: dict[str, Any] = {"_MISSING": _MISSING}
    parameters, lines = ["self", "*"] if kw_only and found else ["self"], []
    for one in found:
        if one.factory is not None:
            names[f"_new_{one.name}"] = one.factory
            parameters.append(f"{one.name}=_MISSING")
            lines.append(f"self.{one.name} = _new_{one.name}() if {one.name} is _MISSING else {one.name}")
        else:
            names[f"_default_{one.name}"] = one.default
            parameters.append(one.name if one.required else f"{one.name}=_default_{one.name}")
            lines.append(f"self.{one.name} = {one.name}")
    if checked:
        lines.append("self.__post_init__()")
    body = "\n ".join(lines) or "pass"
    exec(f"def __init__({', '.join(parameters)}):\n {body}", names)
    names["__init__"].__qualname__ = f"{owner}.__init__"
    return names["__init__"]


def _nothing(thing: Any) -> tuple[()]:
    return ()


def _equal(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return self._key(self) == self._key(other)


def _hashed(self: Any) -> int:
    return hash(self._key(self))


def _shown(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({shown})"
