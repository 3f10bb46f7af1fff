"""The integration in real shells: what it says, and that nothing else changes."""

from __future__ import annotations

import re
import subprocess
from urllib.parse import unquote

import pytest

from tests.harness import Sandbox, need_program
from tests.shells.shell import ID, LOAD, Shell, environment_file, rc_of
from toowl.commands import shell_integration
from toowl.shells import SHELLS, script

#: The least that a user may have set up: a prompt.
PLAIN = {
    "bash": "PS1='%> '",
    "zsh": "PS1='%%> '; unsetopt prompt_sp",
    "fish": "set fish_greeting; function fish_prompt; echo -n '%> '; end",
}

#: How bash-preexec works: it hangs itself in at the first prompt, and takes for a command of the user whatever runs
#: after its last part did. That is the end of PROMPT_COMMAND, and in newer ones (``mode``) an element of its own.
_PREEXEC = r"""
PS1='%> '; preexec_functions=(ran); ran() {{ echo "ran $1"; }}
__bp_imported=defined
__bp_mode() {{ __bp_on=1; }}
__bp_before() {{
    if [[ ${{__bp_on-}} ]]; then __bp_on=; for f in "${{preexec_functions[@]}}"; do "$f" "$BASH_COMMAND"; done; fi
}}
__bp_after() {{ local was=$?; for f in "${{precmd_functions[@]}}"; do __bp_status "$was"; "$f"; done; }}
__bp_status() {{ return "$1"; }}
__bp_install() {{
    PROMPT_COMMAND="${{PROMPT_COMMAND/__bp_install/:}}"
    if [[ "{mode}" ]]; then
        PROMPT_COMMAND="__bp_after"$'\n'"$PROMPT_COMMAND"; PROMPT_COMMAND+=(__bp_mode)
    else
        PROMPT_COMMAND="__bp_after"$'\n'"$PROMPT_COMMAND"$'\n'"__bp_mode"
    fi
    trap __bp_before DEBUG
    __bp_after; __bp_mode
}}
PROMPT_COMMAND=${{PROMPT_COMMAND:+$PROMPT_COMMAND$'\n'}}__bp_install
"""

#: How starship works: it makes the prompt anew each time, and counts the time in PS0.
_STARSHIP = r"""
STARSHIP_START_TIME=0
starship_precmd() { local was=$?; eval "${STARSHIP_PROMPT_COMMAND-}"; PS1="$(printf '\n[%s] %%> ' "$was")"; }
PS0='${STARSHIP_START_TIME:$((STARSHIP_START_TIME="$(date +%s)",0)):0}'"${PS0-}"
STARSHIP_PROMPT_COMMAND=${PROMPT_COMMAND-}
PROMPT_COMMAND=starship_precmd
"""

#: What users have set up, in front of what loads the integration, or behind it.
SETUPS = {
    "bash": {
        "plain": PLAIN["bash"],
        "unset-and-errors": "set -eu\nPS1='%> '",
        "two-lines": r"PS1='\n\w [$?]\n%> '",
        "title": r"PS1='\[\e]0;\w\a\]\[\e[32m\]%> \[\e[m\]'",
        "prompt-command": "PROMPT_COMMAND='PS1=\"[$?] %> \"'",
        "prompt-commands": "PROMPT_COMMAND=('was=$?' 'PS1=\"[$was] %> \"')",
        "open-ended": "PROMPT_COMMAND='PS1=\"[$?] %> \";  '",
        "before-commands": r"PS1='%> '; PS0='(\#)\n'",
        "substituted": "PS1='$(echo \"[$?]\") %> '",
        "errors-trapped": "PS1='%> '; trap 'echo trapped' ERR",
        "posix": "set -o posix; PS1='%> '",
        "old-preexec": _PREEXEC.format(mode=""),
        "preexec": _PREEXEC.format(mode="mode"),
        "starship": _STARSHIP,
    },
    "zsh": {
        "plain": PLAIN["zsh"],
        "prompt-sp": "PS1='%%> '",
        "unset-and-errors": "setopt no_unset err_exit; PS1='%%> '",
        "two-lines": "PS1=$'\\n%~ [%?]\\n%%> '",
        "right": "PS1='%%> '; RPROMPT='%? right'",
        "title": "PS1=$'%{\\e]0;%~\\a%}%F{green}%%>%f '",
        "precmd": 'precmd() { PS1="[$?] %%> " }',
        "hooks": 'autoload -Uz add-zsh-hook; p() { PS1="[$?] %%> " }; q() { echo "run $1" }; '
        "add-zsh-hook precmd p; add-zsh-hook preexec q",
        "substituted": "setopt prompt_subst; PS1='$(echo \"[$?]\") %%> '",
        "other-arrays": "setopt ksh_arrays sh_word_split; PS1='%%> '",
        "bang": "setopt prompt_bang; PS1='! %%> '",
    },
    "fish": {
        "plain": PLAIN["fish"],
        "two-lines": "set fish_greeting; function fish_prompt; printf '\\n%s\\n%%> ' (prompt_pwd); end",
        "statuses": 'set fish_greeting; function fish_prompt; echo -n "[$status $pipestatus] %> "; end',
        "right": "set fish_greeting; function fish_prompt; echo -n '%> '; end; "
        "function fish_right_prompt; echo $status right; end",
        "handlers": "set fish_greeting; function fish_prompt; echo -n '%> '; end; "
        'function p --on-event fish_prompt; echo "p $status"; end; '
        'function q --on-event fish_postexec; echo "q $status $argv"; end',
        "vi": "set fish_greeting; fish_vi_key_bindings; function fish_prompt; echo -n '%> '; end",
    },
}

