"""`Pty`: what a child is given, how it ends, and that a failed start leaves nothing."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import DEADLINE, REPOSITORY, alive, machine_cannot, wait_for
from tests.host.rig import ENV, SIZE, open_fds
from toowld.errors import SpawnFailed
from toowld.host.pty import Pty, find_program, session_members
from toowld.wire import Size


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor, no child, and the same working folder."""
    before, cwd = open_fds(), os.getcwd()  # noqa: PTH109
    yield
    assert open_fds() == before
    assert os.getcwd() == cwd  # noqa: PTH109
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def spawn(*argv: str, cwd: str = "/", env: dict[str, str] | None = None, argv0: str | None = None) -> Pty:
    return Pty.spawn(argv, cwd=cwd, env=ENV if env is None else env, size=SIZE, argv0=argv0)


def read_more(pty: Pty, output: bytearray, timeout: float) -> bool:
    """Wait for output and take it. Whether the child has ended."""
    if select.select([pty.fd, pty.pidfd], [], [], timeout)[0]:
        with contextlib.suppress(BlockingIOError):
            output += os.read(pty.fd, 65536)
    return bool(select.select([pty.pidfd], [], [], 0)[0])


def read_until(pty: Pty, text: bytes) -> bytes:
    output = bytearray()

    def there() -> bool:
        read_more(pty, output, 0.1)
        return text in output

    wait_for(there, what=f"{text!r}")
    return bytes(output)


def ending(pty: Pty) -> tuple[int | None, int | None]:
    """Wait for the child's end and reap it."""
    assert select.select([pty.pidfd], [], [], DEADLINE)[0], "the child ends"
    result = pty.reap()
    assert result is not None
    return result


def run(*argv: str, cwd: str = "/", env: dict[str, str] | None = None, argv0: str | None = None) -> str:
    """All output of a child that ends by itself."""
    pty = spawn(*argv, cwd=cwd, env=env, argv0=argv0)
    try:
        output = bytearray()
        wait_for(lambda: read_more(pty, output, 0.1))
        ending(pty)
        while True:
            try:
                output += os.read(pty.fd, 65536)
            except BlockingIOError:
                return output.decode().replace("\r\n", "\n")
    finally:
        pty.close()


# --- what the child is given ----------------------------------------------------------------------------


def test_the_child_leads_a_session_on_its_own_terminal() -> None:
    output = run(
        sys.executable,
        "-c",
        "import os; tty = os.ttyname(0)\n"
        "print(os.getsid(0) == os.getpid(), os.tcgetpgrp(0) == os.getpid(), os.getpgrp() == os.getpid())\n"
        "print({os.ttyname(fd) for fd in (0, 1, 2)} == {tty}, tty.startswith('/dev/pts/'))\n"
        "print(os.ttyname(os.open('/dev/tty', os.O_RDWR)), os.get_terminal_size())",
    )
    assert output.split("\n")[:2] == ["True True True", "True True"]
    assert "/dev/tty os.terminal_size(columns=80, lines=24)" in output


def test_the_childs_environment_is_what_was_given_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    env = {
        "LC_ALL": "C.UTF-8",
        "A": "1",
        "EMPTY": "",
        "ODD": os.fsdecode(b"\xff\xfe"),
        "Ü": "ä",
        "LINES": "a\nb",
    }
    wanted = sorted((os.fsencode(name), os.fsencode(value)) for name, value in env.items())
    output = run(sys.executable, "-c", "import os; print(sorted(os.environb.items()))", env=env)
    assert output.strip() == str(wanted)


def test_the_child_is_in_its_folder_and_we_stay_in_ours(tmp_path: Path) -> None:
    assert run("pwd", cwd=str(tmp_path)).strip() == str(tmp_path)


def test_the_child_gets_no_descriptor_of_ours() -> None:
    """Not even one that whoever started us left open, or that came over a socket (those are inheritable)."""
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    try:
        output = run("/bin/sh", "-c", "ls -l /proc/$$/fd; true")
    finally:
        os.close(read_end)
        os.close(write_end)
    names = [line.split()[8:] for line in output.splitlines()[1:]]
    assert [name[0] for name in names] == ["0", "1", "2"], output
    assert all(name[2].startswith("/dev/pts/") for name in names), output


