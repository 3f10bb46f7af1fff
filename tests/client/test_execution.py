"""The line that is typed for `toowl exec`, and what is found in the output. Pure."""

from __future__ import annotations

import itertools
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toowl.execution import Extract, Text, line
from toowld.errors import RefusedError

ZSH_MARK = b"\x1b[1m\x1b[7m%\x1b[27m\x1b[1m\x1b[0m" + b" " * 79 + b"\r \r"

#: What a session prints; the word of marks of our own; what of it is the command's; how that ended.
RUNS = [
    (b"ls -l\r\n\x1b]133;C\x07a\r\nb\r\n\x1b]133;D;0\x07$ ", None, b"a\r\nb\r\n", 0),
    (b"x\r\n\x1b]133;C;cmdline_url=x\x1b\\out\x1b]133;D;3;aid=1\x1b\\", None, b"out", 3),
    (b"\r\n\x1b]133;C\x07half" + ZSH_MARK + b"\x1b]133;D;1\x07", None, b"half", 1),
    (b"\r\n\x1b]133;C\x07\x1b[1m\x1b[7mx\r\n" + ZSH_MARK + b"\x1b]133;D;1\x07", None, b"\x1b[1m\x1b[7mx\r\n", 1),
    (b"\x1b]133;D;9\x07\x1b]133;A\x07$ \x1b]133;B\x07x\r\n\x1b]133;C\x07\x1b]133;D;0\x07", None, b"", 0),
    (b"\r\n\x1b]133;C\x07a\x1b]133;D\x07", None, b"a", None),
    (b"\r\n\x1b]133;C\x07^C\r\n\x1b]133;A\x07$ ", None, b"^C\r\n", None),
    (
        b" printf '\\033]7379;w;C\\007'; x\r\n\x1b]7379;w;C\x07\x1b]133;D;5\x07\x1b]0;t\x07out\x1b]7379;w;D;2\x07$ ",
        "w",
        b"\x1b]133;D;5\x07\x1b]0;t\x07out",
        2,
    ),
    (b"\x1b]7379;w;C\x07\x1b]7379;other;D;0\x07a\x1b]7379;w;D;0\x07", "w", b"\x1b]7379;other;D;0\x07a", 0),
]  # fmt: skip


@settings(max_examples=200)
@given(st.sampled_from(RUNS), st.lists(st.integers(0, 250)))
def test_however_it_is_cut(run: tuple[bytes, str | None, bytes, int | None], cuts: list[int]) -> None:
    data, word, wanted, status = run
    extract = Extract(word)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    given_out = b"".join(extract.feed(data[a:b]) for a, b in itertools.pairwise(places))
    assert (given_out, extract.status, extract.begun, extract.over) == (wanted, status, True, True)
    assert extract.feed(b"more") == extract.rest() == b""


def test_what_is_no_mark_is_not_held_back_for_ever() -> None:
    extract = Extract(None)
    extract.feed(b"\x1b]133;C\x07")
    assert extract.feed(b"text") == b"text"
    assert extract.feed(b"\x1b]2;a title") == b""
    assert extract.feed(b"\x07 and") == b"\x1b]2;a title\x07 and"
    assert len(extract.feed(b"\x1b]" + b"x" * 10_000)) > 5000
    extract.feed(b"\x07")
    assert extract.feed(b"\n\x1b[1m\x1b[7mlast") == b"\n"
    assert extract.rest() == b"\x1b[1m\x1b[7mlast"


def test_a_line_that_the_shell_does_not_take() -> None:
    """It complains, and is at its prompt again; unless that is because it was not there before."""
    said = b"if )\r\nbash: syntax error\r\n\x1b]133;A\x07$ \x1b]133;B\x07"
    extract = Extract(None)
    assert extract.feed(said) == b""
    assert (extract.over, extract.begun, extract.words) == (True, False, b"bash: syntax error\r\n")
    busy = Extract(None, at_prompt=False)
    busy.feed(said)
    assert not busy.over
    redrawn = Extract(None)
    redrawn.feed(b"\r\x1b]133;A\x07$ \x1b]133;B\x07ls")
    assert not redrawn.over


