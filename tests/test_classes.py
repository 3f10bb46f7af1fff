"""Classes that are their fields."""

from __future__ import annotations

import copy
import pickle
from typing import Any, ClassVar

import pytest

from toowld.classes import define, field, fields, frozen, replace, to_dict


@frozen
class Point:
    """A place."""

    KIND: ClassVar[str] = "point"
    x: int
    y: int = 2

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")


@frozen
class Named(Point):
    name: str = "?"


@frozen(kw_only=True)
class Spoken:
    name: str
    loud: bool = False


@define
class Basket:
    owner: str
    points: list[Point] = field(factory=list)
    facts: dict[str, Any] = field(factory=dict, metadata={"means": "what is known"})

    def __repr__(self) -> str:
        return "a basket"


@define
class Nothing:
    pass


def test_values_are_compared_by_their_fields() -> None:
    assert Point(1) == Point(1, 2) == Point(x=1, y=2)
    assert Point(1) != Point(2)
    assert Point(1) != Named(1), "of another class"
    assert (Point(1) == object()) is False
    assert len({Point(1), Point(1, 2), Point(1, 3)}) == 2
    assert Nothing() == Nothing()


def test_things_can_be_changed_and_have_no_hash() -> None:
    basket = Basket("me")
    basket.points.append(Point(1))
    basket.owner = "you"
    assert basket == Basket("you", [Point(1)])
    with pytest.raises(TypeError):
        hash(basket)


def test_mypy_knows_them() -> None:
    """`make lint` fails where one of these is no error."""
    point = Point(1)
    point.x = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Spoken("x")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Point(1, z=3)  # type: ignore[call-arg]


def test_only_the_fields_can_be_set() -> None:
    with pytest.raises(AttributeError):
        Basket("me").size = 3  # type: ignore[attr-defined]
    assert not hasattr(Point(1), "__dict__") and not hasattr(Named(1), "__dict__")


def test_each_has_a_default_of_its_own() -> None:
    assert Basket("me").points is not Basket("you").points
    given = [Point(1)]
    assert Basket("me", given).points is given


def test_the_fields_of_a_base_come_first() -> None:
    assert [one.name for one in fields(Named)] == ["x", "y", "name"]
    assert Named(1, 3, "here") == Named(x=1, y=3, name="here")
    assert isinstance(Named(1), Point)
    with pytest.raises(ValueError, match="negative"):
        Named(-1)
    with pytest.raises(ValueError, match="negative"):
        replace(Point(1), x=-1)


def test_they_are_taken_apart_by_match() -> None:
    match Named(1, 2, "here"):
        case Named(x, 2, name):
            assert (x, name) == (1, "here")
        case _:
            pytest.fail("no match")


def test_what_is_known_of_a_field() -> None:
    owner, points, facts = fields(Basket)
    assert (owner.type, owner.required) == ("str", True)
    assert (points.type, points.required) == ("list[Point]", False)
    assert facts.metadata == {"means": "what is known"}
    assert Point.KIND == "point"


def test_how_they_look() -> None:
    assert repr(Named(1)) == "Named(x=1, y=2, name='?')"
    assert repr(Basket("me")) == "a basket", "its own"
    assert Point.__doc__ == "A place."
    assert Point.__init__.__qualname__ == "Point.__init__"


def test_copies() -> None:
    assert replace(Point(1), y=5) == Point(1, 5)
    assert copy.deepcopy(Basket("me", [Point(1)])) == Basket("me", [Point(1)])
    assert pickle.loads(pickle.dumps(Named(1))) == Named(1)


def test_as_plain_values() -> None:
    basket = Basket("me", [Point(1)], {"first": Point(3), "all": (1, b"x")})
    assert to_dict(basket) == {
        "owner": "me",
        "points": [{"x": 1, "y": 2}],
        "facts": {"first": {"x": 3, "y": 2}, "all": [1, b"x"]},
    }