def test_the_child_has_default_signals_and_none_blocked() -> None:
    """Whatever we ignore, or were started with: a nohup'ed daemon must not make shells that ignore HUP."""
    ignored = [signal.SIGHUP, signal.SIGINT, signal.SIGTSTP, signal.SIGUSR1, signal.SIGALRM, signal.SIGWINCH]
    before = [signal.signal(number, signal.SIG_IGN) for number in ignored]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])
    try:
        output = run("grep", "Sig", "/proc/self/status")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in zip(ignored, before, strict=True):
            signal.signal(number, handler)
    status = dict(line.split(":\t") for line in output.splitlines())
    of_glibc = 3 << 31  # 32 and 33, its own; posix_spawn(3) leaves them ignored, and no program can see it
    assert int(status["SigIgn"], 16) & ~of_glibc == int(status["SigBlk"], 16) == 0, output


def test_a_login_shell_is_told_by_its_name() -> None:
    assert run("/bin/sh", "-c", "cat /proc/$$/cmdline", argv0="-sh").startswith("-sh\0")


def test_the_line_editor_knows_utf8() -> None:
    pty = spawn("cat")
    try:
        assert termios.tcgetattr(pty.fd)[0] & 0o40000
    finally:
        os.kill(pty.pid, signal.SIGKILL)
        ending(pty)
        pty.close()


