"""Judges `Facts`. PURE: each check takes them and gives findings, in the order in which they are printed.

Every warning and failure says what to do next. What a check can't know it says nothing about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from toowld.daemon.doctor.checks_systemd import check_linger, check_scopes, check_service
from toowld.daemon.doctor.facts import Facts, Finding, Folder
from toowld.daemon.doctor.wording import duration, either, fail, ok, size, some_of, warn
from toowld.settings.resolve import REMOTE

Findings = Iterator[Finding]

#: Below this a flood of output in one session can fill the disk within minutes.
_FREE_BYTES = 1 << 30
_FREE_SHARE = 0.05

#: From here on the next busy day may reach a limit.
_LIMIT_SHARE = 0.8

#: Every session takes a few descriptors of the daemon; fewer than this in all is a few hundred sessions at most.
_NOFILE = 1024

#: 2024-01-01: no toowl is older, so a clock before it was never set.
_EPOCH = 1704067200.0

#: NTP moves clocks by less than this after the first minute.
_JUMP_SECONDS = 60.0

#: File systems that a reboot empties.
_VOLATILE = {"tmpfs", "ramfs"}

_ON = {"1", "true"}

#: From Friday evening to Monday morning are 63 hours, and nobody is punctual (seconds).
_WEEKEND = 72 * 3600.0

#: What the scan at the start says of sockets that it removed, and of custodians, of which is told otherwise.
_NOTHING_TO_LOOK_AT = ("stale: ", "unreachable: ")


def examine(facts: Facts) -> list[Finding]:
    """All findings about ``facts``."""
    return [finding for check in CHECKS for finding in check(facts)]


# -- the programs ----------------------------------------------------------------------------------------


def check_system(facts: Facts) -> Findings:
    yield ok("system", f"{facts.system}, uid {facts.uid}")


def check_daemon(facts: Facts) -> Findings:
    """Whether one answers; without one nothing new can be started, so that fails."""
    if facts.report is not None:
        report = facts.report
        yield ok(
            "daemon", f"toowld {report['version']}, pid {report['pid']}, up {duration(report['uptime'])}"
        )
        return
    living = sum(keeper.pid is not None for keeper in facts.keepers)
    rest = f"; {living} kept session(s) run on without it: toowl attach ID reaches them" if living else ""
    if facts.listener is not None:
        yield fail(
            "daemon",
            f"pid {facts.listener} listens, but gives no answer: {facts.error}{rest}",
            f"look at its log; or kill -9 {facts.listener} and start it again: persistent sessions live on",
        )
    else:
        yield fail(
            "daemon",
            f"none is running at {facts.socket}{rest}",
            "toowld --detach, or systemctl start toowld where it is a service",
        )


def check_versions(facts: Facts) -> Findings:
    """Client, daemon and every custodian; older custodians are normal after an upgrade."""
    if facts.report is not None and facts.report["version"] != facts.version:
        yield warn(
            "versions",
            f"this is toowl {facts.version}, the running daemon is {facts.report['version']}",
            "restart the daemon: persistent sessions live on (toowld stop && toowld --detach, or systemctl)",
        )
    others: dict[tuple[str, bool], list[str]] = {}
    for keeper in facts.keepers:
        if keeper.build is not None and keeper.build != facts.version:
            others.setdefault((keeper.build, keeper.upgradable), []).append(keeper.session)
    for (version, upgradable), sessions in sorted(others.items()):
        yield warn(
            "versions",
            f"toowl {version} keeps {some_of(sessions)}, started before the upgrade",
            f"toowld upgrade --all: they go on with {facts.version}, and nobody in there notices"
            if upgradable
            else f"nothing has to be done; a session started anew is kept by {facts.version}",
        )
    if not others and (facts.report is None or facts.report["version"] == facts.version):
        yield ok("versions", f"{facts.version} everywhere")


def check_persistence(facts: Facts) -> Findings:
    """Whether the *running daemon* makes persistent sessions. Our own environment says nothing about that."""
    if facts.report is None:
        return
    if facts.report["persistent_enabled"]:
        yield ok("persistent", "on for the running daemon: new sessions survive it")
        return
    value = facts.report.get("persistent_value")
    detail = "off for the running daemon: its sessions end with it"
    if value not in (None, "", "0"):
        detail += f" (TOOWLD_PERSISTENT_SESSIONS has a value that means nothing; {either(_ON)} turn it on)"
    elif (facts.own_flag or "").lower() in _ON:
        detail += " (TOOWLD_PERSISTENT_SESSIONS is set in this shell, but the daemon was started without it)"
    yield warn(
        "persistent",
        detail,
        "start the daemon with TOOWLD_PERSISTENT_SESSIONS=1 in its environment (systemctl edit toowld: "
        "Environment=TOOWLD_PERSISTENT_SESSIONS=1); running standard sessions end with the restart",
    )


def check_settings(facts: Facts) -> Findings:
    """Whether a daemon could start with the file. One that runs has what it could read, and says nothing of later."""
    if not facts.config_problems:
        yield ok("settings", f"{facts.config}: nothing wrong")
        return
    first, *more = facts.config_problems
    detail = first + (f" (and {len(more)} more)" if more else "")
    if facts.report is None:
        detail += ": no daemon can start with it"
    else:
        detail += ": the daemon goes on with what it had, and the next one can't start"
    yield fail("settings", detail, "correct it: `toowl config check` lists all of it")


# -- folders ---------------------------------------------------------------------------------------------


def check_folders(facts: Facts) -> Findings:
    yield from _check_folder(facts, "runtime", facts.runtime, "TOOWL_RUNTIME_DIR")
    if facts.socket_mode is not None and facts.socket_mode & 0o077:
        yield fail("socket", f"{facts.socket} has mode {facts.socket_mode:04o}", f"chmod 0600 {facts.socket}")
    yield from _check_folder(facts, "state", facts.state, "TOOWL_STATE_DIR")
    yield from _check_room(facts.state)
    if facts.state.filesystem in _VOLATILE:
        yield warn(
            "state",
            f"{facts.state.path} is on {facts.state.filesystem}: a reboot empties it",
            "set TOOWL_STATE_DIR to a folder on a disk, so that scrollback outlives a reboot",
        )


def _check_folder(facts: Facts, what: str, folder: Folder, variable: str) -> Findings:
    own = f"remove it, or set {variable} to a folder of your own"
    if folder.kind == "missing":
        if facts.report is None:
            yield ok(what, f"{folder.path}: not there yet, the daemon makes it")
        else:
            yield fail(
                what,
                f"{folder.path} is gone, the daemon uses {facts.report.get('runtime_dir', 'another')}",
                "restart the daemon; custodians make their sockets again within 30 s",
            )
    elif folder.kind != "folder":
        yield fail(what, f"{folder.path} is a {folder.kind}, not a folder", own)
    elif folder.uid != facts.uid:
        yield fail(what, f"{folder.path} belongs to uid {folder.uid}, not to {facts.uid}", own)
    elif folder.mode & 0o077:
        yield fail(
            what, f"{folder.path} has mode {folder.mode:04o}: open to others", f"chmod 0700 {folder.path}"
        )
    elif folder.read_only:
        yield fail(
            what, f"{folder.path} is on a read-only file system", "mount it writable, or move the folder"
        )
    else:
        yield ok(what, f"{folder.path}, mode {folder.mode:04o}, owner uid {folder.uid}")


def _check_room(folder: Folder) -> Findings:
    if folder.free_bytes is None or not folder.total_bytes:
        return
    share = folder.free_bytes / folder.total_bytes
    detail = f"{size(folder.free_bytes)} free ({share:.0%}) for scrollback"
    if folder.free_bytes == 0:
        yield fail(
            "space",
            f"the disk of {folder.path} is full: scrollback is kept in memory only",
            "make room on it",
        )
    elif folder.free_bytes < _FREE_BYTES or share < _FREE_SHARE:
        yield warn(
            "space", detail, "make room; toowl ls --json shows log_bytes, toowl rm drops ended sessions"
        )
    else:
        yield ok("space", detail)


# -- sessions --------------------------------------------------------------------------------------------


def check_sessions(facts: Facts) -> Findings:
    if facts.sessions is None:
        return
    running = [info for info in facts.sessions if info.get("state") == "running"]
    persistent = sum(bool(info.get("persistent")) for info in running)
    yield ok(
        "sessions",
        f"{len(facts.sessions)}, of them {len(running)} running ({persistent} persistent)",
    )
    if degraded := [str(info["id"]) for info in facts.sessions if info.get("degraded")]:
        yield warn(
            "sessions",
            f"the scrollback of {some_of(degraded)} can't be written and is kept in memory, the last part of it",
            "look at space and mount of the state folder; writing resumes by itself",
        )


def check_idle(facts: Facts) -> Findings:
    """Whether who leaves on Friday finds a session elsewhere again on Monday. What was said for it alone is meant."""
    if facts.report is None:
        return
    found = [one for one in facts.report.get("remote", ()) if one["key"] == REMOTE]
    if short := [str(one["id"]) for one in found if 0 < one["idle_timeout"] < _WEEKEND]:
        timeout = duration(found[0]["idle_timeout"])
        yield warn(
            "idle timeout",
            f"{some_of(short)}, made over a connection, would end after {timeout} with nobody attached, "
            "which a weekend is longer than",
            f'say {REMOTE} = "3d" or more (0: never) below [reaper] in {facts.config}, then toowld reload; '
            "or toowl set SESSION idle_timeout=3d",
        )


def check_custodians(facts: Facts) -> Findings:
    """Ours against the daemon's view: who answers whom, and what lies around."""
    answering = [keeper for keeper in facts.keepers if keeper.build is not None]
    yield ok("custodians", f"{len(answering)} answering")
    for keeper in facts.keepers:
        if keeper.mismatch is not None:
            yield warn(
                "custodians",
                f"{keeper.session} (pid {keeper.pid}) is of another version: {keeper.mismatch}",
                "its session runs on, and can be used again by a toowl that is new enough, or old enough",
            )
        elif keeper.pid is not None and keeper.build is None:
            yield warn(
                "custodians",
                f"{keeper.session} (pid {keeper.pid}) listens, but does not answer; it is left alone",
                f"stopped or stuck? kill -CONT {keeper.pid}; only as a last resort "
                f"toowl restart --force {keeper.session}: what runs in it ends",
            )
    if stale := [keeper.session for keeper in facts.keepers if keeper.pid is None]:
        yield warn(
            "custodians",
            f"nobody listens on the socket(s) of {some_of(stale)}",
            "nothing has to be done: the next start of the daemon removes them",
        )
    if facts.report is None:
        return
    known = {entry["id"]: entry for entry in facts.report.get("custodians", ())}
    if strangers := [keeper.session for keeper in answering if keeper.session not in known]:
        yield warn(
            "custodians",
            f"the daemon has not adopted {some_of(strangers)}",
            "restart the daemon: it adopts them",
        )
    heard = {keeper.session for keeper in answering}
    lost = [name for name, entry in known.items() if entry.get("state") != "ok" and name in heard]
    if lost:
        yield warn(
            "custodians",
            f"{some_of(lost)} answer here, but did not answer the daemon",
            "it asks again within its tick (30 s); if that does not help restart it: these sessions live on",
        )
    for entry in facts.report.get("skipped", ()):
        if str(entry.get("reason")).startswith(_NOTHING_TO_LOOK_AT):
            continue
        yield warn(
            "start scan",
            f"skipped {entry.get('path')}: {entry.get('reason')}",
            "look at that file; if it is not yours or broken, remove it",
        )