#: What is typed to see whether all is as it was: successes, failures, nothing.
TYPED = ("echo one", "true", "", "echo a; echo b", "cd 'a b'")
#: Not where a failure ends the shell.
FAILING = ("false", "ls /nowhere", "true | false", "sh -c 'exit 3'", "echo end")


def _typed(shell: Shell, *lines: str) -> None:
    for line in lines:
        shell.run(line)


@pytest.mark.parametrize(("kind", "setup"), [(kind, name) for kind in SHELLS for name in SETUPS[kind]])
def test_nothing_is_seen_of_it(sandbox: Sandbox, kind: str, setup: str) -> None:
    """Whether it is loaded behind what the user has set up, or before."""
    (sandbox.home / "a b").mkdir()
    own = SETUPS[kind][setup]
    seen = []
    for settings in (own, f"{own}\n{LOAD[kind]}", f"{LOAD[kind]}\n{own}"):
        shell = Shell(sandbox, kind, settings, TOOWL_PROMPT="")
        _typed(shell, *TYPED, *(() if "unset" in setup else FAILING))
        if (
            kind != "bash"
        ):  # there our mark begins a line, in terminals that know it; the others do that anyway
            shell.run("printf half")
        seen.append(shell.screen())
        assert shell.end() == 7
    assert seen[1] == seen[0] and seen[2] == seen[0]


@pytest.mark.parametrize("setup", ["prompt-command", "prompt-commands", "unset-and-errors", "substituted"])
def test_in_an_older_bash(sandbox: Sandbox, setup: str) -> None:
    """Before 5.1 only the first element of PROMPT_COMMAND counts."""
    own = SETUPS["bash"][setup].replace("('was=$?' '", "'was=$?; ").replace("')", "'")
    seen = []
    older = script("bash").replace("BASH_VERSINFO[0] > 5 ||", "0 &&")
    for settings in (f"{own}\n{LOAD['bash']}", own):
        shell = Shell(sandbox, "bash", settings, older, TOOWL_PROMPT="")
        _typed(shell, *TYPED[:4], *(() if "unset" in setup else FAILING))
        seen.append(shell.screen())
        assert shell.end() == 7
    assert seen[0] == seen[1]


@pytest.mark.parametrize("kind", SHELLS)
def test_what_it_tells(sandbox: Sandbox, kind: str) -> None:
    """The marks in their order, with each exit status, and the folder with all that a URL can't hold."""
    (sandbox.home / "a%ü\\n").mkdir()
    shell = Shell(sandbox, kind, f"{PLAIN[kind]}\n{LOAD[kind]}")
    assert shell.marks() == ["A", "B"]
    _typed(shell, "echo on''e", "sh -c 'exit 3'", "", "cd 'a%ü\\n'")
    assert shell.marks() == [
        "A",
        "B",
        *("C", "D;0", "A", "B"),
        *("C", "D;3", "A", "B"),
        *("A", "B"),
        *("C", "D;0", "A", "B"),
    ]
    told = shell.terminal.output.partition(b"\x1b]133;C\x07")[2].partition(b"\x1b]133;D;0\x07")[0]
    assert b"one\r\n" in told and b"echo" not in told.replace(b"\x1b]0;echo", b"")
    urls = re.findall(rb"\x1b\]7;file://([^/]*)(/[^\x07]*)\x07", shell.terminal.output)
    assert unquote(urls[0][1].decode()) == str(sandbox.home)
    assert urls[-1][1] == f"{sandbox.home}/a%25%C3%BC%5Cn".encode()


