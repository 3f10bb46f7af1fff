"""Tags of real sessions: noted once, kept for as long as the session is."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from tests.daemon.steps import ls, wait_displayed
from tests.harness import Sandbox


def test_tags_stay_with_the_session(sandbox: Sandbox) -> None:
    """O5: over the end of its child, and of the daemon."""
    sandbox.up()
    sandbox.new("sh", "-c", "read line", name="build")
    sandbox.toowl("tag", "build", "ci=main", "owner=eva", "url=http://x/?a=b")
    assert sandbox.toowl("tag", "build").stdout == "ci=main\nowner=eva\nurl=http://x/?a=b\n"
    assert json.loads(sandbox.toowl("tag", "build", "--json").stdout)["owner"] == "eva"
    sandbox.toowl("tag", "build", "owner=", "ci=next")
    sandbox.send("build", b"\n")
    wait_displayed(sandbox, "build", "ended (exited 0)")
    sandbox.restart()
    assert ls(sandbox)["build"]["tags"] == {"ci": "next", "url": "http://x/?a=b"}
    assert "ci=next, url=http://x/?a=b" in sandbox.toowl("info", "build").stdout


def test_a_name_and_tags_at_once(sandbox: Sandbox) -> None:
    """H3: the one without a name gets one."""
    sandbox.up()
    session = sandbox.new("/bin/cat")["id"]
    sandbox.toowl("tag", session, "--name", "build", "ci=main")
    assert (ls(sandbox)["build"]["id"], ls(sandbox)["build"]["tags"]) == (session, {"ci": "main"})
    sandbox.toowl("tag", "build", "--name", "nightly")
    assert ls(sandbox)["nightly"]["tags"] == {"ci": "main"}
    refused = sandbox.toowl("tag", "-f", "ci=main", "--name", "x", "a=b", check=False)
    assert refused.returncode == 2 and "names are unique" in refused.stderr


def test_what_can_be_no_tag_is_refused(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.new("/bin/cat", name="build")
    for word, reason in (("a b=c", "no key of a tag"), ("a=b\nc", "printable")):
        refused = sandbox.toowl("tag", "build", "good=1", word, check=False)
        assert refused.returncode == 4 and reason in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert ls(sandbox)["build"]["tags"] == {}, "all of it or nothing"
    unknown = sandbox.toowl("tag", "nobody", "a=b", check=False)
    assert unknown.returncode == 3 and 'session "nobody" not found' in unknown.stderr


def test_many_at_the_same_time(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.new("/bin/cat", name="build")

    def note(number: int) -> None:
        with sandbox.client() as client:
            client.request("tag", session="build", tags={f"k{number:02}": str(number)})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(note, range(24)))
    assert ls(sandbox)["build"]["tags"] == {f"k{number:02}": str(number) for number in range(24)}
