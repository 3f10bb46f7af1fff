"""Which value holds: every level against every other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from toowld.errors import ConfigError
from toowld.settings import schema
from toowld.settings.file import File
from toowld.settings.resolve import Settings, is_open, said_of_session, variable

SAYS = (None, True, False)
HOST = "me@host"


def settings(text: str = "", environ: Mapping[str, str] | None = None, *, gate: bool = False) -> Settings:
    return Settings(File("f", text), environ, gate=gate)


@pytest.mark.parametrize("gate", [True, False], ids=["gate open", "gate closed"])
def test_session_goes_before_connection_goes_before_global(gate: bool) -> None:
    """I1: what each level says, or does not; X3: an open gate is the default, and no more than that."""

    def said(value: bool | None) -> str:
        return "" if value is None else f"persistent = {str(value).lower()}\n"

    for session, connection, everywhere in itertools.product(SAYS, repeat=3):
        text = f'[connections."{HOST}"]\n{said(connection)}[defaults]\n{said(everywhere)}'
        found = settings(text, gate=gate)
        own = {} if session is None else {"persistent": session}
        wanted = next((one for one in (session, connection, everywhere) if one is not None), gate)
        assert found.of_session(own, HOST).persistent is wanted, (session, connection, everywhere)
        elsewhere = next((one for one in (session, everywhere) if one is not None), gate)
        assert found.of_session(own, "me@other").persistent is elsewhere
        assert found.of_session(own).persistent is elsewhere
        told = found.explain(said=own, connection=HOST)["defaults.persistent"]
        assert told.value is wanted
        levels = (
            (session, "session"),
            (connection, "f:2"),
            (everywhere, f"f:{2 + (connection is not None) + 1}"),
        )
        by_gate = f"environment, {schema.GATE}" if gate else "default"
        assert told.origin == next((origin for value, origin in levels if value is not None), by_gate)


@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "not enabled"])
def test_which_idle_timeout_holds(enabled: bool) -> None:
    """X4, X5: session, connection, [defaults], then [reaper]; 0 is an answer too, and means never."""
    says: tuple[int | None, ...] = (None, 0, 60)

    def said(value: int | None, times: int) -> str:
        return "" if value is None else f"idle_timeout = {value * times}\n"

    for session, connection, everywhere in itertools.product(says, repeat=3):
        found = settings(
            f'[connections."{HOST}"]\n{said(connection, 2)}[defaults]\n{said(everywhere, 3)}'
            f"[reaper]\nenabled = {str(enabled).lower()}\n"
        )
        own = {} if session is None else {"idle_timeout": float(session)}
        levels = [(session, 1), (connection, 2), (everywhere, 3)]
        for over, among, last in (
            (HOST, levels, (172800.0, "idle_timeout_remote")),
            ("me@other", [levels[0], levels[2]], (172800.0, "idle_timeout_remote")),
            (None, [levels[0], levels[2]], (86400.0, "idle_timeout_named") if enabled else None),
        ):
            narrowest = next((value * times for value, times in among if value is not None), None)
            wanted = last if narrowest is None else (float(narrowest), "idle_timeout")
            assert found.idle_timeout(own, over, named=True) == wanted, (session, connection, everywhere)
    unnamed = settings("[reaper]\nenabled = true\nidle_timeout_remote = '3d'\n")
    assert unnamed.idle_timeout({}, None, named=False) == (3600.0, "idle_timeout_anonymous")
    assert unnamed.idle_timeout({}, HOST, named=False) == (259200.0, "idle_timeout_remote")


@pytest.mark.parametrize("full", schema.everything())
def test_environment_goes_before_file_goes_before_default(full: str) -> None:
    """I6, for every key that there is; and flags, which are what is said for a session."""
    table, _, name = full.partition(".")
    key, default = schema.everything()[full], schema.default(table, name)
    samples = {
        schema.Kind.FLAG: ("true", "false", True, False),
        schema.Kind.WORD: ("'latest'", "smallest", "latest", "smallest"),
        schema.Kind.TEXT: ("'a'", "b", "a", "b"),
        schema.Kind.TEXTS: ('["A"]', "B", ("A",), ("B",)),
    }
    lower, upper = (17_000_000, 18_000_000) if key.most == math.inf else (int(key.most) - 1, int(key.most))
    in_file, in_environment, first, second = samples.get(key.kind, (str(lower), str(upper), lower, upper))
    text, environ = f"[{table}]\n{name} = {in_file}\n", {variable(full): in_environment}
    for has_file, has_environment in itertools.product((False, True), repeat=2):
        found = settings(text if has_file else "", environ if has_environment else {})
        wanted = second if has_environment else first if has_file else default
        assert getattr(getattr(found, table), name) == wanted
        told = found.explain()[full]
        if has_environment:
            assert told.origin == f"environment, {variable(full)}"
        else:
            assert told.origin == ("f:2" if has_file else "default")
        if wanted is not None:
            assert told.value == wanted
    if key.session:
        assert getattr(settings(text, environ).of_session({name: first}), name) == first


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^environment: 'TOOWLD_DAEMON_TICK' must be a number of seconds"):
        settings("", {"TOOWLD_DAEMON_TICK": "soon"})


def test_the_gate_is_no_key_and_other_variables_are_nobodys() -> None:
    found = settings("", {"TOOWLD_SCOPES": "0", "TOOWLD_NONE_SUCH": "1", schema.GATE: "1"})
    assert found.gate is False, "whoever loads says so"
    assert [is_open({schema.GATE: word}) for word in ("1", "true", " TRUE ", "yes", "0", "")] == [
        True
    ] * 3 + [False] * 3


def test_what_is_different_is_told_with_when_it_is_heeded() -> None:
    before = settings("[daemon]\ntick = 5\n[defaults]\nsize = 'latest'\n")
    after = settings(f"[daemon]\nscan_timeout = 2\n[connections.'{HOST}']\npersistent = true\n")
    assert after.news(before) == [
        "daemon.tick = 30 (was 5): heeded at once",
        'defaults.size = "smallest" (was "latest"): heeded for sessions that are made from now on',
        f'connections."{HOST}" has changed: heeded for sessions that are made from now on',
    ]
    assert after.news(after) == []


def test_what_is_said_for_a_session_is_checked() -> None:
    assert said_of_session({"size": "latest", "persistent": "yes", "scrollback_bytes": "1MiB"}) == {
        "size": "latest",
        "persistent": True,
        "scrollback_bytes": 1 << 20,
    }
    assert said_of_session({"size": None, "persistent": False}) == {"size": None, "persistent": False}
    for changes, told in (
        ({"tick": "3"}, "unknown setting 'tick' of a session"),
        ({"persistant": "true"}, "did you mean 'persistent'"),
        ({"scrollback_bytes": "1"}, "at least 16384"),
        ({"persistent": 1}, "must be true or false"),
    ):
        with pytest.raises(ConfigError, match=told):
            said_of_session(changes)


def test_loading_takes_file_and_environment(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[daemon]\ntick = 5\n")
    found = Settings.load(path, {schema.GATE: "1", "TOOWLD_DAEMON_SCAN_TIMEOUT": "1s"})
    assert (found.daemon.tick, found.daemon.scan_timeout, found.gate) == (5.0, 1.0, True)
    assert Settings.load(tmp_path / "none", {}).daemon == schema.Daemon()
    path.write_text("[daemon]\ntik = 5\n")
    with pytest.raises(ConfigError, match=r"config.toml:2: unknown key 'daemon.tik'"):
        Settings.load(path, {})
