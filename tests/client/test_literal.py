"""The literal that a search may rely on is in everything that the expression matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from toowl.literal import needle
from toowld.log.plain import Needle


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("error", "error"),
        ("^error .*failed$", "failed"),
        (r"\bgcc\b", "gcc"),
        ("a(bc)d", "abcd"),
        ("(?P<x>abc)+d", "abc"),
        ("x(abc)*yz", "yz"),
        ("colou?r", "colo"),
        ("abc|abd", "ab"),
        ("foo|bar", None),
        ("two words", "words"),
        ("für immer", "immer"),
        (r"\d+ \w", None),
        ("[e]rror", "error"),
        ("(?!foo)bar", "bar"),
        ("(?=foo)", None),
        ("(?i:abc)de", "de"),
        (r"(.)\1x", "x"),
        ("(?x) a b c # comment", "abc"),
        ("", None),
        (r"a\.b", "a.b"),
        ("a{0}b", "b"),
    ],
)
def test_needle(pattern: str, text: str | None) -> None:
    assert needle(re.compile(pattern)) == (None if text is None else Needle(text))


def test_ignoring_case() -> None:
    assert needle(re.compile("ErroR", re.IGNORECASE)) == Needle("error", fold=True)
    assert needle(re.compile("(?i)ErroR")) == Needle("error", fold=True)
    found = needle(re.compile("kiss", re.IGNORECASE))
    assert found is not None and list(found.candidates("\u212ais\u017f\n", ["\u212ais\u017f"])) == [0]


PATTERNS = st.recursive(
    st.sampled_from(["a", "b", "AB", ".", r"\b", "^", "[ab]", " ", "(?=a)"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map("(?:{0[0]}|{0[1]})".format),
        inner.map("(?:{})*".format),
        inner.map("({})+".format),
        inner.map("(?:{})?".format),
    ),
    max_leaves=8,
)


@given(PATTERNS, st.text("abAB ", max_size=8), st.booleans())
def test_it_is_in_every_match(pattern: str, text: str, fold: bool) -> None:
    compiled = re.compile(pattern, re.IGNORECASE if fold else 0)
    assume(compiled.search(text))
    found = needle(compiled)
    assert found is None or found.text in (text.lower() if fold else text)
