"""How an attachment ended, in words and as an exit status."""

from __future__ import annotations

from typing import Any

import pytest

from toowl import outcomes
from toowl.outcomes import Outcome
from toowld.errors import CustodianLost, LocalProtocolError
from toowld.wire import Ended


@pytest.mark.parametrize(
    ("reason", "code", "signal", "status", "text"),
    [
        ("exited", 0, None, 0, "[work exited with status 0]+"),
        ("exited", 7, None, 7, "[work exited with status 7]+"),
        ("exited", None, 9, 137, "[work killed by signal 9]+"),
        ("exited", None, None, 0, "[work exited]+"),
        ("killed", None, None, 1, "[work killed]+"),
    ],
)
def test_the_program_has_ended(
    reason: str, code: int | None, signal: int | None, status: int, text: str
) -> None:
    found = outcomes.program_ended("work", Ended(5, reason, code, signal), {}, "+")
    assert found == Outcome(status, text, ended=True)


@pytest.mark.parametrize(
    ("about", "renewable", "said"),
    [
        ({"persistent": False}, True, "together with its daemon"),
        ({"persistent": True}, False, "its custodian is gone: `toowl attach work` restores it"),
        ({"error": "no \x1b[2J room"}, False, "no ?[2J room: `toowl attach work`"),
        ({"error": 5}, False, "its custodian is gone"),
    ],
)
def test_the_session_is_lost(about: dict[str, Any], renewable: bool, said: str) -> None:
    found = outcomes.program_ended("work", Ended(5, "lost", None, None), about, "+")
    assert (found.status, found.renewable, found.ended) == (1, renewable, True)
    assert said in found.message and found.message.endswith("]+")


def test_who_left() -> None:
    assert outcomes.detached("work", "client") == Outcome(0, "[detached from work]")
    assert outcomes.detached("work", "requested") == Outcome(0, "[detached from work]")
    assert outcomes.detached("work", "slow", "3 B lack").message == "[detached from work: slow; 3 B lack]"


def test_what_went_wrong_is_an_error() -> None:
    assert isinstance(outcomes.detached("work", "protocol: nonsense").error, LocalProtocolError)
    assert isinstance(outcomes.hung_up("work").error, CustodianLost)
