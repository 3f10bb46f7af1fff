"""What may stand for a value, and what may not."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toowld.errors import ConfigError
from toowld.settings import schema
from toowld.settings.schema import Key, Kind
from toowld.settings.values import check, parse, written

FLAG = Key(Kind.FLAG, "")
BYTES = Key(Kind.BYTES, "", least=1024, none=True)
SECONDS = Key(Kind.SECONDS, "")
WORD = Key(Kind.WORD, "", words=("smallest", "latest"))
COUNT = Key(Kind.COUNT, "", least=4, none=True)
PERCENT = Key(Kind.PERCENT, "", least=1)
TEXTS = Key(Kind.TEXTS, "")


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        (FLAG, True, True),
        (BYTES, 4096, 4096),
        (BYTES, "64 MiB", 64 << 20),
        (BYTES, "1.5K", 1536),
        (BYTES, "9007199254740993", 9007199254740993),
        (BYTES, 0, 0),
        (BYTES, "inf", 0),
        (SECONDS, 3, 3.0),
        (SECONDS, "12h", 43200.0),
        (SECONDS, "2 d", 172800.0),
        (SECONDS, float("inf"), float("inf")),
        (SECONDS, "inf", float("inf")),
        (WORD, "latest", "latest"),
        (COUNT, 0, 0),
        (COUNT, 4, 4),
        (PERCENT, "150%", 150.0),
        (TEXTS, ["a", "b"], ("a", "b")),
    ],
)
def test_what_is_right(key: Key, value: object, found: object) -> None:
    assert check("k", key, value) == found


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (FLAG, 1, "'k' must be true or false, not 1"),
        (FLAG, "true", "'k' must be true or false, not 'true'"),
        (BYTES, 1000, "at least 1024 (0: no limit), not 1000"),
        (BYTES, True, "not true"),
        (BYTES, "12h", "not '12h'"),
        (BYTES, -1, "not -1"),
        (BYTES, 1.5, "not 1.5"),
        (BYTES, 1 << 63, "not 9223372036854775808"),
        (BYTES, float("-inf"), "not -inf"),
        (SECONDS, float("-inf"), "not -inf"),
        (SECONDS, float("nan"), "not nan"),
        (SECONDS, "soon", "not 'soon'"),
        (SECONDS, "", "not ''"),
        pytest.param(SECONDS, 16**5000, "not a number of so many digits", id="hexadecimal"),
        pytest.param(TEXTS, [16**5000], "not a number of so many digits", id="hexadecimal in a list"),
        pytest.param(SECONDS, 10**400, "not 1000", id="huge"),
        (WORD, "Smalest", "'k' must be 'smallest' or 'latest', not 'Smalest': did you mean 'smallest'?"),
        (WORD, ["latest"], "must be 'smallest' or 'latest'"),
        (COUNT, 3, "'k' must be a whole number, at least 4"),
        (COUNT, "4k", "not '4k'"),
        (Key(Kind.COUNT, "", most=9), 10, "'k' must be a whole number, at least 0, at most 9, not 10"),
        (TEXTS, "a", "must be a list of texts, not 'a'"),
        (TEXTS, ["a", 1], "must be a list of texts"),
    ],
)
def test_what_is_wrong_is_named(key: Key, value: object, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        check("k", key, value)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_on_a_command_line_all_is_text() -> None:
    assert [parse("k", FLAG, text) for text in ("true", " YES ", "1", "off", "0")] == [True] * 3 + [False] * 2
    assert parse("k", COUNT, "12") == 12
    assert parse("k", TEXTS, "make -j8") == ("make -j8",)
    with pytest.raises(ConfigError, match="must be true or false, not 'perhaps'"):
        parse("k", FLAG, "perhaps")


@pytest.mark.parametrize("full", schema.everything())
def test_every_default_is_a_value_of_its_kind(full: str) -> None:
    table, _, name = full.partition(".")
    key, default = schema.everything()[full], schema.default(table, name)
    if default is None:
        assert key.hint, "else the manual has nothing to say"
    else:
        assert check(full, key, default) == default


@given(
    st.recursive(
        st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False), st.lists, max_leaves=4
    )
)
@example(1.7976931348623157e308)
@example([0.1 + 0.2])
def test_what_is_written_is_read_again(value: Any) -> None:
    text = written(value)
    assert tomllib.loads(f"k = {text}")["k"] == value


@given(
    st.sampled_from([FLAG, BYTES, SECONDS, WORD, COUNT, PERCENT, TEXTS]),
    st.text() | st.integers() | st.floats(),
)
def test_whatever_stands_there_is_taken_or_refused(key: Key, value: object) -> None:
    try:
        found = check("k", key, value)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert check("k", key, found) == found, "and is a value itself"
