"""`toowl audit`: the audit log, for people and as objects."""

from __future__ import annotations

import json

from tests.harness import PAINTED, Sandbox, wait_for


def test_who_did_what(sandbox: Sandbox) -> None:
    """By every name that a session had, also when it is forgotten and no daemon runs; nothing of what was typed."""
    sandbox.up()
    sandbox.toowl("new", "-d", "-n", "work", "--", "/bin/cat")
    sandbox.toowl("new", "-d", "-n", "other", "--", "/bin/cat")
    session = sandbox.info("work")["id"]
    terminal = sandbox.attach_pty("work")
    terminal.expect(PAINTED)
    terminal.send("secret\r\x1cd")
    assert terminal.wait() == 0
    sandbox.toowl("rename", "work", "play")
    sandbox.toowl("kill", "play")
    sandbox.toowl("rm", "play")
    sandbox.stop()

    lines = sandbox.toowl("audit", "work").stdout.splitlines()
    assert sandbox.toowl("audit", "play").stdout.splitlines() == lines
    assert sandbox.toowl("audit", session[:5]).stdout.splitlines() == lines
    (attached,) = [line for line in lines if "attach asked" in line]
    assert "read_only=false  by uid=" in attached and " tty=/dev/pts/" in attached
    assert [line.split("  ")[1] for line in lines if "renamed" in line] == ["play"]
    assert lines.index(attached) < next(at for at, line in enumerate(lines) if "kill asked" in line)
    assert not [line for line in lines if "secret" in line or "other" in line]
    everything = [json.loads(line) for line in sandbox.toowl("audit", "--json").stdout.splitlines()]
    assert everything[0]["event"] == "daemon-started" and everything[-1]["event"] == "daemon-stopped"
    assert {entry.get("name") for entry in everything} == {None, "work", "play", "other"}
    assert sandbox.toowl("audit", "--until", "@1000").stdout == ""
    assert len(sandbox.toowl("audit", "--since", "@1000").stdout.splitlines()) == len(everything)
    unknown = sandbox.toowl("audit", "nobody", check=False)
    assert (unknown.returncode, unknown.stdout) == (3, "") and "`toowl audit` shows all" in unknown.stderr


def test_older_files_and_what_is_none(sandbox: Sandbox) -> None:
    path = sandbox.paths.audit
    nothing = sandbox.toowl("audit")
    assert nothing.stdout == "" and "nothing is noted" in nothing.stderr
    sandbox.configure("[audit]\nmax_bytes = 4096\nkeep = 12\n")
    sandbox.up()
    sandbox.toowl("new", "-d", "-n", "work", "--", "/bin/cat")
    with sandbox.client() as client:
        for number in range(1, 150):
            client.request("send", session="work", data=b"x" * number)
    wait_for(lambda: '"bytes": 149' in path.read_text())
    assert path.with_name(f"{path.name}.2").exists()
    with path.open("a") as file:
        file.write('{"half a line')
    entries = [json.loads(line) for line in sandbox.toowl("audit", "--json").stdout.splitlines()]
    sizes = [entry["bytes"] for entry in entries if entry.get("request") == "send"]
    assert sizes == list(range(1, 150)), "oldest first, over all files"
