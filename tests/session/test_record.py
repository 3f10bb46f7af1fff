"""Records: what is stored comes back, and what a damaged disk or another version gives is read or refused."""

from __future__ import annotations

import string
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.classes import fields, replace
from toowld.session.record import BadRecord, Record, State, decode, encode
from toowld.session.sizes import SizePolicy

#: As os.fsdecode gives it: any bytes, with those that are not UTF-8 as lone surrogates.
os_text = st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape"))
times = st.floats(min_value=0, max_value=1e12)
numbers = st.integers(0, 1 << 62)

limits = st.integers(-1, (1 << 63) - 1)

records = st.builds(
    Record,
    id=st.text("0123456789abcdef", min_size=8, max_size=8),
    name=st.none() | os_text,
    persistent=st.booleans(),
    argv=st.none() | st.lists(os_text, max_size=4).map(tuple),
    cwd=os_text,
    cwd_at=times,
    env=st.dictionaries(os_text, os_text, max_size=4),
    umask=st.none() | st.integers(0, 0o777),
    limits=st.dictionaries(os_text, st.tuples(limits, limits), max_size=3),
    on_restore=st.none() | os_text,
    rows=st.integers(1, 0xFFFF),
    cols=st.integers(1, 0xFFFF),
    size_policy=st.sampled_from(SizePolicy),
    scrollback_bytes=numbers,
    created_at=times,
    last_active_at=times,
    state=st.sampled_from(State),
    end_reason=st.none() | st.sampled_from(["exited", "lost", "failed"]),
    exit_code=st.none() | st.integers(0, 255),
    exit_signal=st.none() | st.integers(1, 64),
    end_requested=st.booleans(),
    ended_at=st.none() | times,
    error=st.none() | os_text,
    pid=st.none() | numbers,
    pid_started=st.none() | times,
    custodian_pid=st.none() | numbers,
    custodian_started=st.none() | times,
    boot=st.none() | st.text(string.hexdigits, max_size=8),
    version=numbers,
)


@given(records)
def test_round_trip(record: Record) -> None:
    assert decode(encode(record)) == record
    assert Record.from_map(record.to_map()) == record


def test_bytes_that_are_no_utf8_come_back() -> None:
    record = Record("00000000", argv=("caf\udce9",), env={"L\udcff": "\udc80"}, cwd="/\udce9")
    assert decode(encode(record)) == record


@given(records, st.dictionaries(st.text(min_size=12), st.integers(), max_size=3))
def test_unknown_fields_are_ignored(record: Record, more: dict[str, Any]) -> None:
    assert decode(cbor2.dumps({**more, **cbor2.loads(encode(record)), "form": 99})) == record


@pytest.mark.parametrize(
    ("reason", "signum", "requested", "wanted"),
    [
        ("exited", None, False, True),
        ("exited", 15, True, True),
        ("exited", 15, False, False),
        ("lost", None, True, False),
        ("failed", None, False, False),
    ],
)
def test_what_counts_as_an_end_that_was_wanted(
    reason: str, signum: int | None, requested: bool, wanted: bool
) -> None:
    ended = Record(
        "0123abcd", state=State.ENDED, end_reason=reason, exit_signal=signum, end_requested=requested
    )
    assert ended.ended_as_wanted is wanted
    assert not ended.changed(state=State.RUNNING).ended_as_wanted


def test_missing_fields_are_filled_in() -> None:
    assert decode(cbor2.dumps({"id": "0123abcd", "state": "running"})) == Record(
        "0123abcd", state=State.RUNNING
    )


@pytest.mark.parametrize("state", ["paused", "", None, 7, [1], {}, b"running\xff"])
def test_an_unknown_state_is_ended_and_lost(state: object) -> None:
    record = decode(cbor2.dumps({"id": "0123abcd", "state": state, "pid": 7}))
    assert (record.state, record.end_reason, record.pid) == (State.ENDED, "lost", 7)
    assert record.error is not None
    assert decode(encode(record)) == record