@pytest.mark.parametrize("kind", SHELLS)
def test_the_name_in_the_prompt(sandbox: Sandbox, kind: str) -> None:
    two_lines = SETUPS[kind]["two-lines"]
    shell = Shell(sandbox, kind, f"{two_lines}\n{LOAD[kind]}")
    assert shell.screen()[1].startswith("[work] ~")
    setting = "set -g TOOWL_PROMPT '{}: '" if kind == "fish" else "TOOWL_PROMPT='{}: '"
    shell.run(setting)
    assert shell.screen()[-2].startswith("work: ~")
    # Nothing in a name acts on the terminal or the shell.
    name = r"""'$(echo a)`b`%~!\e'"""
    shell.run(f"set -g TOOWL_NAME {name}" if kind == "fish" else f"TOOWL_NAME={name}")
    assert shell.screen()[-2].startswith("echoabe: ~")
    assert b"work: work: " not in shell.terminal.output
    shell.run("set -e TOOWL_NAME" if kind == "fish" else "unset TOOWL_NAME")
    assert shell.screen()[-2].startswith(f"{ID}: ~")


@pytest.mark.parametrize("kind", SHELLS)
def test_outside_of_a_session_and_twice(sandbox: Sandbox, kind: str) -> None:
    settings = f"{PLAIN[kind]}\n{LOAD[kind]}\n{LOAD[kind]}"
    outside = Shell(sandbox, kind, settings, TOOWL_SESSION="")
    outside.run("echo on''e")
    assert outside.marks() == [] and "[work]" not in outside.terminal.text
    assert b"\x1b]7;" not in outside.terminal.output
    dumb = Shell(sandbox, kind, settings, TERM="dumb")
    dumb.run("echo on''e")
    assert dumb.marks() == []
    twice = Shell(sandbox, kind, settings)
    twice.run("echo on''e")
    twice.run(LOAD[kind])
    twice.run("echo on''e")
    assert twice.marks() == ["A", "B", *["C", "D;0", "A", "B"] * 3]


@pytest.mark.parametrize("kind", SHELLS)
def test_shells_within(sandbox: Sandbox, kind: str) -> None:
    """Each marks its own prompts, and an exported prompt is not given a second name."""
    shell = Shell(sandbox, kind, f"{PLAIN[kind]}\n{LOAD[kind]}")
    shell.run("set -gx PS1 x" if kind == "fish" else "export PS1")
    shell.run(kind)
    shell.run("true")
    shell.run("true")
    assert shell.marks()[-6:] == ["D;0", "A", "B", "C", "D;0", "A", "B"][1:]
    assert [row for row in shell.screen() if row.startswith("[work] %>")][-1] == "[work] %> "
    shell.run("exit 3")
    assert shell.marks()[-3:] == ["D;3", "A", "B"]


@pytest.mark.parametrize("kind", ["bash", "zsh"])
def test_what_stands_before_the_prompt(sandbox: Sandbox, kind: str) -> None:
    """As virtualenv does it: it keeps the prompt, puts something before it, and brings it back."""
    shell = Shell(sandbox, kind, f"{PLAIN[kind]}\n{LOAD[kind]}")
    shell.run('kept=$PS1; PS1="(venv) $PS1"')
    shell.run("true")
    assert shell.screen()[-1] == "[work] (venv) %> "
    shell.run("PS1=$kept")
    shell.run("true")
    assert shell.screen()[-1] == "[work] %> "
    assert shell.marks()[-4:] == ["C", "D;0", "A", "B"]


_VALUE = r"""a' b"c\d$(e)`f` %g ü=h"""


@pytest.mark.parametrize(
    ("kind", "strict"), [(kind, False) for kind in SHELLS] + [("bash", True), ("zsh", True)]
)
def test_the_environment_follows(sandbox: Sandbox, kind: str, strict: bool) -> None:
    """At the next prompt, whatever is in it; and once, so that what a user sets himself stays."""
    own = f"{PLAIN[kind]}\n{'set -eu' if strict else ''}\n{LOAD[kind]}"
    path = environment_file(sandbox)
    path.write_text("1\nDISPLAY=:1\nSSH_TTY\n")
    shell = Shell(sandbox, kind, own, SSH_TTY="/dev/pts/99", DISPLAY=":0")
    assert shell.says(_printing("DISPLAY")) == ":1"
    assert shell.says(_printing("SSH_TTY")) == ""
    shell.run("set -gx DISPLAY :7" if kind == "fish" else "export DISPLAY=:7")
    assert shell.says(_printing("DISPLAY")) == ":7"
    path.with_name("new").write_text(f"2\nDISPLAY\nSSH_TTY={_VALUE}\nTOOWL_NAME=play\n")
    path.with_name("new").rename(path)
    shell.run("true")
    assert shell.says(_printing("DISPLAY")) == ""
    assert shell.says(_printing("SSH_TTY")) == _VALUE
    assert shell.screen()[-1] == "[play] %> "
    path.unlink()
    shell.run("true")
    assert shell.end() == 7


