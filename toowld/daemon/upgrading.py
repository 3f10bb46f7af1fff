"""Custodians that go on with our code, in the same process: what the daemon has to do for that.

How it is done is the custodian's business (docs/architecture.md). Here is decided whether it can be asked for, and
with which program: the one that this daemon was started with.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from toowld.daemon.entry import Entry, Keeper
from toowld.daemon.keepers import UPGRADE, CustodianKeeper
from toowld.errors import CustodianUnreachable, RefusedError
from toowld.wire.text import pack_text

_log = logging.getLogger(__name__)

#: A custodian tries the new code for 20 s at most, and gives up at a part of this (seconds).
UPGRADE_TIMEOUT = 30.0


async def upgrade(entry: Entry, keeper: Keeper, *, dry_run: bool) -> Mapping[str, Any]:
    """Have a session's custodian go on with our code, or (``dry_run``) find out whether it could.

    Returns:
        which versions it had ``before`` and has ``after`` that.

    Raises:
        RefusedError: it can't be asked that. UpgradeFailed: it goes on as it was.
        CustodianLost, CustodianUnreachable: it does not answer.
    """
    record, before = entry.record, entry.custodian_build
    if not isinstance(keeper, CustodianKeeper):
        raise RefusedError(
            f"session {record.label} is a standard session: it lives in the daemon, and ends with it"
        )
    if keeper.hangs:
        raise CustodianUnreachable(
            f"session {record.label}: its custodian does not answer: it goes on as it is: see `toowld doctor`"
        )
    if UPGRADE not in keeper.features:
        raise RefusedError(
            f"session {record.label}: its custodian (toowl {before}) is too old to be upgraded in place: "
            "it goes on as it is"
        )
    program = {
        "argv": [sys.executable, "-P", "-m", "toowld"],
        "env": dict(os.environ),
        "dry_run": dry_run,
    }
    answer = await keeper.upgrade(pack_text(program), timeout=UPGRADE_TIMEOUT)
    after = str(answer.get("build"))
    if not dry_run:
        entry.custodian_build = after
        _log.info("session %s: its custodian was toowl %s and is toowl %s now", record.id, before, after)
    return {"id": record.id, "name": record.name, "before": before, "after": after}
