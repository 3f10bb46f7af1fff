"""Every command once against the real daemon, as a user would type them."""

from __future__ import annotations

import json
import os
import subprocess

import psutil
import pytest

from tests.harness import Sandbox, need_program, wait_for


def capture(sandbox: Sandbox, session: str) -> str:
    return sandbox.toowl("capture", session, "--scrollback").stdout


def listed(sandbox: Sandbox) -> dict[str, str]:
    """Name (or id) to STATUS."""
    return {
        found["name"] or found["id"]: ("P " if found["persistent"] else "- ") + found["display"]
        for found in json.loads(sandbox.toowl("ls", "--json").stdout)
    }


@pytest.mark.parametrize("flag", [True, False], ids=["persistent", "standard"])
def test_a_life(sandbox: Sandbox, flag: bool) -> None:
    mark = "P" if flag else "-"
    sandbox.up(flag)
    made = sandbox.toowl("new", "-d", "-n", "work", "--env", "GREETING=hel", "--", "sh", ODD="ä")
    session = made.stdout.strip()
    assert made.stdout == session + "\n" and len(session) == 8 and made.stderr == ""
    assert f"{mark} detached" in sandbox.toowl("ls").stdout

    sandbox.toowl("send", "work", 'echo "${GREETING}lo $ODD $TOOWL_SESSION"; pwd')
    wait_for(
        lambda: f"hello ä {session}\n{sandbox.root}\n" in capture(sandbox, session[:4]), what="the answer"
    )
    sandbox.toowl("resize", "work", "101x31")
    sandbox.toowl("send", "work", "stty size")
    wait_for(lambda: "\n31 101\n" in capture(sandbox, "work"), what="the new size")
    sandbox.toowl("send", "work", "cat")
    sandbox.toowl("send", "work", "--keys", "x", "C-d", "C-d")
    sandbox.toowl("send", "work", "--stdin", input=b"echo still he\\\nre\n")
    wait_for(lambda: "still here\n" in capture(sandbox, "work"), what="the shell behind cat")
    assert "still here\n" in sandbox.toowl("capture", "work", "--lines", "2").stdout

    info = json.loads(sandbox.toowl("info", "work", "--json").stdout)
    assert psutil.pid_exists(info["pid"])
    assert str(info["pid"]) in sandbox.toowl("info", "work").stdout
    sandbox.toowl("rename", "work", "play")
    assert "nobody" in sandbox.toowl("detach", "play").stderr

    refused = sandbox.toowl("rm", "play", check=False)
    assert refused.returncode == 4 and "toowl kill" in refused.stderr
    refused = sandbox.toowl("restart", "play", check=False)
    assert refused.returncode == 4 and "--yes" in refused.stderr
    sandbox.toowl("restart", "play", "--yes")
    again = json.loads(sandbox.toowl("info", "play", "--json").stdout)
    assert again["id"] == session and again["pid"] != info["pid"] and not psutil.pid_exists(info["pid"])

    sandbox.toowl("kill", "play")
    assert listed(sandbox)["play"].startswith(f"{mark} ended")
    sandbox.toowl("export", "play", "-o", "play.cast")
    assert "still here" in (sandbox.root / "play.cast").read_text()
    sandbox.toowl("rm", "play")
    assert listed(sandbox) == {}
    gone = sandbox.toowl("info", "play", check=False)
    assert gone.returncode == 3 and '"play" not found' in gone.stderr


@pytest.mark.parametrize("flag", [True, False], ids=["persistent", "standard"])
def test_info_shows_what_a_program_tells_of_itself(sandbox: Sandbox, flag: bool) -> None:
    sandbox.up(flag)
    session = sandbox.new("sh", name="work")["id"]
    assert sandbox.info("work")["bells"] == 0

    def told(text: str) -> dict[str, object]:
        sandbox.send(session, f"printf '{text}'\n".encode())
        sandbox.send(session, b"printf '\\033]2;%s\\007' $((title=title+1))\n")
        titles[0] += 1
        return wait_for(
            lambda: (info := sandbox.info("work"))["title"] == str(titles[0]) and info, what="the title"
        )

    titles = [0]
    assert told("\\a\\a")["bells"] == 2
    info = told("\\033]7;file://host/tmp\\007\\033]133;C\\007")
    assert (info["prompt"], info["last_exit"], info["cwd_url"]) == ("command", None, "file://host/tmp")
    told("\\033]133;D;3\\033\\\\\\033]133;A\\007")
    text = sandbox.toowl("info", "work").stdout
    assert "at its prompt; the last one exited 3\n" in text and "bells  " in text and "title  " in text
    sandbox.toowl("kill", "work")
    assert sandbox.info("work")["title"] is None