# -- limits and the clock --------------------------------------------------------------------------------


def check_limits(facts: Facts) -> Findings:
    if facts.report is not None:
        soft, hard = facts.report["rlimit_nofile"]
        used = facts.report["fds_open"]
        detail = f"{used} of {soft} (hard limit {hard}) in the daemon"
        if soft > 0 and (used > soft * _LIMIT_SHARE or soft < _NOFILE):
            yield warn("open files", detail, "raise it: LimitNOFILE= in the unit, or ulimit -n before toowld")
        else:
            yield ok("open files", detail)
    if facts.pty_used is None or not facts.pty_max:
        return
    detail = f"{facts.pty_used} of {facts.pty_max} on this machine"
    more = "sysctl kernel.pty.max=8192"
    if facts.pty_used >= facts.pty_max:
        yield fail("terminals", f"{detail}: no session can start", more)
    elif facts.pty_used > facts.pty_max * _LIMIT_SHARE:
        yield warn("terminals", detail, more)
    else:
        yield ok("terminals", detail)


def check_screens(facts: Facts) -> Findings:
    """Whether an attach can show exactly what a session shows."""
    instead = "attach shows the last megabyte of output as it was printed"
    problems = facts.report.get("screen_problems", {}) if facts.report is not None else {}
    if facts.emulator_error is not None:
        what, _, next_step = facts.emulator_error.rpartition(": ")
        yield warn("screens", f"{what}: {instead}", next_step)
    elif problems:
        reason = next(iter(problems.values()))
        yield warn(
            "screens",
            f"what {some_of(sorted(problems))} shows could not be followed: {reason}",
            f"nothing has to be done: it is tried again, and until then {instead}",
        )
    else:
        yield ok("screens", "an attach shows what the session shows")


def check_clock(facts: Facts) -> Findings:
    if facts.wall < _EPOCH:
        yield warn(
            "clock",
            "it was never set: times in lists and casts are wrong",
            "set it: timedatectl set-ntp true",
        )
    elif facts.clock_jump is not None and abs(facts.clock_jump) > _JUMP_SECONDS:
        way = "forward" if facts.clock_jump > 0 else "back"
        yield warn(
            "clock",
            f"it was moved {way} by {duration(abs(facts.clock_jump))} since the daemon started",
            "nothing has to be done: casts keep their pace, only dates from before differ",
        )
    else:
        yield ok("clock", "set")


def check_reboot(_facts: Facts) -> Findings:
    """Not a state but a limit that nobody should learn the hard way."""
    yield ok(
        "reboot",
        "ends the processes of all sessions; their list and scrollback stay, attach starts a new shell",
    )


CHECKS: tuple[Callable[[Facts], Findings], ...] = (
    check_system,
    check_daemon,
    check_versions,
    check_persistence,
    check_settings,
    check_folders,
    check_sessions,
    check_idle,
    check_custodians,
    check_service,
    check_scopes,
    check_linger,
    check_limits,
    check_screens,
    check_clock,
    check_reboot,
)
