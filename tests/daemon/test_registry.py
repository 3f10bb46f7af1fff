"""Ids, names and prefixes: who is meant, and what happens when two want the same name."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.steps import ls, wait_displayed
from tests.harness import Sandbox
from toowld.daemon.entry import MAX_COMMAND
from toowld.daemon.events import Bus
from toowld.daemon.registry import Registry
from toowld.daemon.store import Store, StoreError
from toowld.errors import RefusedError, SessionAmbiguous, SessionNotFound
from toowld.session import Record, State
from toowld.wire import MAX_FRAME, Response, encode
from toowld.wire.text import pack_text


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store, Bus())


def added(registry: Registry, session_id: str, name: str | None = None) -> Any:
    return registry.add(Record(id=session_id, name=name))


def test_find_by_id_name_and_prefix(registry: Registry) -> None:
    """H2."""
    first, second = added(registry, "aa11aa11", "dev"), added(registry, "aa22aa22")
    assert registry.find("aa11aa11") is first
    assert registry.find("dev") is first
    assert registry.find("aa2") is second
    with pytest.raises(SessionAmbiguous, match="fits 2 ids"):
        registry.find("aa")
    for nobody in ("", "bb", "de", "DEV", "aa11aa110"):
        with pytest.raises(SessionNotFound):
            registry.find(nobody)


def test_a_name_wins_over_a_prefix_and_an_id_over_a_name(registry: Registry) -> None:
    first, second = added(registry, "aa11aa11"), added(registry, "bb22bb22", "aa")
    assert registry.find("aa") is second
    assert registry.find("aa1") is first
    # Such a name can't be given any more; a record may still have it.
    third = added(registry, "cc33cc33", "aa11aa11")
    assert registry.find("aa11aa11") is first
    assert registry.find("cc") is third


def test_names_are_unique(registry: Registry) -> None:
    """H4: a suffix with the time, and the user is told; as often as needed."""
    dev = added(registry, "aa11aa11", "dev")
    assert registry.free_name("dev", dev) == ("dev", []), "its own name is not taken"
    names = {"dev"}
    for number in range(3):
        name, notices = registry.free_name("dev")
        assert name is not None
        assert re.fullmatch(r"dev-\d{6}(-\d+)?", name)
        assert name not in names
        assert notices == [f'the name "dev" is taken: this session is called "{name}"']
        names.add(name)
        added(registry, f"0000000{number}", name)
    name, notices = registry.free_name("aa11aa11")
    assert name != "aa11aa11", "it would hide a session"
    assert notices


def test_blank_names_are_none(registry: Registry) -> None:
    for blank in (None, "", "  ", "\t"):
        assert registry.free_name(blank) == (None, [])
    assert registry.free_name(" dev ") == ("dev", [])


@pytest.mark.parametrize("name", ["a b", "-x", "../up", "a/b", "\x1b[31m", "x" * 65, "_", "a\nb", "🦉"])
def test_impossible_names(registry: Registry, name: str) -> None:
    with pytest.raises(RefusedError, match="is no session name"):
        registry.free_name(name)


@pytest.mark.parametrize("name", ["dev", "Übung", "user@host:22", "a.b_c+d-e", "x" * 64, "1"])
def test_possible_names(registry: Registry, name: str) -> None:
    assert registry.free_name(name) == (name, [])


def test_what_the_disk_refuses_is_not_true(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Z2, Z3, Z26: a decision that can't be stored is none. A fact is one all the same."""
    entry = added(registry, "aa11aa11", "dev")
    before = entry.record

    def refuse(*args: Any, **options: Any) -> None:
        raise StoreError("no")

    async def attempts() -> None:
        with pytest.raises(StoreError):
            await registry.change(entry, name="other")
        assert entry.record is before
        with pytest.raises(StoreError):
            await registry.create(Record(id="bb22bb22", name="other"))
        assert "bb22bb22" not in registry
        assert registry.free_name("other") == ("other", [])
        with pytest.raises(StoreError):
            await registry.forget(entry)
        assert registry.find("dev") is entry
        registry.observe(entry, state=State.ENDED)
        assert entry.record.state is State.ENDED
        await registry.settle()

    monkeypatch.setattr(Store, "put", refuse)
    monkeypatch.setattr(Store, "forget", refuse)
    asyncio.run(attempts())