@pytest.mark.parametrize("kind", ["zsh", "fish"])
def test_the_first_command_after_an_attach_has_it(sandbox: Sandbox, kind: str) -> None:
    """The prompt has been there for long; bash can do nothing between that and the command."""
    path = environment_file(sandbox)
    path.write_text("1\nDISPLAY=:1\nSSH_TTY\n")
    shell = Shell(sandbox, kind, f"{PLAIN[kind]}\n{LOAD[kind]}", DISPLAY=":0")
    assert shell.says(_printing("DISPLAY")) == ":1"
    path.with_name("new").write_text("2\nDISPLAY=:2\nSSH_TTY=there\n")
    path.with_name("new").rename(path)
    assert shell.says(_printing("DISPLAY")) == ":2"
    path.with_name("new").write_text("3\nDISPLAY=:3\nSSH_TTY\n")
    path.with_name("new").rename(path)
    shell.run("set -gx DISPLAY :7" if kind == "fish" else "export DISPLAY=:7")
    assert shell.says(_printing("DISPLAY")) == ":7", "what a user sets himself stays"
    assert shell.says(_printing("SSH_TTY")) == ""


def _printing(name: str) -> str:
    return f'sh -c \'printf "<%s>\\n" "${name}"\''


@pytest.mark.parametrize("kind", SHELLS)
def test_nothing_is_started(sandbox: Sandbox, kind: str) -> None:
    """A prompt costs no process, whether there is news or not."""
    need_program("strace")
    path = environment_file(sandbox)
    path.write_text("1\nDISPLAY=:1\n")
    shell = Shell(sandbox, kind, f"{PLAIN[kind]}\n{LOAD[kind]}")
    trace = sandbox.root / "trace"
    with subprocess.Popen(
        [
            "strace",
            "-f",
            "-e",
            "trace=fork,vfork,clone,clone3,execve",
            "-o",
            str(trace),
            "-p",
            str(shell.terminal.pid),
        ],
        stderr=subprocess.PIPE,
    ) as strace:
        assert strace.stderr is not None
        strace.stderr.readline()  # it is attached
        shell.run("")
        path.with_name("new").write_text("2\nDISPLAY=:2\nSSH_TTY\n")
        path.with_name("new").rename(path)
        shell.run("cd /")
        shell.run("cd /tmp")
        strace.terminate()
    # fish has threads.
    assert not re.findall(
        r"^.*(?:fork|clone|execve)\d?\((?!.*CLONE_THREAD).*", trace.read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("kind", SHELLS)
def test_the_command_prints_them(sandbox: Sandbox, kind: str) -> None:
    assert sandbox.toowl("shell-integration", kind).stdout == script(kind)
    (sandbox.root / "script").write_text(script(kind))
    subprocess.run([kind, "-n", str(sandbox.root / "script")], check=True)


@pytest.mark.parametrize("kind", SHELLS)
def test_the_line_that_the_help_gives(sandbox: Sandbox, kind: str) -> None:
    """As the last one of the settings, with a toowl that is installed; outside of a session it costs nothing."""
    line = next(line for line, where in shell_integration.parser().examples if rc_of(kind) in where)
    for strict in ("",) if kind == "fish" else ("", "set -eu\n"):
        inside = Shell(sandbox, kind, f"{PLAIN[kind]}\n{strict}{line}")
        inside.run("echo on''e")
        assert inside.marks() == ["A", "B", "C", "D;0", "A", "B"]
        assert inside.screen()[0].startswith("[work] %> echo")
        outside = Shell(
            sandbox, kind, f"{PLAIN[kind]}\n{strict}{line}", TOOWL_SESSION="", PATH="/bin:/usr/bin"
        )
        assert outside.says("printf '<%s>\\n' " + ("$status" if kind == "fish" else "$?")) == "0"
        assert outside.marks() == []
        assert not re.search("not found|nknown", outside.terminal.text)