@pytest.mark.parametrize("policy", [None, "largest", 7, [1], {}, b"latest\xff"])
def test_an_unknown_size_policy_is_that_of_the_smallest(policy: object) -> None:
    """As records from before it have none, and a later version may know more."""
    record = decode(cbor2.dumps({"id": "0123abcd", "state": "running", "size_policy": policy}))
    assert record == Record("0123abcd", state=State.RUNNING)


@pytest.mark.parametrize("session_id", [None, 7, "", "0123ABCD", "0123abcde", "../../et", "0123abcd\n"])
def test_without_a_proper_id_it_is_no_record(session_id: object) -> None:
    with pytest.raises(BadRecord):
        decode(cbor2.dumps({"id": session_id, "state": "running"}))


@given(st.binary(max_size=200))
def test_junk_is_refused(data: bytes) -> None:
    with pytest.raises(BadRecord):
        decode(data)


@given(records, st.data())
def test_a_damaged_record_is_refused_or_still_a_record(record: Record, data: st.DataObject) -> None:
    stored = bytearray(encode(record))
    for _ in range(data.draw(st.integers(1, 4))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(stored[: data.draw(st.integers(0, len(stored)))]))
    except BadRecord:
        return
    assert decode(encode(found)) == found


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([one.name for one in fields(Record)]), values)
def test_a_value_of_any_type_is_refused_or_a_record(name: str, value: object) -> None:
    try:
        found = Record.from_map({**Record("0123abcd").to_map(), name: value})
    except BadRecord:
        return
    assert decode(encode(found)) == found


@pytest.mark.parametrize("argv", [7, "ls -l", {"ls": 1}, [1], [None], b"ls"])
def test_arguments_of_another_type_are_refused(argv: object) -> None:
    with pytest.raises(BadRecord):
        Record.from_map({"id": "0123abcd", "state": "running", "argv": argv})


@pytest.mark.parametrize(
    "pair", [1, [], [1], [1, 2, 3], ["1", 2], [1.0, 2], [-2, 1], [1 << 63, 1], None, [True, 1]]
)
def test_limits_that_are_none_are_refused(pair: object) -> None:
    with pytest.raises(BadRecord):
        Record.from_map({"id": "0123abcd", "state": "running", "limits": {"nofile": pair}})


@pytest.mark.parametrize("umask", [-1, 0o1000, "022", 1.0])
def test_an_impossible_umask_is_refused(umask: object) -> None:
    with pytest.raises(BadRecord):
        Record.from_map({"id": "0123abcd", "state": "running", "umask": umask})


@pytest.mark.parametrize(("rows", "cols"), [(0, 80), (24, 65536), (-1, -1)])
def test_an_impossible_size_is_refused(rows: int, cols: int) -> None:
    with pytest.raises(BadRecord):
        Record.from_map({"id": "0123abcd", "state": "running", "rows": rows, "cols": cols})


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({"end_reason": "lost"}, True),
        ({"end_reason": "lost", "state": State.RUNNING}, False),
        ({"end_reason": "failed"}, False),
        ({"end_reason": "exited", "exit_code": 0}, False),
        ({"end_reason": "exited", "exit_signal": 2}, False),
        ({"end_reason": "exited", "exit_signal": 15}, True),
        ({"end_reason": "exited", "exit_signal": 1}, True),
        ({"end_reason": "exited", "exit_signal": 1, "end_requested": True}, False),
    ],
)
def test_what_can_be_brought_back(facts: dict[str, Any], wanted: bool) -> None:
    assert replace(Record("0123abcd", state=State.ENDED), **facts).restorable is wanted


def test_a_change_is_a_later_version() -> None:
    before = Record("0123abcd", version=4)
    after = before.changed(name="api")
    assert (before.name, after.name, after.version) == (None, "api", 5)
    assert (before.label, after.label) == ("0123abcd", "api")