def test_programs_are_found_as_the_child_would(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "here"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found $0\n")
    program.chmod(0o755)
    assert "found" in run("here", cwd=str(tmp_path), env={"PATH": "/nowhere:bin"})
    assert "found" in run("bin/here", cwd=str(tmp_path), env={"PATH": "/nowhere"})
    assert "found" in run("./here", cwd=str(tmp_path / "bin"), env={})
    assert "found" in run("here", cwd=str(program.parent), env={"PATH": "/nowhere:"})
    assert find_program("sh", "/", {}) in ("/bin/sh", "/usr/bin/sh")


def test_a_script_that_does_not_name_its_shell_is_given_to_one(tmp_path: Path) -> None:
    """As execvp(3) does, and every shell; through PATH and with arguments."""
    program = tmp_path / "script"
    program.write_text('echo "$0 $1"\n')
    program.chmod(0o755)
    assert run(str(program), "a b") == f"{program} a b\n"
    assert run("script", "c", env={"PATH": str(tmp_path)}) == f"{program} c\n"


# --- a start that fails ---------------------------------------------------------------------------------


def refused(*argv: str, **options: str) -> str:
    with pytest.raises(SpawnFailed) as caught:
        spawn(*argv, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text and "\n" not in text
    return text


def test_a_missing_program() -> None:
    assert refused("/no/such") == (
        "can't start /no/such: No such file or directory: check the program's name and PATH"
    )
    refused("no-such-program")
    # As tmux takes it.
    assert refused("sleep 5; date") == (
        "can't start sleep 5; date: No such file or directory: give program and arguments as words, or sh -c '...'"
    )
    refused("")


def test_a_program_that_is_not_executable(tmp_path: Path) -> None:
    program = tmp_path / "x"
    program.write_text("data")
    assert "Permission denied" in refused(str(program))
    program.chmod(0o755)
    for of_no_use in (b"", b"\x7fELF\2\1\1\0", b"MZ\0\0"):
        program.write_bytes(of_no_use)
        assert "Exec format error" in refused(str(program))
    program.write_text("#!/no/such/interpreter\n")
    assert "No such file" in refused(str(program))
    assert "No such file" in refused(str(tmp_path)), "a folder is no program"


def test_a_folder_that_is_gone_or_none(tmp_path: Path) -> None:
    assert f"can't enter folder {tmp_path}/gone: No such file" in refused("cat", cwd=str(tmp_path / "gone"))
    (tmp_path / "file").touch()
    assert "Not a directory" in refused("cat", cwd=str(tmp_path / "file"))


def test_arguments_that_no_program_can_get() -> None:
    refused("echo", "a\0b")
    refused("echo", cwd="/tmp\0/x")
    refused("echo", "x" * (4 << 20))


def test_our_own_folder_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    before = os.open(".", os.O_PATH)
    os.chdir(folder)
    folder.rmdir()
    try:
        assert run("pwd").strip() == "/"
    finally:
        os.fchdir(before)
        os.close(before)


def test_no_free_descriptor_at_any_step() -> None:
    """Whichever system call is the one that finds no descriptor: one line, and nothing is left."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = min(set(range(1000)) - set(open_fds()))
    os.listdir("/")  # noqa: PTH208
    texts = []
    for spare in range(8):
        resource.setrlimit(resource.RLIMIT_NOFILE, (first_free + spare, limits[1]))
        try:
            pty = spawn("true")
        except SpawnFailed as error:
            texts.append(str(error))
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            ending(pty)
            pty.close()
            break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert texts and "no pseudo-terminal is free" in texts[0]
    assert len(texts) < 8
    assert not any("\n" in text for text in texts)


def test_no_free_terminal() -> None:
    """In a mount namespace with a /dev/pts of its own that has room for one."""
    script = (
        "import sys; from toowld.host.pty import Pty; from toowld.wire import Size; from toowld.errors import *\n"
        "first = Pty.spawn(['cat'], cwd='/', env={}, size=Size(rows=1, cols=1))\n"
        "try: Pty.spawn(['cat'], cwd='/', env={}, size=Size(rows=1, cols=1))\n"
        "except SpawnFailed as error: print(error)\n"
    )
    mount = "mount -t devpts -o newinstance,ptmxmode=0666,max=1 devpts /dev/pts &&"
    mount += " mount --bind /dev/pts/ptmx /dev/ptmx"
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f'{mount} || exit 77; exec "$@"',
            "sh",
            sys.executable,
            "-c",
            script,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and os.getuid():
        machine_cannot("make a mount namespace without being root")
    assert done.stdout.startswith("no pseudo-terminal is free (No space left on device)"), done


# --- while it runs --------------------------------------------------------------------------------------


@pytest.fixture
def shell() -> Iterator[Pty]:
    pty = spawn("/bin/sh", env={**ENV, "PS1": "", "ENV": ""})
    yield pty
    pty.signal_session(signal.SIGKILL)
    ending(pty)
    pty.close()


def test_resize_tells_the_foreground_program_and_nudge_too(shell: Pty) -> None:
    script = (
        "import signal, os\nsignal.signal(signal.SIGWINCH, lambda *a: print('si%s' % 'ze', os.get_terminal_size()))\n"
        "print('rea%s' % 'dy', flush=True)\nwhile True: signal.pause()"
    )
    os.write(shell.fd, f'exec {sys.executable} -u -c "{script}"\n'.encode())
    read_until(shell, b"ready")
    shell.resize(Size(rows=50, cols=132))
    assert b"columns=132, lines=50" in read_until(shell, b")")
    shell.nudge()
    assert b"size" in read_until(shell, b")"), "the same size: the kernel would not have told"


def test_nudge_without_a_foreground_group_is_harmless() -> None:
    pty = spawn("true")
    ending(pty)
    pty.nudge()
    pty.close()


def test_signals_reach_background_jobs_of_the_session(shell: Pty) -> None:
    os.write(shell.fd, b"set -m; sleep 1000 & sleep 1000 & (sleep 1000 & echo jo%s) ; echo jo''bs\n")
    read_until(shell, b"jobs")
    wait_for(lambda: len(session_members(shell.pid)) == 4)
    members = session_members(shell.pid)
    assert shell.pid in members
    others = [pid for pid in members if pid != shell.pid]
    assert len({os.getpgid(pid) for pid in others}) > 1, "groups of their own: killpg would not reach them"
    shell.signal_session(signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in others))


def test_closing_hangs_up(tmp_path: Path) -> None:
    pty = spawn(
        "/bin/sh",
        "-c",
        f"trap 'echo x > {tmp_path}/hup; exit' HUP; echo rea''dy; while :; do sleep .01; done",
    )
    read_until(pty, b"ready")
    pidfd, pty.pidfd = pty.pidfd, os.dup(pty.pidfd)
    pty.close()
    assert select.select([pidfd], [], [], DEADLINE)[0]
    os.close(pidfd)
    os.waitpid(pty.pid, 0)
    assert (tmp_path / "hup").exists()


def test_how_it_ended() -> None:
    for script, wanted in (("exit 7", (7, None)), ("kill -9 $$", (None, 9)), ("true", (0, None))):
        pty = spawn("/bin/sh", "-c", script)
        assert ending(pty) == wanted
        assert pty.reap() == (None, None), "reaped already: ended, and nobody knows how"
        pty.close()
    pty = spawn("cat")
    assert pty.reap() is None, "it runs"
    os.kill(pty.pid, signal.SIGTERM)
    assert ending(pty) == (None, signal.SIGTERM)
    pty.close()


def test_sixty_four_kilobytes_and_gone() -> None:
    """What is left in the kernel when a child ends at once is still there to be read."""
    for _ in range(5):
        # As much as the terminal holds goes out without anybody reading.
        output = run("/bin/sh", "-c", "stty raw; head -c 60000 /dev/zero | tr '\\0' x; echo END")
        assert output.count("x") == 60000 and output.endswith("END\n")
