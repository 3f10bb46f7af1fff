"""``toowl capture`` and ``toowl snapshot``: what a session shows, in every form and situation."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import Sandbox, wait_for
from tests.screen.streams import FRAGMENT
from toowl import drawing, markup
from toowld.screen.model import Model
from toowld.wire.messages import Size

_SVG = "{http://www.w3.org/2000/svg}"
#: Scrollback, then a full screen over it, drawn in another order than it is read.
_SCRIPT = (
    "for n in $(seq 100); do echo line $n; done; "
    r"printf '\033[?1049h\033[5;3H\033[1;31mred <&>\033[m 漢字\033[2;1H\033[4mtop\033[m\033]2;my title\007'; exec cat"
)


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[str]:
    sandbox.up()
    made = str(sandbox.new("sh", "-c", _SCRIPT, name="work")["id"])
    wait_for(lambda: b"my title" in sandbox.output(made))
    yield made


def test_the_screen_is_what_is_captured(sandbox: Sandbox, session: str) -> None:
    assert sandbox.toowl("capture", "work").stdout == "\ntop\n\n\n  red <&> 漢字\n"
    assert sandbox.toowl("capture", "work", "--screen", "--lines", "1").stdout == "  red <&> 漢字\n"
    assert sandbox.toowl("capture", "work", "--format", "ansi").stdout == (
        "\n\x1b[0;4mtop\x1b[m\n\n\n  \x1b[0;1;31mred <&>\x1b[m 漢字\n"
    )


def test_lines_alone_are_of_what_was_printed(sandbox: Sandbox, session: str) -> None:
    with sandbox.client() as client:
        client.request("kill", session=session, force=True)
    lines = sandbox.toowl("capture", "work", "--scrollback").stdout.splitlines()
    assert lines[:100] == [f"line {n}" for n in range(1, 101)]
    assert sandbox.toowl("capture", "work", "--lines", "3").stdout.splitlines() == lines[-3:]


def test_scrollback_with_colours_is_that_of_a_terminal(sandbox: Sandbox, session: str) -> None:
    shown = sandbox.toowl("capture", "work", "--scrollback", "--format", "ansi").stdout.splitlines()
    assert shown[:100] == [f"line {n}" for n in range(1, 101)]
    assert shown[-1] == "  \x1b[0;1;31mred <&>\x1b[m 漢字"


def test_json_tells_all_of_it(sandbox: Sandbox, session: str) -> None:
    found = json.loads(sandbox.toowl("capture", "work", "--format", "json").stdout)
    assert found["title"] == "my title"
    assert found["alternate_screen"] is True
    assert (found["rows"], found["cols"]) == (24, 80)
    assert found["cursor"] == {"row": 1, "col": 3, "visible": True}
    assert found["lines"][1] == {
        "text": "top",
        "wraps": False,
        "runs": [{"text": "top", "cells": 3, "underline": "single"}],
    }
    assert found["lines"][4]["runs"][1] == {"text": "red <&>", "cells": 7, "fg": 1, "bold": True}


@pytest.mark.parametrize("situation", ["running", "ended", "no daemon", "ended and no daemon"])
def test_it_works_whoever_is_there(sandbox: Sandbox, session: str, situation: str) -> None:
    wanted = sandbox.toowl("capture", "work").stdout
    if "ended" in situation:
        with sandbox.client() as client:
            client.request("kill", session=session, force=True)
    if "no daemon" in situation:
        sandbox.kill9()
    assert sandbox.toowl("capture", "work").stdout == wanted
    done = sandbox.toowl("snapshot", "work", "-o", "-")
    assert ElementTree.fromstring(done.stdout).find(f"{_SVG}title") is not None
    if situation == "running":
        assert sandbox.info(session)["clients"] == 0


def test_a_snapshot_is_a_picture_in_a_file_of_ours(sandbox: Sandbox, session: str) -> None:
    assert sandbox.toowl("snapshot", "work", "-o", "shot.svg").stdout == ""
    path = sandbox.root / "shot.svg"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    texts = [(text.text, text.get("fill")) for text in ElementTree.parse(path).getroot().iter(f"{_SVG}text")]
    assert ("my title", "#9a9a9a") in texts
    assert ("red <&>", "#cd3131") in texts
    refused = sandbox.toowl("snapshot", "work", "-o", "shot.svg", check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (4, 1)
    sandbox.toowl("snapshot", "work", "-o", "shot.html")
    assert "red &lt;&amp;&gt;" in (sandbox.root / "shot.html").read_text()
    unknown = sandbox.toowl("snapshot", "work", "-o", "shot.xyz", check=False)
    assert unknown.returncode == 2
    assert "--format" in unknown.stderr


def test_without_an_emulator_it_is_said_what_to_do(sandbox: Sandbox, session: str) -> None:
    other = sandbox.root / "other/pyghostty-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: pyghostty\nVersion: 0.0.1\n")
    path = f"{other.parent}:{sandbox.env['PYTHONPATH']}"
    done = sandbox.toowl("capture", "work", check=False, PYTHONPATH=path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "pyghostty is 0.0.1" in done.stderr
    assert sandbox.toowl("capture", "work", "--scrollback", PYTHONPATH=path).stdout.startswith("line 1\n")


@pytest.mark.parametrize(
    "arguments", [["--raw", "--screen"], ["--raw", "--format", "svg"], ["--screen", "--scrollback"]]
)
def test_what_does_not_go_together_is_refused(sandbox: Sandbox, arguments: list[str]) -> None:
    done = sandbox.toowl("capture", "work", *arguments, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 or "usage" in done.stderr


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert not [name for name, _ in attrs if name.startswith("on")]


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(FRAGMENT, st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))),
        max_size=40,
    )
)
def test_a_picture_of_anything_is_well_formed(stream: list[bytes]) -> None:
    with Model(Size(rows=10, cols=24)) as model:
        model.feed(b"".join(stream))
        terminal = model.state()
    rows = drawing.rows_of(terminal, scrollback=True, last=None)
    picture = ElementTree.fromstring(markup.svg(terminal, rows, title="<&>\x01", cursor_row=0))
    assert {element.tag.removeprefix(_SVG) for element in picture.iter()} <= {
        "svg", "title", "rect", "path", "text", "a",
    }  # fmt: skip
    parser = _Text()
    parser.feed(markup.html(terminal, rows, title="<script>"))
    assert parser.tags <= {"html", "meta", "title", "style", "pre", "span", "a"}
    json.loads(drawing.as_json(terminal, rows))


def test_a_link_of_a_session_leads_to_the_web_or_nowhere() -> None:
    with Model(Size(rows=10, cols=60)) as model:
        for uri in (b"https://a.org/?x=1&y=<2>", b"javascript:alert(1)", b"file:///etc/passwd"):
            model.feed(b"\x1b]8;;" + uri + b"\x1b\\link\x1b]8;;\x1b\\\r\n")
        terminal = model.state()
    rows = drawing.rows_of(terminal, scrollback=False, last=None)
    parser = _Text()
    parser.feed(markup.html(terminal, rows, title=""))
    assert parser.links == ["https://a.org/?x=1&y=<2>"]
    picture = ElementTree.fromstring(markup.svg(terminal, rows, title=""))
    assert [link.get("href") for link in picture.iter(f"{_SVG}a")] == ["https://a.org/?x=1&y=<2>"]


def test_colours_are_those_that_the_session_chose() -> None:
    with Model(Size(rows=3, cols=20)) as model:
        model.feed(
            b"\x1b]4;1;#123456\x07\x1b]11;#000011\x07\x1b[31ma\x1b[91mb\x1b[38;5;196mc\x1b[38;5;244md\x1b[7me"
        )
        terminal = model.state()
    picture = ElementTree.fromstring(
        markup.svg(terminal, drawing.rows_of(terminal, scrollback=False, last=None), title="t")
    )
    texts = {text.text: text.get("fill") for text in picture.iter(f"{_SVG}text")}
    assert texts == {
        "t": "#9a9a9a", "a": "#123456", "b": "#f14c4c", "c": "#ff0000", "d": "#808080", "e": "#000011",
    }  # fmt: skip
