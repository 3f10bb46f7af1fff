"""The errors: their codes are a promise to peers, their exit statuses one to scripts."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import toowld
from toowld import errors

#: Frozen: peers of other versions compare these texts, scripts these numbers.
FROZEN = {
    "ToowlError": ("error", 1),
    "ProtocolError": ("protocol", 1),
    "LocalProtocolError": ("protocol", 1),
    "RemoteProtocolError": ("protocol", 1),
    "VersionMismatch": ("protocol", 1),
    "SessionError": ("session", 1),
    "SessionNotFound": ("not-found", 3),
    "SessionAmbiguous": ("ambiguous", 3),
    "SessionExists": ("exists", 4),
    "AttachRefused": ("attach-refused", 4),
    "RefusedError": ("refused", 4),
    "CustodianError": ("custodian", 1),
    "CustodianLost": ("custodian-lost", 1),
    "CustodianUnreachable": ("unreachable", 4),
    "SpawnFailed": ("spawn-failed", 1),
    "UpgradeFailed": ("upgrade-failed", 1),
    "ScreenError": ("screen", 1),
    "ScreenUnavailable": ("no-screen", 1),
    "DaemonUnreachable": ("daemon-unreachable", 5),
    "ConfigError": ("config", 1),
    "UsageError": ("usage", 2),
}


def all_errors() -> dict[str, type[errors.ToowlError]]:
    found = {}
    todo = [errors.ToowlError]
    while todo:
        cls = todo.pop()
        found[cls.__name__] = cls
        todo += cls.__subclasses__()
    return found


@pytest.mark.parametrize("name", FROZEN)
def test_code_and_exit_status_stay(name: str) -> None:
    cls = getattr(errors, name)
    assert (cls.code, cls.exit_status) == FROZEN[name]


def test_no_error_is_forgotten_here() -> None:
    assert {name for name, cls in all_errors().items() if cls.__module__ == errors.__name__} == set(FROZEN)


def test_the_tree_in_the_docstring_names_all() -> None:
    assert errors.__doc__ is not None
    assert [name for name in FROZEN if name not in errors.__doc__] == []


def test_codes_are_unique_but_for_the_two_sides_of_the_protocol() -> None:
    for module in pkgutil.walk_packages(toowld.__path__, "toowld."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    codes: dict[str, str] = {}
    for name, cls in all_errors().items():
        if issubclass(cls, errors.ProtocolError) and cls is not errors.ProtocolError:
            continue
        assert cls.code not in codes, f"{name} and {codes[cls.code]} share a code"
        codes[cls.code] = name


#: For what the peer says of us, there is one class.
_OURS = ("ProtocolError", "RemoteProtocolError", "VersionMismatch")


@pytest.mark.parametrize("name", [n for n in FROZEN if n not in _OURS])
def test_a_code_comes_back_as_its_class(name: str) -> None:
    cls = getattr(errors, name)
    error = errors.from_wire(cls.code, "text")
    assert type(error) is cls
    assert str(error) == "text"


def test_a_protocol_error_that_a_peer_reports_is_ours() -> None:
    assert type(errors.from_wire("protocol", "bad frame")) is errors.LocalProtocolError


def test_a_code_of_a_newer_peer_is_a_plain_error() -> None:
    error = errors.from_wire("from-the-future", "text")
    assert type(error) is errors.ToowlError
    assert error.exit_status == 1
