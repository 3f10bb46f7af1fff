"""B10: a custodian of another time. It is never killed, and people are told what is the matter."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.daemon.steps import ls
from tests.harness import Sandbox
from toowld.wire import Hello, encode

ID = "0badcafe"


@contextlib.contextmanager
def custodian_of_the_future(box: Sandbox, lowest: int, highest: int) -> Iterator[None]:
    """Listens as a custodian does, and says Hello to all who come."""
    box.paths.prepare()
    links: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(box.paths.custodian_socket(ID)))
        box.paths.custodian_socket(ID).chmod(0o600)
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                links.append(link)
                about = {"role": "custodian", "build": "99.0", "session": ID, "pid": os.getpid()}
                with contextlib.suppress(BrokenPipeError):  # the doctor only looks who listens
                    link.sendall(encode(Hello(version_min=lowest, version_max=highest, about=about)))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for link in links:
                link.close()


def test_one_that_speaks_no_version_of_ours(sandbox: Sandbox) -> None:
    with custodian_of_the_future(sandbox, 7, 9):
        sandbox.up()
        item = ls(sandbox)[ID]
        assert (item["state"], item["display"]) == ("unreachable", "unreachable (version)")
        assert "P unreachable (version)" in sandbox.toowl("ls").stdout
        speaks = "peer speaks protocol 7 to 9, we speak 1 to 1: upgrade the older side"
        for command in (("send", ID, "x"), ("resize", ID, "80x24"), ("reconnect", ID)):
            done = sandbox.toowl(*command, check=False)
            assert done.returncode == 4
            assert done.stderr == (
                f"toowl: session {ID}: its custodian is of another version: {speaks}; "
                f"`toowl kill --force {ID}` kills all that runs in it\n"
            )
        assert speaks in sandbox.daemon_text()
        doctor = sandbox.toowld("doctor", check=False).stdout
        assert f"{ID} (pid {os.getpid()}) is of another version: {speaks}" in " ".join(doctor.split())
        assert "kill -CONT" not in doctor, "it does answer"
        assert "another version" in sandbox.toowl("info", ID).stdout
        sandbox.restart()
        assert ls(sandbox)[ID]["display"] == "unreachable (version)", "and was left alone"


@pytest.mark.parametrize(("lowest", "highest"), [(1, 9), (0, 1)])
def test_one_that_speaks_ours_too_is_asked(sandbox: Sandbox, lowest: int, highest: int) -> None:
    """This one then says nothing more: so it is out of reach, but not for its version."""
    with custodian_of_the_future(sandbox, lowest, highest):
        sandbox.up()
        assert ls(sandbox)[ID]["display"] == "unreachable"
