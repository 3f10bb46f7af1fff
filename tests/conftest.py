"""What holds for the whole suite: the fixture ``sandbox``, and that CI accepts no silent skip."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import MACHINE_CANNOT, Sandbox

# A shell without job control starts what runs in its background with SIGINT ignored, and nohup(1) everything with
# SIGHUP. That is inherited by all that the tests start: a Ctrl-C, or a terminal that is closed, would end nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A busy machine makes no test fail. The rest of the profile stays: in CI Hypothesis has one of its own.
settings.register_profile("toowl", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("toowl")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A private toowl namespace; every process in it ends with the test."""
    with Sandbox() as box:
        yield box


def pytest_collection_finish() -> None:
    """Keep what is loaded by now out of later collections: the tests that count descriptors ask for hundreds."""
    gc.collect()
    gc.freeze()


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With CI=true a skip is a failure, unless it says that this kind of machine can't do it."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    longrepr = report.longrepr
    reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    if MACHINE_CANNOT not in reason:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_report_header(config: Any) -> str:
    return f"CI={os.environ.get('CI', '')} uid={os.getuid()}"
