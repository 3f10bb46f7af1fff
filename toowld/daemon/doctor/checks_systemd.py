"""The part of `checks` about systemd: does the unit that the daemon runs in let sessions live? PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toowld.daemon.doctor.facts import Facts, Finding, Status
from toowld.daemon.doctor.wording import fail, ok, some_of, warn

Findings = Iterator[Finding]


def check_service(facts: Facts) -> Findings:
    """Only of a daemon that is a service: whether its unit lets sessions live."""
    if facts.service is None:
        if facts.report is not None:
            yield ok("systemd", "the daemon is not a service; it was started by hand or by toowl")
        return
    service = facts.service
    control = "systemctl --user" if service.user else "systemctl"
    if service.properties is None:
        yield warn(
            "systemd",
            f"the daemon runs in {service.unit}, but systemd could not be asked: {service.error}",
            f"{control} show {service.unit}",
        )
        return
    unit = service.properties
    if facts.report is not None and unit.get("MainPID") != str(facts.report["pid"]):
        yield warn(
            "systemd",
            f"the daemon was started from within {service.unit}, which is not its own service",
            "toowld install sets up one of its own, which nothing else stops",
        )
    else:
        kind = "user" if service.user else "system"
        yield ok("systemd", f"{service.unit} ({kind} manager), {unit.get('FragmentPath', '')}")
        yield from _check_notify(unit, f"{control} edit {service.unit}")
    yield from _check_survival(facts, unit, f"{control} edit {service.unit}")


def _check_notify(unit: Mapping[str, str], edit: str) -> Findings:
    if unit.get("Type") not in ("notify", "notify-reload"):
        yield warn(
            "Type",
            f"{unit.get('Type')}: a start returns before the sessions are adopted",
            f"{edit}: Type=notify",
        )
    if unit.get("Restart") == "no":
        yield warn("Restart", "no: after a crash the daemon stays away", f"{edit}: Restart=on-failure")


def _check_survival(facts: Facts, unit: Mapping[str, str], edit: str) -> Findings:
    service = facts.service
    assert service is not None
    inside = [
        k.session for k in facts.keepers if k.cgroup and (k.cgroup + "/").startswith(service.cgroup + "/")
    ]
    mode = unit.get("KillMode")
    if mode == "process":
        yield ok("KillMode", "process: a stop or restart ends the daemon alone")
    elif inside:
        yield fail(
            "KillMode",
            f"{mode}: a stop or restart of the service kills {some_of(inside)}",
            f"{edit}: KillMode=process under [Service], before anything restarts it",
        )
    else:
        yield warn(
            "KillMode",
            f"{mode}: only the scope of each session saves it from a stop or restart",
            f"{edit}: KillMode=process under [Service]",
        )
    if unit.get("RuntimeDirectory"):
        yield from _check_preserve(unit.get("RuntimeDirectoryPreserve"), edit)
    policy = unit.get("OOMPolicy")
    if policy == "continue":
        yield ok("OOMPolicy", "continue: an OOM kill of one process ends only that one")
    elif policy is not None:
        yield warn(
            "OOMPolicy",
            f"{policy}: an OOM kill in the service ends the daemon too",
            f"{edit}: OOMPolicy=continue",
        )
    if unit.get("PrivateTmp") == "yes" and facts.runtime.path.startswith("/tmp/"):
        yield fail(
            "PrivateTmp", f"yes: {facts.runtime.path} is hidden from everyone else", f"{edit}: PrivateTmp=no"
        )
    harsh = [
        n for n in ("NoNewPrivileges", "ProtectHome", "ProtectSystem") if unit.get(n, "no") not in ("no", "")
    ]
    if harsh:
        yield warn(
            "sandboxing",
            f"{', '.join(harsh)}: sessions inherit it (no sudo, files that can't be written)",
            f"{edit}: turn them off",
        )


def _check_preserve(value: str | None, edit: str) -> Findings:
    if value == "yes":
        yield ok("RuntimeDirectoryPreserve", "yes: the sockets stay while the daemon is away")
        return
    what = "a stop" if value == "restart" else "a stop or restart"
    yield Finding(
        Status.WARN if value == "restart" else Status.FAIL,
        "RuntimeDirectoryPreserve",
        f"{value}: {what} deletes the sockets of running sessions",
        f"{edit}: RuntimeDirectoryPreserve=yes",
    )


def check_scopes(facts: Facts) -> Findings:
    """One scope a session, where a manager can be reached; KillMode=process has to do without."""
    if facts.report is None or facts.service is None:
        return
    manager = facts.report.get("scopes")
    if manager in ("system", "user"):
        without = [e["id"] for e in facts.report.get("custodians", ()) if e.get("scope") is None]
        if without:
            yield warn(
                "scopes",
                f"{some_of(without)} have no scope of their own, though the {manager} manager can be reached",
                "nothing has to be done while KillMode is process; new sessions get one",
            )
        else:
            yield ok("scopes", f"a scope for each session, by the {manager} manager")
    else:
        reason = facts.report.get("scopes_reason") or "no manager can be reached"
        yield ok("scopes", f"none ({reason}): KillMode=process alone keeps the sessions")


def check_linger(facts: Facts) -> Findings:
    """Without linger the last logout ends the user's manager and removes /run/user/UID."""
    by_user = facts.service is not None and facts.service.user
    if not by_user and not facts.runtime.path.startswith("/run/user/"):
        return
    if facts.linger:
        yield ok("linger", f"on for {facts.user}: sessions outlive the last logout")
    elif by_user:
        yield fail(
            "linger",
            f"off for {facts.user}: the last logout ends the user's manager, the daemon and its sessions",
            f"loginctl enable-linger {facts.user}",
        )
    elif facts.linger is not None:
        yield warn(
            "linger",
            f"off for {facts.user}: the last logout removes {facts.runtime.path}",
            f"loginctl enable-linger {facts.user}",
        )
