"""Commands that are run when something happens: what they get, and that they hold nobody up."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.harness import REPOSITORY, Sandbox, alive, wait_for
from toowld.errors import ConfigError
from toowld.settings import schema
from toowld.settings.file import File


def configure(sandbox: Sandbox, text: str) -> None:
    sandbox.configure(f"[hooks]\n{text}")


def lines(sandbox: Sandbox) -> list[str]:
    """What the hooks wrote."""
    try:
        return (sandbox.home / "told").read_text().splitlines()
    except FileNotFoundError:
        return []


def test_a_hook_is_told_what_happened(sandbox: Sandbox) -> None:
    configure(
        sandbox,
        """started = 'echo "$TOOWL_EVENT $TOOWL_NAME $PWD" >> told; toowl tag started=yes'
ended = ['echo "$TOOWL_SESSION $TOOWL_EVENT_REASON $TOOWL_EVENT_CODE" >> told', 'echo "$TOOWL_DATA" >> told']
title = 'printf "%s\\n" "$TOOWL_EVENT_TITLE" >> told'
""",
    )
    program = sandbox.home / "bin/toowl"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexec python -m toowl "$@"\n')
    program.chmod(0o755)
    sandbox.up(PATH=f"{program.parent}:{sandbox.env['PATH']}")
    script = r"printf '\033]0;$(touch no) \342\202\254\a'; read x; exit 3"
    session = sandbox.new("sh", "-c", script, name="work")["id"]
    wait_for(
        lambda: sorted(lines(sandbox)) == ["$(touch no) €", f"started work {sandbox.home}"], what="two hooks"
    )
    wait_for(lambda: sandbox.info("work")["tags"] == {"started": "yes"}, what="what the hook did")
    sandbox.send(session, b"\n")
    wait_for(lambda: len(lines(sandbox)) == 4, what="both hooks of the end")
    assert f"{session} exited 3" in lines(sandbox)
    data = next(json.loads(line) for line in lines(sandbox) if line.startswith("{"))
    assert data == {
        "reason": "exited", "code": 3, "signal": None, "requested": False, "cause": None, "error": None,
    }  # fmt: skip
    assert not (sandbox.home / "no").exists()


def test_one_that_takes_too_long_is_killed_with_all_that_it_started(sandbox: Sandbox) -> None:
    configure(sandbox, "timeout = 0.3\ncreated = 'sleep 999 & echo $! > told; echo slow; wait'\n")
    sandbox.up()
    sandbox.new("sh", name="work")  # nobody waits for it
    wait_for(lambda: lines(sandbox), what="the hook")
    wait_for(lambda: not alive(int(lines(sandbox)[0])), what="its child's end")
    wait_for(lambda: "longer than 0.3 s" in sandbox.daemon_text(), what="the log")
    said = re.compile(r"hook of created, session \w{8}: slow\n")
    wait_for(lambda: said.search(sandbox.daemon_text()), what="what it printed, in the log")


def test_a_few_run_at_once_and_the_rest_waits_or_is_left_out(sandbox: Sandbox) -> None:
    configure(
        sandbox,
        "at_once = 2\ntagged = 'echo begin >> told; while [ ! -e go ]; do sleep 0.05; done; echo end >> told'\n",
    )
    sandbox.up()
    sandbox.new("sh", name="work")
    with sandbox.client() as client:
        for number in range(70):
            client.request("tag", session="work", tags={"number": str(number)})
    wait_for(lambda: len(lines(sandbox)) == 2, what="two of them")
    assert sandbox.info("work")["tags"] == {"number": "69"}
    (sandbox.home / "go").touch()
    wait_for(lambda: lines(sandbox).count("end") == 66, what="those that waited")
    wait_for(lambda: "4 hooks were left out" in sandbox.daemon_text(), what="the log")
    assert len(lines(sandbox)) == 132


def test_what_fails_is_in_the_log_and_other_settings_are_heeded(sandbox: Sandbox) -> None:
    configure(sandbox, "renamed = 'echo oh dear >&2; exit 9'\n")
    sandbox.up()
    sandbox.new("sh", "-c", "read x", name="work")
    sandbox.toowl("rename", "work", "play")
    wait_for(lambda: "exit status 9" in sandbox.daemon_text(), what="the log")
    assert "oh dear" in sandbox.daemon_text()
    configure(
        sandbox, "idle_after = 0.5\nidle = 'echo idle >> told'\ninput = 'echo $TOOWL_EVENT_WAITING >> told'\n"
    )
    sandbox.toowld("reload")
    wait_for(lambda: "input" in lines(sandbox), what="the hook of what waits")
    sandbox.send("play", b"")
    assert sandbox.daemon_text().count("exit status 9") == 1


def test_the_end_of_the_daemon_is_theirs(sandbox: Sandbox) -> None:
    configure(sandbox, "created = 'echo $$ > told; exec sleep 999'\n")
    sandbox.up()
    sandbox.new("sh")
    pid = int(wait_for(lambda: lines(sandbox), what="the hook")[0])
    assert sandbox.signal(signal.SIGTERM) == 0
    assert not alive(pid)


def test_only_events_that_there_are_can_be_hooked() -> None:
    with pytest.raises(ConfigError, match=r"f:2: unknown key 'hooks.end': did you mean 'ended'\?"):
        File("f", "[hooks]\nend = 'x'\n").check()
    with pytest.raises(ConfigError, match="must be a text or a list of texts"):
        File("f", "[hooks]\nended = 3\n").check()
    free = schema.free("hooks")
    assert free is not None
    documented = (
        (REPOSITORY / "docs/protocol.md").read_text().partition("### Events")[2].partition("\n\n`umask`")[0]
    )
    named = {
        name
        for row in re.findall(r"^\| (`[^|]*)\|", documented, re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", row)
    }
    assert named - {"missed"} == set(free.names)


def test_it_says_where_the_daemon_is(sandbox: Sandbox) -> None:
    configure(sandbox, "created = 'env > told'\n")
    sandbox.up()
    sandbox.new("sh")
    wait_for(lambda: any(line.startswith("TOOWL_DATA") for line in lines(sandbox)), what="the hook")
    found = dict(line.partition("=")[::2] for line in lines(sandbox))
    assert found["TOOWL_RUNTIME_DIR"] == str(sandbox.paths.runtime)
    assert "TOOWLD_PERSISTENT_SESSIONS" not in found and "NOTIFY_SOCKET" not in found
    assert os.path.isabs(found["PWD"])  # noqa: PTH117