def test_inside_a_session(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.toowl("new", "-d", "-n", "in", "--", "sh")
    sandbox.toowl("send", "in", "python -m toowl rename inner && python -m toowl info | head -2")
    wait_for(lambda: "inner" in listed(sandbox), what="the new name")
    sandbox.toowl("send", "inner", "python -m toowl export -o me.cast; echo exported=$?")
    wait_for(lambda: "exported=0" in capture(sandbox, "inner"), what="the export")
    sandbox.toowl("send", "inner", "python -m toowl attach inner; echo attached=$?")
    wait_for(lambda: "attached=4" in capture(sandbox, "inner"), what="the refusal")
    assert "you are inside it already" in capture(sandbox, "inner")
    sandbox.toowl("send", "inner", "python -m toowl kill")
    wait_for(lambda: "ended" in listed(sandbox)["inner"], what="its end")


def test_with_the_daemon_down(sandbox: Sandbox) -> None:
    """What a persistent session printed is there without a daemon, and so is the session itself."""
    sandbox.up()
    session = sandbox.toowl("new", "-d", "-n", "work", "--", "sh").stdout.strip()
    sandbox.toowl("send", "work", "echo bef''ore")
    wait_for(lambda: "\nbefore\n" in capture(sandbox, "work"), what="the output")
    sandbox.kill9()
    assert "\nbefore\n" in capture(sandbox, "work")
    sandbox.toowl("export", session[:5], "-o", "work.cast")
    assert "before" in (sandbox.root / "work.cast").read_text()
    assert sandbox.toowl("ls", "--names").stdout.startswith("work\t")
    terminal = sandbox.attach_pty("work")
    terminal.expect("before")
    terminal.send("echo af''ter\r")
    terminal.expect("after")
    terminal.send("\x1cd")
    assert terminal.wait() == 0
    assert "no daemon answers" in terminal.text
    sandbox.up()
    assert listed(sandbox) == {"work": "P detached"}
    assert "\nafter\n" in capture(sandbox, "work")


def test_plain_toowl_starts_everything(sandbox: Sandbox) -> None:
    """One word on a fresh machine: a daemon, a session, a shell; the second time, the same shell."""
    (sandbox.home / ".profile").write_text("PS1='$ '\n")
    terminal = sandbox.terminal("toowl", TOOWL_NO_AUTOSTART="", TOOWLD_PERSISTENT_SESSIONS="1", PS1="$ ")
    terminal.expect("$ ")
    terminal.send("echo pid=$$\r")
    wait_for(lambda: b"pid=" in terminal.output.replace(b"pid=$$", b""), what="the pid")
    terminal.send("\x1cd")
    assert terminal.wait() == 0
    (name,) = listed(sandbox)
    pid = json.loads(sandbox.toowl("info", name, "--json").stdout)["pid"]
    again = sandbox.terminal("toowl")
    again.expect(f"pid={pid}")
    again.send("exit 7\r")
    assert again.wait() == 7
    sandbox.toowld("stop", "--yes")


def test_attach_creates_once(sandbox: Sandbox) -> None:
    sandbox.up()
    for _ in range(2):
        terminal = sandbox.terminal("toowl", "attach", "login", "--create", SHELL="/bin/sh")
        wait_for(lambda: listed(sandbox).get("login") == "P attached", what="the session")
        terminal.wait_raw()
        terminal.send("\x1cd")
        assert terminal.wait() == 0
    assert listed(sandbox) == {"login": "P detached"}


def test_asciinema_plays_an_export(sandbox: Sandbox) -> None:
    need_program("asciinema", "script")
    sandbox.up()
    sandbox.toowl("new", "-d", "-n", "show", "--", "printf", r"\033[1mb\303\244ld\033[0m \377 end\n")
    wait_for(lambda: "ended" in listed(sandbox)["show"], what="its end")
    sandbox.toowl("export", "show", "-o", "show.cast")
    played = subprocess.run(
        ["script", "-qec", "asciinema cat show.cast", "/dev/null"],
        cwd=sandbox.root, env={**os.environ, **sandbox.env}, stdin=subprocess.DEVNULL,
        capture_output=True, check=True,
    )  # fmt: skip
    assert "\x1b[1mbäld\x1b[0m \ufffd end" in played.stdout.decode()