@pytest.mark.parametrize(
    ("printed", "waits"),
    [
        (b"", True),
        (b"\x1b]133;A\x07$ \x1b]133;B\x07typed", True),
        (b"\x1b]133;A\x07$ ", True),
        (b"\x1b]133;A\x07$ \x1b]133;B\x07x\x1b]133;C\x07", False),
        (b"\x1b]133;B\x07x\x1b]133;C\x07\x1b]133;D;0\x07", False),
        (b"\x1b]133;B\x07x\x1b]133;C\x07\x1b]133;D;0\x07\x1b]133;A;k=s\x1b\\", False),
    ],
)
def test_whether_a_shell_reads(printed: bytes, waits: bool) -> None:
    assert Extract.waits(printed) is waits


@pytest.mark.parametrize(
    ("printed", "continues"),
    [
        (b"\x1b]133;A\x07$ \x1b]133;B\x07", False),
        (b"one\r\n\x1b]133;A\x07two\r\n$ \x1b]133;B\x07echo 'half", False),
        (b"\x1b]133;A\x07$ \x1b]133;B\x07echo 'half\r\n> and", True),
        (b"no marks\r\n$ ", False),
    ],
)
def test_whether_a_command_of_several_lines_was_begun(printed: bytes, continues: bool) -> None:
    assert Extract.continues(printed) == continues


_SIMPLE = [
    "ls",
    "git status --short",
    "ls -l | wc -l",
    "a && b || c; d",
    "echo 'a b' \"c\" > /tmp/x",
    "X=1 make -j8",
]
_OTHER = [
    "echo (", "echo a |", "if", "for x in a; do echo; done", "echo 'open", "echo $(date)", "a\nb", "echo a!b", "a;",
    "# x",
    "echo \\", "{ a; }", "a & b", "cat << x", "!!", "echo \"$x\"", "a\tb", "~/x && ", "[ a", "a > ",
]  # fmt: skip


def test_what_is_typed_as_it_is() -> None:
    for command in _SIMPLE:
        assert line(command, "sh", None) == line(command, None, None) == command.encode()
    for command in _OTHER:
        assert b"eval" in line(command, "zsh", None), command
        with pytest.raises(RefusedError, match="only a simple command"):
            line(command, None, None)


@settings(max_examples=60)
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1))
@pytest.mark.parametrize(("shell", "family"), [("dash", "sh"), ("bash", "sh"), ("fish", "fish")])
def test_any_text_arrives(shell: str, family: str, text: str) -> None:
    """In a line without anything that an editor or the kernel acts on, and the marks only when it is run."""
    quoted = text.replace("\\", "\\\\").replace("'", "\\'" if family == "fish" else "'\\''")
    if family != "fish":
        quoted = quoted.replace("\\\\", "\\")
    typed = line(f"printf %s '{quoted}'", family, "w")
    assert not [byte for byte in typed if byte < 0x20 or byte in (0x7F, ord("!"))]
    done = subprocess.run(
        [shell, *(["--no-config"] if shell == "fish" else []), "-c", typed], capture_output=True, check=True
    )
    extract = Extract("w")
    extract.feed(typed + b"\r\n")
    assert not extract.begun
    assert extract.feed(done.stdout) == text.encode()
    assert extract.status == 0


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"half", b"half"),
        (b"\x1b[31mred\x1b[m\t \x1b]0;t\x07end \r\n", b"red\t end \n"),
        (b"\x1b[?2004l\x1b]0;x\x07\x1b(B\x1b[m\rone\r\n", b"one\n"),
        (b"10%\r50%\r100%\r\ndone\r\n", b"100%\ndone\n"),
        (b"a\bb\r\n", b"b\n"),
        (b"\x1b[?1049hscreen\x1b[?1049lafter\r\n", b"after\n"),
        (b"\xff\r\n", b"\xff\n"),
    ],
)
def test_text(printed: bytes, text: bytes) -> None:
    for step in (1, 7, 1000):
        filtered = Text(80)
        found = b"".join(filtered.feed(printed[at : at + step]) for at in range(0, len(printed), step))
        assert found + filtered.finish() == text