def test_what_was_refused_and_could_not_be_undone_is_stored_as_it_is(
    store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk says what memory does not: until it can be told again."""

    def refuse(*args: Any, **options: Any) -> None:
        put(*args, **options)
        raise StoreError("no", replaced=True)

    async def attempt() -> None:
        entry = await registry.create(Record(id="aa11aa11", name="dev"))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "put", refuse)
            with pytest.raises(StoreError):
                await registry.change(entry, name="other")
        assert entry.record.name == "dev"
        assert [record.name for record in store.load_all()[0]] == ["other"]
        await registry.save_again()
        assert store.load_all()[0] == [entry.record]

    put = Store.put
    asyncio.run(attempt())


def test_every_change_has_its_version(registry: Registry) -> None:
    """A11: so that a late reader can tell old news."""
    entry = added(registry, "aa11aa11")
    versions = [entry.record.version]

    async def change() -> None:
        await registry.change(entry, name="x")
        versions.append(entry.record.version)
        registry.observe(entry, cwd="/")
        versions.append(entry.record.version)
        await registry.settle()

    asyncio.run(change())
    assert versions == sorted(set(versions))


def test_who_waited_for_a_removed_session_learns_of_it(registry: Registry) -> None:
    entry = added(registry, "aa11aa11", "dev")
    registry.check(entry)
    asyncio.run(registry.forget(entry))
    with pytest.raises(SessionNotFound, match="removed"):
        registry.check(entry)
    with pytest.raises(SessionNotFound, match="removed"):
        asyncio.run(registry.change(entry, name="x"))


# --- a name that nobody needs any more ------------------------------------------------------------------


def claimed(registry: Registry, name: str, holder: Any = None) -> tuple[str | None, list[str]]:
    async def claim() -> tuple[str | None, list[str]]:
        found = await registry.claim_name(name, holder)
        await registry.settle()
        return found

    return asyncio.run(claim())


ENDED: dict[str, Any] = {"state": State.ENDED, "end_reason": "exited", "exit_code": 0}


@pytest.mark.parametrize(
    ("facts", "yields"),
    [
        (ENDED, True),
        (ENDED | {"exit_code": None, "exit_signal": 1, "end_requested": True}, True),
        (ENDED | {"exit_code": None, "exit_signal": 1}, False),
        (ENDED | {"end_reason": "lost"}, False),
        ({"state": State.RUNNING}, False),
        ({"state": State.STARTING}, False),
    ],
    ids=["exited", "killed on request", "hung up on", "lost", "running", "starting"],
)
def test_a_session_that_ended_as_wanted_gives_its_name_away(
    store: Store, registry: Registry, facts: dict[str, Any], yields: bool
) -> None:
    """It is kept for a while only; all others may be wanted back by their name."""
    entry = registry.add(Record(id="aa11aa11", name="dev", **facts))
    name, notices = claimed(registry, "dev")
    if yields:
        assert name == "dev"
        assert re.fullmatch(r"dev-\d{6}", entry.record.name or "")
        assert notices == [
            f'the session that was called "dev" has ended: it is called "{entry.record.name}" now'
        ]
        assert store.load_all()[0] == [entry.record]
    else:
        assert entry.record.name == "dev"
        assert name != "dev" and "is taken" in notices[0]


def test_it_keeps_its_name_while_somebody_starts_it_again(registry: Registry) -> None:
    entry = registry.add(Record(id="aa11aa11", name="dev", **ENDED))

    async def meanwhile() -> None:
        async with entry.lock:
            assert (await registry.claim_name("dev"))[0] != "dev"

    asyncio.run(meanwhile())
    assert entry.record.name == "dev"


def test_it_keeps_its_name_where_the_disk_takes_no_other(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.add(Record(id="aa11aa11", name="dev", **ENDED))

    def refuse(*args: Any, **options: Any) -> None:
        raise StoreError("no")

    monkeypatch.setattr(Store, "put", refuse)
    name, notices = claimed(registry, "dev")
    assert entry.record.name == "dev"
    assert name != "dev" and len(notices) == 1


def test_the_same_name_day_by_day(sandbox: Sandbox) -> None:
    sandbox.up()
    for number in range(3):
        done = sandbox.toowl("new", "-d", "-n", "build", "--", "sh", "-c", f"echo run {number}")
        assert done.stderr.count("has ended: it is called") == (number > 0), done.stderr
        wait_displayed(sandbox, "build", "ended (exited 0)")
        assert sandbox.toowl("capture", "build", "--scrollback").stdout == f"run {number}\n"
    shell = sandbox.new("sleep", "999", name="work")
    done = sandbox.toowl("rename", shell["id"], "build")
    assert "has ended: it is called" in done.stderr
    assert sandbox.info("build")["id"] == shell["id"]
    assert len(ls(sandbox)) == 4


# --- while the disk takes its time ----------------------------------------------------------------------


class Disk:
    """Holds up every save until it is let go on with."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.fails = False
        put = Store.put

        def slow(*args: Any, **options: Any) -> None:
            self.begun.release()
            assert self.go.acquire(timeout=20)
            if self.fails:
                raise StoreError("no")
            put(*args, **options)

        patch.setattr(Store, "put", slow)

    async def wait(self) -> None:
        """Until a save has begun that was not waited for before."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=20)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("fails", [False, True], ids=["stored", "refused"])
def test_what_is_observed_while_a_change_is_on_its_way(
    store: Store, registry: Registry, slow: Disk, fails: bool
) -> None:
    """Both are true in the end, in memory and on the disk; or only what was observed, where the change is refused."""
    entry = added(registry, "aa11aa11", "dev")

    async def meanwhile() -> None:
        change = asyncio.create_task(registry.change(entry, name="other"))
        await slow.wait()
        registry.observe(entry, cwd="/tmp")
        registry.observe(entry, state=State.ENDED)
        assert (entry.record.name, entry.record.cwd) == ("dev", "/tmp"), (
            "true at once, what is not yet stored is not"
        )
        slow.fails = fails
        slow.go.release()
        await asyncio.wait([change])
        assert (change.exception() is not None) is fails
        slow.fails = False
        await slow.wait()
        slow.go.release()
        await registry.settle()

    asyncio.run(meanwhile())
    record = entry.record
    assert (record.name, record.cwd, record.state) == ("dev" if fails else "other", "/tmp", State.ENDED)
    assert store.load_all() == ([record], [])
    assert not slow.begun.acquire(blocking=False), "what was observed in two steps is stored in one"


def test_a_name_and_an_id_are_taken_before_they_are_stored(registry: Registry, slow: Disk) -> None:
    entry = added(registry, "aa11aa11", "dev")

    async def meanwhile() -> None:
        tasks = [
            asyncio.create_task(work)
            for work in (
                registry.change(entry, name="new"),
                registry.create(Record(id="bb22bb22", name="newer")),
            )
        ]
        await slow.wait()
        await slow.wait()
        for name in ("dev", "new", "newer", "bb22bb22"):
            assert registry.free_name(name)[0] != name
        assert registry.free_name("new", entry) == ("new", [])
        assert [item.record.id for item in registry] == ["aa11aa11"]
        slow.go.release(2)
        await asyncio.gather(*tasks)
        assert registry.free_name("dev") == ("dev", [])

    asyncio.run(meanwhile())


def test_nothing_is_stored_of_a_session_that_was_removed(
    store: Store, registry: Registry, slow: Disk
) -> None:
    entry = added(registry, "aa11aa11", "dev")

    async def meanwhile() -> None:
        registry.observe(entry, cwd="/tmp")
        await slow.wait()
        removal = asyncio.create_task(registry.forget(entry))
        registry.observe(entry, cwd="/var")
        change = asyncio.create_task(registry.change(entry, name="late"))
        slow.go.release(2)
        await removal
        with pytest.raises(SessionNotFound):
            await change
        await registry.settle()

    asyncio.run(meanwhile())
    assert not store.folder("aa11aa11").exists()


def test_nothing_is_left_of_a_session_that_is_given_up(store: Store, registry: Registry, slow: Disk) -> None:
    """The daemon ends before the disk has answered."""

    async def meanwhile() -> None:
        creation = asyncio.create_task(registry.create(Record(id="aa11aa11")))
        await slow.wait()
        creation.cancel()
        slow.go.release()
        with pytest.raises(asyncio.CancelledError):
            await creation
        assert "aa11aa11" not in registry

    asyncio.run(meanwhile())
    assert not store.folder("aa11aa11").exists()


def test_commands_of_megabytes_fit_into_one_answer(registry: Registry) -> None:
    """The kernel takes such arguments, and all sessions are listed in one frame."""
    for number, argument in enumerate(("x" * (2 << 20), "ü" * (1 << 20), "\udcff" * (1 << 20))):
        registry.add(Record(id=f"aa11aa1{number}", argv=("printf", argument)))
    infos = [entry.info() for entry in registry]
    assert len(encode(Response(1, pack_text({"sessions": infos})))) < MAX_FRAME // 100
    for info in infos:
        assert len(info["command"]) == MAX_COMMAND
        assert (info["command"][:8], info["command"][-1]) == ("printf " + info["command"][7], "…")
    exactly = registry.add(Record(id="bb22bb22", argv=("x" * (MAX_COMMAND - 2), "y")))
    assert exactly.info()["command"] == "x" * (MAX_COMMAND - 2) + " y"


# --- with the daemon ------------------------------------------------------------------------------------


def test_ids_are_eight_hex_digits_and_stay(sandbox: Sandbox) -> None:
    """H1."""
    sandbox.up()
    ids = [sandbox.toowl("new", "-d", "--", "sleep", "999").stdout.strip() for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(re.fullmatch("[0-9a-f]{8}", session) for session in ids)
    sandbox.restart()
    assert set(ls(sandbox)) == set(ids)
    assert {path.name for path in sandbox.paths.sessions.iterdir()} == set(ids)


def test_any_command_takes_id_prefix_or_name(sandbox: Sandbox) -> None:
    """H2."""
    sandbox.up()
    session = sandbox.new("cat", name="dev")["id"]
    for word in (session, session[:5], "dev"):
        sandbox.toowl("send", word, "hello")
        assert session in sandbox.toowl("info", word).stdout
    done = sandbox.toowl("send", "nobody", "x", check=False)
    assert done.returncode == 3
    assert 'session "nobody" not found' in done.stderr


def test_a_taken_name_gets_a_suffix_on_create_and_on_rename(sandbox: Sandbox) -> None:
    """H4, Z26."""
    sandbox.up()
    sandbox.new("sleep", "999", name="dev")
    done = sandbox.toowl("new", "-d", "-n", "dev", "--", "sleep", "999")
    assert re.search(r'name "dev" is taken: this session is called "dev-\d{6}"', done.stderr)
    other = sandbox.new("true", name="other")
    wait_displayed(sandbox, "other", "ended (exited 0)")
    done = sandbox.toowl("rename", "other", "dev")
    assert re.search(r'name "dev" is taken', done.stderr)
    names = {item["name"] for item in ls(sandbox).values()}
    assert len(names) == 3
    assert all(re.fullmatch(r"dev(-\d{6}(-2)?)?", name) for name in names)
    assert ls(sandbox)["dev"]["id"] != other["id"]
    sandbox.toowl("rename", "dev", "dev")  # its own
    sandbox.restart()
    assert {item["name"] for item in ls(sandbox).values()} == names


def test_a_session_that_lost_its_name(sandbox: Sandbox) -> None:
    sandbox.up()
    session = sandbox.toowl("new", "-d", "-n", "  ", "--", "sleep", "999").stdout.strip()
    assert ls(sandbox)[session]["name"] is None
    sandbox.toowl("rename", session, "named")
    assert ls(sandbox)["named"]["id"] == session
    sandbox.toowl("rename", "named", "")
    assert ls(sandbox)[session]["name"] is None
    done = sandbox.toowl("rename", session, "no good", check=False)
    assert done.returncode == 4
    assert "is no session name" in done.stderr
