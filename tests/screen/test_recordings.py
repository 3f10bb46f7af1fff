"""Real programs, as they printed here once (`record`), painted on a second terminal and on a third."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.screen.oracle import differences, hop
from tests.screen.record import FOLDER, load
from toowld.screen.model import Model
from toowld.wire.messages import Size

NAMES = sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def played(name: str, until: float = 1.0) -> Model:
    """A terminal that has seen a recording up to a part of it."""
    model: Model | None = None
    events = list(load(name))
    total = sum(len(event) for event in events if isinstance(event, bytes))
    left = int(total * until)
    for event in events:
        if isinstance(event, Size):
            if model is None:
                model = Model(event)
            model.resize(event)
            continue
        assert model is not None
        model.feed(event[:left])
        left -= len(event)
        if left <= 0:
            break
    assert model is not None
    return model


def test_there_are_recordings() -> None:
    assert {"vim", "less", "htop", "git-log", "progress", "glyphs", "vim-resized"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_looks_the_same_at_every_moment(name: str) -> None:
    for part in _parts():
        state = played(name, part).state()
        second = hop(state).state()
        assert differences(state, second, wraps=True) == [], part
        assert differences(state, hop(second).state(), wraps=True) == [], part


def _parts() -> Iterator[float]:
    yield from (n / 37 for n in range(1, 38))


@pytest.mark.parametrize("name", NAMES)
def test_a_program_goes_on_as_if_nothing_had_been(name: str) -> None:
    """Half of it, then the rest on the first terminal and on the painted one."""
    whole = played(name)
    half = played(name, 0.5)
    second = hop(half.state())
    events = list(load(name))
    total = sum(len(event) for event in events if isinstance(event, bytes))
    seen = 0
    for event in events:
        if isinstance(event, Size):
            if seen > total * 0.5:
                second.resize(event)
            continue
        skip = min(max(int(total * 0.5) - seen, 0), len(event))
        second.feed(event[skip:])
        seen += len(event)
    assert differences(whole.state(history=0), second.state(history=0)) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [Size(rows=30, cols=120), Size(rows=10, cols=40)])
def test_a_program_in_another_size(name: str, size: Size) -> None:
    model = played(name)
    model.resize(size)
    state = model.state()
    assert differences(state, hop(state).state()) == []
