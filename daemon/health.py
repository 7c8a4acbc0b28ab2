"""How the daemon is: what MQTT's health topics say, and what systemd's watchdog depends on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plugtap import __version__
from plugtap.analysis.outputs import FORMAT
from plugtap.sessions.records import rfc3339

if TYPE_CHECKING:
    from plugtap.daemon.findings_log import FindingsLog
    from plugtap.daemon.mqtt import Publisher
    from plugtap.daemon.tap import TapPipeline

STUCK_SECONDS = 15.0  # a pipeline that did not look around for so long hangs


def tap_health(site: str, tap: TapPipeline, now: int) -> dict[str, Any]:
    """The health of one tap: `status` ok or degraded, and why."""
    reasons: list[str] = []
    for source in tap.sources:
        if not source.up:
            reasons.append(f"{source.name} is away ({source.detail})")
    if tap.archive.problem:
        reasons.append(f"the archive can't be written: {tap.archive.problem}")
    if tap.counters["errors"]:
        reasons.append(f"analysis failed {tap.counters['errors']} times")
    if stuck(tap):
        reasons.append("the pipeline hangs")
    return {
        "format": FORMAT,
        "site": site,
        "tap": tap.name,
        "time": rfc3339(now),
        "status": "degraded" if reasons else "ok",
        "reasons": reasons,
        "sources": {
            source.name: {
                "up": source.up,
                "detail": source.detail,
                "last": rfc3339(tap.last_item[source.name]) if source.name in tap.last_item else None,
                **{name: source.counters[name] for name in sorted(source.counters)},
            }
            for source in tap.sources
        },
        "archive": {
            "id": tap.archive.stem,
            "writable": not tap.archive.problem,
            "files": tap.archive.files,
            "bytes": tap.archive.files_bytes,
            "items_lost": tap.archive.counters["lost"],
        },
        "queue": {"items": len(tap.inbox), "high": tap.inbox.high, "limit": tap.inbox.capacity, "full": tap.inbox.full},
        "sessions_open": len(tap.open_sessions),
    }


def health(site: str, taps: Sequence[dict[str, Any]], mqtt: Publisher | None, findings: FindingsLog, *, now: int, started: float) -> dict[str, Any]:
    """The health of the whole: degraded when a tap or a sink is."""
    reasons = [f"{tap['tap']}: {reason}" for tap in taps for reason in tap["reasons"]]
    if findings.problem:
        reasons.append(f"the findings log can't be written: {findings.problem}")
    tree: dict[str, Any] = {
        "format": FORMAT,
        "site": site,
        "time": rfc3339(now),
        "version": __version__,
        "uptime_s": round(time.monotonic() - started, 1),
        "taps": {tap["tap"]: tap["status"] for tap in taps},
    }
    if mqtt is not None:
        if mqtt.outbox.problem:
            reasons.append(f"the outbox can't be used: {mqtt.outbox.problem}")
        if mqtt.outbox.counters["dropped"]:
            reasons.append(f"{mqtt.outbox.counters['dropped']} messages were dropped while the broker was away")
        tree["outbox"] = {"messages": mqtt.outbox.backlog, "dropped": mqtt.outbox.counters["dropped"]}
    return {**tree, "status": "degraded" if reasons else "ok", "reasons": reasons}


def stuck(tap: TapPipeline) -> bool:
    """Whether the pipeline hangs."""
    return not tap.done and time.monotonic() - tap.beat > STUCK_SECONDS
