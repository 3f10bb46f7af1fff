"""A file of settings: what is in it, and all that is wrong, by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from toowld.errors import ConfigError
from toowld.settings import schema
from toowld.settings.example import example
from toowld.settings.file import File

FULL = """\
# A comment, with daemon.tick = 3 in it.
daemon.scan_timeout = 1

[daemon]
tick = "1min"   # behind it
"ended_retention" = 10

[defaults]
size = 'latest'

[connections."me@host.example"]
persistent = false

  [connections."me@[::1]"]
  scrollback_bytes = \"""
1 MiB\"""
"""


def told(text: str) -> list[str]:
    return [line.removeprefix("f:") for line in File("f", text).told()]


def test_what_is_right_is_found_with_its_line() -> None:
    file = File("f", FULL.replace("daemon.scan_timeout = 1\n", ""))
    assert file.told() == []
    assert file.values == {"daemon.tick": 60.0, "daemon.ended_retention": 10.0, "defaults.size": "latest"}
    assert {key: file.where(key) for key in file.values} == {
        "daemon.tick": "f:4",
        "daemon.ended_retention": "f:5",
        "defaults.size": "f:8",
    }
    assert file.connections == {
        "me@host.example": {"persistent": False},
        "me@[::1]": {"scrollback_bytes": 1 << 20},
    }
    assert file.where_of_connection("me@host.example", "persistent") == "f:11"
    assert file.where_of_connection("me@[::1]", "scrollback_bytes") == "f:14"


def test_dotted_keys_and_tables_in_a_line_have_lines_too() -> None:
    file = File("f", "\ndaemon.tick = 3\ndefaults = { size = 'latest',\n  }".replace(",\n  }", " }"))
    assert file.told() == []
    assert (file.where("daemon.tick"), file.where("defaults.size")) == ("f:2", "f:3")


def test_all_that_is_wrong_is_told_from_top_to_bottom() -> None:
    assert told(
        "[deamon]\n"
        "tick = 1\n"
        "[daemon]\n"
        "tik = 1\n"
        "scan_timeout = 0\n"
        "[defaults]\n"
        "size = 'lastest'\n"
        "[connections.'me@host']\n"
        "tick = 3\n"
        "persistent = 'no'\n"
    ) == [
        "1: unknown table 'deamon': did you mean 'daemon'?",
        "4: unknown key 'daemon.tik': did you mean 'tick'?",
        "5: 'daemon.scan_timeout' must be a number of seconds, or text such as \"12h\", at least 0.01, not 0",
        "7: 'defaults.size' must be 'smallest' or 'latest', not 'lastest': did you mean 'latest'?",
        "9: unknown key 'connections.\"me@host\".tick'; known are "
        + ", ".join(sorted(schema.of_connections())),
        "10: 'connections.me@host.persistent' must be true or false, not 'no'",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("tick = 3\n", "1: unknown key 'tick': it belongs below [daemon]"),
        ("what = 3\n", "1: unknown key 'what': all stand below a [table]"),
        ("\ndaemon = 3\n", "2: 'daemon' must be a table: begin it with [daemon]"),
        ("[[daemon]]\ntick = 3\n", "1: 'daemon' must be a table: begin it with [daemon]"),
        ("[connections]\nhost = 3\n", '2: a connection is a table: [connections."host"]'),
        ("[daemon\n", "1: Expected ']' at the end of a table declaration: correct it, or move it away"),
        ("[daemon]\n\ntick = \n", "3: Invalid value: correct it, or move it away"),
        ("[daemon]\ntick = [", " Invalid value (at end of document): correct it, or move it away"),
    ],
)
def test_one_mistake(text: str, line: str) -> None:
    assert told(text) == [line]


@pytest.mark.parametrize("text", ["a = " + "1" * 5000, "a = " + "[" * 100_000], ids=["digits", "depth"])
def test_what_the_parser_gives_up_on_is_told_in_a_line(text: str) -> None:
    [line] = File("f", text).told()
    assert "correct it, or move it away" in line and "\n" not in line


def test_what_has_moved_is_read_where_it_was_but_not_twice() -> None:
    file = File("f", "[daemon]\nsize = 'latest'\n")
    assert (file.told(), file.values, file.where("defaults.size")) == ([], {"defaults.size": "latest"}, "f:2")
    assert told("[daemon]\nsize = 'latest'\n[defaults]\nsize = 'smallest'\n") == [
        "4: 'defaults.size' stands in the file twice, here as 'defaults.size'"
    ]


def test_whatever_a_key_holds_is_told_in_a_line() -> None:
    assert told('[daemon]\n"a\\nb\\u001b[31m" = 3\n')[0].startswith(
        "2: unknown key 'daemon.a?b?[31m'; known are "
    )


def test_the_first_mistake_is_told_with_the_number_of_the_others() -> None:
    with pytest.raises(ConfigError, match=r"^f:2: .* \(and 1 more: see `toowl config check`\)$"):
        File("f", "[daemon]\ntik = 1\ntok = 2\n").check()


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    assert File.read(tmp_path / "none").values == {}
    (tmp_path / "latin").write_bytes(b"# \xe4\n")
    for path in (tmp_path / "latin", tmp_path):
        with pytest.raises(ConfigError, match="correct it, or move it away"):
            File.read(path)


def test_the_example_is_right_as_it_is_and_with_everything_turned_on() -> None:
    shipped = example()
    assert File("f", shipped).told() == [] and File("f", shipped).values == {}
    on = "\n".join(
        line[1:] if (line[:1] == "#" and line[1:2].isalpha()) or line[:2] == "#[" else line
        for line in shipped.splitlines()
    )
    file = File("f", on)
    assert file.told() == []
    assert file.connections == {"me@host": {"persistent": False}}
    assert file.values.keys() == schema.everything().keys()
