"""The doctor: each check over made-up facts, the gathering against /proc and a stand-in daemon."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Sandbox
from toowld import __version__, wire
from toowld.classes import replace
from toowld.daemon.doctor import Facts, Finding, Status, as_object, as_text, examine, exit_status, gather, run
from toowld.daemon.doctor.facts import Folder, Keeper, Service
from toowld.daemon.doctor.gather import (
    cgroup_in,
    cgroup_of,
    filesystem_of,
    listening_pid,
    look_at_folder,
    service_in,
)
from toowld.paths import Paths

GIB = 1 << 30
UNIT = "/system.slice/toowld.service"

REPORT: dict[str, Any] = {
    "version": "1.0",
    "pid": 100,
    "uptime": 7200.0,
    "persistent_enabled": True,
    "persistent_value": "1",
    "under_systemd": True,
    "rlimit_nofile": [4096, 524288],
    "fds_open": 12,
    "custodians": [
        {"id": "aaaaaaaa", "pid": 200, "version": "1.0", "state": "ok", "scope": "toowl-aaaaaaaa.scope"}
    ],
    "skipped": [],
    "scopes": "system",
    "scopes_reason": None,
}

SERVICE = Service(
    unit="toowld.service",
    user=False,
    cgroup=UNIT,
    properties={
        "MainPID": "100",
        "Type": "notify",
        "KillMode": "process",
        "Restart": "on-failure",
        "OOMPolicy": "continue",
        "RuntimeDirectory": "toowl",
        "RuntimeDirectoryPreserve": "yes",
        "PrivateTmp": "no",
        "NoNewPrivileges": "no",
        "ProtectHome": "no",
        "ProtectSystem": "no",
        "FragmentPath": "/etc/systemd/system/toowld.service",
    },
)

KEEPER = Keeper(session="aaaaaaaa", pid=200, build="1.0", cgroup="/system.slice/toowl-aaaaaaaa.scope")

WELL = Facts(
    version="1.0",
    system="Debian GNU/Linux 12",
    uid=1000,
    user="ada",
    runtime=Folder(path="/run/toowl", uid=1000),
    state=Folder(
        path="/var/lib/toowl", uid=1000, free_bytes=50 * GIB, total_bytes=100 * GIB, filesystem="ext4"
    ),
    socket="/run/toowl/toowld.sock",
    socket_mode=0o600,
    own_flag=None,
    report=REPORT,
    error=None,
    listener=100,
    sessions=({"id": "aaaaaaaa", "state": "running", "persistent": True, "degraded": False},),
    keepers=(KEEPER,),
    service=SERVICE,
    linger=True,
    pty_used=3,
    pty_max=4096,
    wall=1_800_000_000.0,
    config="/home/ada/.config/toowl/config.toml",
    config_problems=(),
    emulator_error=None,
    clock_jump=0.01,
)

DOWN = replace(WELL, report=None, error="no toowld is running", listener=None, sessions=None, service=None)


def with_report(**changes: Any) -> Facts:
    return replace(WELL, report={**REPORT, **changes})


def with_unit(**changes: str) -> Facts:
    return replace(WELL, service=replace(SERVICE, properties={**(SERVICE.properties or {}), **changes}))


def with_state(**changes: Any) -> Facts:
    return replace(WELL, state=replace(WELL.state, **changes))


def remote(idle_timeout: float, key: str = "idle_timeout_remote") -> dict[str, Any]:
    """A session that was made over a connection."""
    return {"id": "aaaaaaaa", "idle_timeout": idle_timeout, "key": key}


def found(facts: Facts, what: str) -> list[Finding]:
    return [finding for finding in examine(facts) if finding.what == what]


def bad(facts: Facts) -> list[tuple[str, str]]:
    return [(f.status.value, f.what) for f in examine(facts) if f.status is not Status.OK]


# -- judging ---------------------------------------------------------------------------------------------


def test_a_well_installation_has_nothing_to_do() -> None:
    findings = examine(WELL)
    assert bad(WELL) == []
    assert exit_status(findings) == 0
    assert [finding for finding in findings if finding.next_step] == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(DOWN, [("fail", "daemon")], id="daemon down"),
        pytest.param(replace(DOWN, listener=77), [("fail", "daemon")], id="daemon stuck"),
        pytest.param(with_report(version="0.9"), [("warn", "versions")], id="daemon older than the client"),
        pytest.param(
            replace(WELL, keepers=(replace(KEEPER, build="0.9"),)), [("warn", "versions")], id="old custodian"
        ),
        pytest.param(
            with_report(persistent_enabled=False, persistent_value=None), [("warn", "persistent")], id="off"
        ),
        pytest.param(
            replace(WELL, config_problems=("c:2: no",)), [("fail", "settings")], id="wrong settings"
        ),
        pytest.param(replace(WELL, socket_mode=0o666), [("fail", "socket")], id="socket open to others"),
        pytest.param(
            replace(WELL, runtime=replace(WELL.runtime, kind="symlink")), [("fail", "runtime")], id="symlink"
        ),
        pytest.param(
            replace(WELL, runtime=replace(WELL.runtime, kind="missing")),
            [("fail", "runtime")],
            id="runtime gone",
        ),
        pytest.param(with_state(uid=0), [("fail", "state")], id="foreign folder"),
        pytest.param(with_state(mode=0o755), [("fail", "state")], id="folder open to others"),
        pytest.param(with_state(read_only=True), [("fail", "state")], id="read-only"),
        pytest.param(with_state(filesystem="tmpfs"), [("warn", "state")], id="state in memory"),
        pytest.param(with_state(free_bytes=0), [("fail", "space")], id="disk full"),
        pytest.param(with_state(free_bytes=GIB - 1), [("warn", "space")], id="less than 1 GiB"),
        pytest.param(with_state(free_bytes=4 * GIB), [("warn", "space")], id="less than 5 %"),
        pytest.param(
            replace(WELL, sessions=({"id": "aaaaaaaa", "state": "running", "degraded": True},)),
            [("warn", "sessions")],
            id="degraded",
        ),
        pytest.param(
            replace(WELL, keepers=(replace(KEEPER, build=None),)), [("warn", "custodians")], id="hangs"
        ),
        pytest.param(
            replace(WELL, keepers=(replace(KEEPER, pid=None, build=None),)),
            [("warn", "custodians")],
            id="stale",
        ),
        pytest.param(with_report(custodians=[]), [("warn", "custodians")], id="not adopted"),
        pytest.param(
            with_report(custodians=[{"id": "aaaaaaaa", "state": "unreachable", "scope": "x"}]),
            [("warn", "custodians")],
            id="answers only us",
        ),
        pytest.param(
            with_report(skipped=[{"path": "/run/toowl/custodians/x", "reason": "not a socket"}]),
            [("warn", "start scan")],
            id="skipped",
        ),
        pytest.param(
            with_report(
                skipped=[
                    {
                        "path": "/run/toowl/custodians/aaaaaaaa.sock",
                        "reason": "unreachable: it does not answer",
                    },
                    {
                        "path": "/run/toowl/custodians/bbbbbbbb.sock",
                        "reason": "stale: nobody listens there; removed",
                    },
                ]
            ),
            [],
            id="skipped, but nothing to look at",
        ),
        pytest.param(with_unit(KillMode="control-group"), [("warn", "KillMode")], id="KillMode, but scopes"),
        pytest.param(
            with_unit(RuntimeDirectoryPreserve="no"), [("fail", "RuntimeDirectoryPreserve")], id="preserve no"
        ),
        pytest.param(
            with_unit(RuntimeDirectoryPreserve="restart"),
            [("warn", "RuntimeDirectoryPreserve")],
            id="preserve restart",
        ),
        pytest.param(
            with_unit(RuntimeDirectory="", RuntimeDirectoryPreserve="no"), [], id="no runtime directory"
        ),
        pytest.param(with_unit(OOMPolicy="stop"), [("warn", "OOMPolicy")], id="OOMPolicy"),
        pytest.param(with_unit(Type="simple"), [("warn", "Type")], id="Type"),
        pytest.param(with_unit(Restart="no"), [("warn", "Restart")], id="Restart"),
        pytest.param(with_unit(NoNewPrivileges="yes"), [("warn", "sandboxing")], id="sandboxing"),
        pytest.param(with_unit(PrivateTmp="yes"), [], id="PrivateTmp, sockets elsewhere"),
        pytest.param(
            replace(with_unit(PrivateTmp="yes"), runtime=Folder(path="/tmp/toowl-1000", uid=1000)),
            [("fail", "PrivateTmp")],
            id="PrivateTmp, sockets in /tmp",
        ),
        pytest.param(with_unit(MainPID="5"), [("warn", "systemd")], id="in a foreign service"),
        pytest.param(
            replace(WELL, service=replace(SERVICE, properties=None, error="no bus")),
            [("warn", "systemd")],
            id="no bus",
        ),
        pytest.param(
            with_report(custodians=[{"id": "aaaaaaaa", "state": "ok", "scope": None}]),
            [("warn", "scopes")],
            id="a custodian without a scope",
        ),
        pytest.param(
            with_report(scopes="none", scopes_reason="no bus"), [], id="no manager, KillMode is right"
        ),
        pytest.param(
            replace(WELL, linger=False, service=replace(SERVICE, user=True)),
            [("fail", "linger")],
            id="linger, user unit",
        ),
        pytest.param(
            replace(WELL, linger=False, runtime=Folder(path="/run/user/1000/toowl", uid=1000)),
            [("warn", "linger")],
            id="linger, by hand",
        ),
        pytest.param(replace(WELL, linger=False), [], id="linger, system unit"),
        pytest.param(with_report(rlimit_nofile=[256, 4096]), [("warn", "open files")], id="few descriptors"),
        pytest.param(with_report(fds_open=4000), [("warn", "open files")], id="descriptors nearly used up"),
        pytest.param(with_report(rlimit_nofile=[-1, -1]), [], id="no limit"),
        pytest.param(with_report(remote=[remote(172800.0)]), [("warn", "idle timeout")], id="two days"),
        pytest.param(with_report(remote=[remote(259200.0), remote(0)]), [], id="three days, or for ever"),
        pytest.param(
            with_report(remote=[remote(60.0, "idle_timeout")]), [], id="a minute, as somebody wants"
        ),
        pytest.param(replace(WELL, pty_used=4096), [("fail", "terminals")], id="no PTY left"),
        pytest.param(replace(WELL, pty_used=4000), [("warn", "terminals")], id="few PTYs left"),
        pytest.param(replace(WELL, wall=12345.0), [("warn", "clock")], id="clock never set"),
        pytest.param(replace(WELL, clock_jump=-3600.0), [("warn", "clock")], id="clock moved"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_else(facts: Facts, expected: list[tuple[str, str]]) -> None:
    assert bad(facts) == expected
    for finding in examine(facts):
        assert "\n" not in finding.detail
        assert (finding.next_step is None) == (finding.status is Status.OK)


def test_killmode_fails_when_it_would_cost_sessions() -> None:
    inside = replace(with_unit(KillMode="control-group"), keepers=(replace(KEEPER, cgroup=UNIT),))
    (finding,) = found(inside, "KillMode")
    assert finding.status is Status.FAIL
    assert "aaaaaaaa" in finding.detail


def test_a_cgroup_beside_the_service_is_not_inside_it() -> None:
    beside = replace(with_unit(KillMode="control-group"), keepers=(replace(KEEPER, cgroup=UNIT + "2"),))
    assert found(beside, "KillMode")[0].status is Status.WARN


def test_down_says_that_kept_sessions_run_on() -> None:
    (finding,) = found(DOWN, "daemon")
    assert "1 kept session(s) run on" in finding.detail
    assert finding.next_step is not None
    assert "toowld --detach" in finding.next_step
    assert exit_status(examine(DOWN)) == 1


@pytest.mark.parametrize(
    ("value", "own", "words"),
    [
        (None, "1", "set in this shell"),
        (None, None, "off for the running daemon"),
        ("yes", None, "means nothing"),
        ("0", None, "off for the running daemon"),
    ],
)
def test_a_daemon_without_the_flag_is_explained(value: str | None, own: str | None, words: str) -> None:
    facts = replace(with_report(persistent_enabled=False, persistent_value=value), own_flag=own)
    assert words in found(facts, "persistent")[0].detail


def test_the_shell_of_the_caller_does_not_turn_the_flag_off() -> None:
    assert found(replace(WELL, own_flag="0"), "persistent")[0].status is Status.OK


def test_a_reboot_is_mentioned_always() -> None:
    for facts in (WELL, DOWN):
        assert found(facts, "reboot")[0].status is Status.OK


# -- printing --------------------------------------------------------------------------------------------


def test_text_is_a_line_a_finding_with_the_next_step_below() -> None:
    lines = as_text([Finding(Status.OK, "a", "well"), Finding(Status.WARN, "longer", "not", "do it")]).split(
        "\n"
    )
    assert lines == [
        "ok    a       well",
        "warn  longer  not",
        "              next: do it",
        "1 ok, 1 to look at, 0 failing",
    ]


def test_json_has_the_same() -> None:
    answer = json.loads(as_object([Finding(Status.FAIL, "a", "b", "c")]))
    assert answer == {"ok": False, "findings": [{"status": "fail", "what": "a", "detail": "b", "next": "c"}]}


# -- looking ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("/system.slice/toowld.service", ("toowld.service", False)),
        ("/system.slice/system-toowld.slice/toowld@ada.service", ("toowld@ada.service", False)),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/toowld.service", ("toowld.service", True)),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/toowl-aaaaaaaa.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", None),
        ("/", None),
        ("/docker/0123", None),
    ],
)
def test_the_service_of_a_cgroup(cgroup: str, expected: tuple[str, bool] | None) -> None:
    assert service_in(cgroup) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/system.slice/a.service\n", "/system.slice/a.service"),
        ("4:memory:/x/y/z\n1:name=systemd:/system.slice/a.service\n", "/system.slice/a.service"),
        ("9:name=systemd:/\n4:memory:/x\n0::/system.slice/a.service\n", "/system.slice/a.service"),
        ("0::/\n", "/"),
        ("", None),
    ],
)
def test_the_cgroup_of_systemd_among_others(text: str, expected: str | None) -> None:
    assert cgroup_in(text) == expected


def test_file_system_is_that_of_the_innermost_mount() -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:1 / /home/a\\040b rw shared:1 - tmpfs tmpfs rw\n"
        "3 1 0:2 / /home/a\\040b rw - xfs /dev/sdb rw\n"
    )
    assert filesystem_of(Path("/home/a b/state"), mounts) == "xfs"
    assert filesystem_of(Path("/home/a"), mounts) == "ext4"
    assert filesystem_of(Path("/home/a"), None) is None


def test_folders_are_seen_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    assert look_at_folder(tmp_path / "link").kind == "symlink"
    assert look_at_folder(tmp_path / "file").kind == "other"
    assert look_at_folder(tmp_path / "none").kind == "missing"
    tmp_path.chmod(0o750)
    seen = look_at_folder(tmp_path)
    assert (seen.kind, seen.mode, seen.uid) == ("folder", 0o750, os.getuid())
    assert seen.total_bytes is not None
    assert seen.total_bytes >= (seen.free_bytes or 0) > 0


def test_our_own_cgroup_is_found() -> None:
    cgroup = cgroup_of(os.getpid())
    assert cgroup is None or cgroup.startswith("/")
    assert cgroup_of(2**22 + 1) is None  # above the largest pid there can be


Answers = dict[str, Any]


def converse(link: socket.socket, answers: Answers, about: dict[str, Any]) -> None:
    decoder = wire.FrameDecoder()
    link.sendall(wire.encode(wire.Hello(about=about)))
    while data := link.recv(65536):
        decoder.feed(data)
        for message in decoder.messages():
            if isinstance(message, wire.Request):
                link.sendall(wire.encode(wire.Response(message.id, answers[message.method])))


Listen = Callable[..., None]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """``listen(path, answers, about)`` plays a daemon or custodian; with ``answers`` None one that hangs."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, answers: Answers, about: dict[str, Any]) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:  # the fixture ends
                return
            with link, contextlib.suppress(OSError):  # some only look who listens, and hang up
                converse(link, answers, about)

    def start(path: Path, answers: Answers | None, **about: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen()
        listeners.append(listener)
        if answers is not None:
            threads.append(threading.Thread(target=serve, args=(listener, answers, about)))
            threads[-1].start()

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        listener.close()
    for thread in threads:
        thread.join(5)


def prepared(box: Sandbox) -> Paths:
    box.paths.prepare()
    return box.paths


def test_nothing_there(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(sandbox.paths, as_json=False) == 1
    text = capsys.readouterr().out
    assert f"none is running at {sandbox.paths.daemon_socket}" in text
    assert not sandbox.paths.runtime.exists(), "looking makes nothing"


def test_a_running_daemon_is_asked(
    sandbox: Sandbox, listen: Listen, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = prepared(sandbox)
    report = {**REPORT, "version": __version__, "pid": os.getpid(), "scopes": "none", "scopes_reason": "test"}
    answers = {
        "doctor": report,
        "list": {"sessions": list(WELL.sessions or ())},
        "status": {"started_at": time.time()},
    }
    listen(paths.daemon_socket, answers, role="daemon", build=__version__)
    listen(paths.custodian_socket("aaaaaaaa"), {}, role="custodian", build=__version__)
    facts = gather(paths, {})
    assert facts.report == report
    assert facts.listener == os.getpid()
    assert [(k.session, k.pid, k.build) for k in facts.keepers] == [("aaaaaaaa", os.getpid(), __version__)]
    assert facts.socket_mode == 0o600
    assert run(paths, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_stale_hung_and_odd_files(sandbox: Sandbox, listen: Listen) -> None:
    paths = prepared(sandbox)
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(os.fspath(paths.custodian_socket("00000000")))
    listen(paths.custodian_socket("11111111"), None)
    (paths.custodians / "garbage.sock").write_bytes(b"no socket")
    facts = gather(paths, {})
    assert [(k.session, k.pid, k.build) for k in facts.keepers] == [
        ("00000000", None, None),
        ("11111111", os.getpid(), None),
    ]


def test_the_listener_of_a_socket(sandbox: Sandbox, listen: Listen) -> None:
    paths = prepared(sandbox)
    listen(paths.daemon_socket, None)
    assert listening_pid(paths.daemon_socket) == os.getpid()
    assert listening_pid(paths.runtime / "none") is None


def test_no_secret_is_printed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2")
    monkeypatch.setenv("TOOWLD_PERSISTENT_SESSIONS", "hunter2")
    run(sandbox.paths, as_json=True)
    run(sandbox.paths, as_json=False)
    assert "hunter2" not in capsys.readouterr().out
