"""``toowld doctor``: is this installation well, and what to do where it is not.

The command line's side; it runs in a process of its own and works with the daemon down. Three steps, each blind to
the others: `gather` looks (the running daemon, the sockets, /proc, systemd) and makes `facts.Facts`; `checks` judges
them, PURE; this module prints. What is printed is meant to be pasted into an issue: no environment, no names of
sessions, no commands.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toowld.daemon.doctor.checks import examine
from toowld.daemon.doctor.facts import Facts, Finding, Status
from toowld.daemon.doctor.gather import gather

if TYPE_CHECKING:
    from toowld.paths import Paths

__all__ = [
    "Facts",
    "Finding",
    "Status",
    "as_object",
    "as_text",
    "examine",
    "exit_status",
    "gather",
    "run",
]


def run(paths: Paths, as_json: bool) -> int:
    """Look, judge, print; 0 when nothing fails, else 1."""
    findings = examine(gather(paths))
    print(as_object(findings) if as_json else as_text(findings))
    return exit_status(findings)


def exit_status(findings: Sequence[Finding]) -> int:
    """A warning is not a failure: 1 only where something fails."""
    return int(any(finding.status is Status.FAIL for finding in findings))


def as_text(findings: Sequence[Finding]) -> str:
    """One line a finding, the next step below it."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.status.value:<5} {finding.what:<{width}}  {finding.detail}")
        if finding.next_step:
            lines.append(f"{'':<5} {'':<{width}}  next: {finding.next_step}")
    count = {status: sum(finding.status is status for finding in findings) for status in Status}
    lines.append(f"{count[Status.OK]} ok, {count[Status.WARN]} to look at, {count[Status.FAIL]} failing")
    return "\n".join(lines)


def as_object(findings: Sequence[Finding]) -> str:
    """The same as JSON, for programs: ``{"ok": …, "findings": [{"status", "what", "detail", "next"}]}``."""
    rows = [
        {"status": f.status.value, "what": f.what, "detail": f.detail, "next": f.next_step} for f in findings
    ]
    return json.dumps({"ok": exit_status(findings) == 0, "findings": rows}, indent=2)
