"""What may be noted of a session."""

from __future__ import annotations

import pytest

from toowld.errors import RefusedError
from toowld.session.tags import MAX_TAGS, MAX_VALUE, tagged


def test_tags_are_set_and_taken_away() -> None:
    assert tagged({}, {"b": "1", "a": ""}) == {"a": "", "b": "1"}
    assert tagged({"a": "1", "b": "2"}, {"a": None, "c": "3", "x": None}) == {"b": "2", "c": "3"}
    assert list(tagged({"b": "1"}, {"a": "2"})) == ["a", "b"], "in order"


@pytest.mark.parametrize("key", ["", " ", "a b", "a=b", "-a", "ä", "a\n", "x" * 65])
def test_keys_that_there_can_not_be(key: str) -> None:
    with pytest.raises(RefusedError, match="key"):
        tagged({}, {key: "1"})


@pytest.mark.parametrize("value", ["a\nb", "\x1b[m", "x" * (MAX_VALUE + 1), "\udcff"])
def test_values_that_a_terminal_could_not_show(value: str) -> None:
    with pytest.raises(RefusedError, match="printable"):
        tagged({}, {"a": value})


def test_there_is_an_end_to_them() -> None:
    full = {f"k{number}": "x" for number in range(MAX_TAGS)}
    assert tagged(full, {"k0": "y"})["k0"] == "y"
    assert len(tagged(full, {"k0": None, "new": "z"})) == MAX_TAGS
    with pytest.raises(RefusedError, match="at most"):
        tagged(full, {"new": "z"})
