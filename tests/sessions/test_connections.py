"""How far every connection of the real captures came, held against an independent decode of them."""

from __future__ import annotations

import contextlib
import csv
import pathlib

import pytest
from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.cli.inputs import CaptureItems


def sessions_of(path: pathlib.Path) -> list[SessionReport]:
    source = CaptureItems([str(path)])
    with contextlib.closing(source):
        analysis = Analysis(sources=source.sources(), foreign=True, checks={})
        for item in source.items():
            analysis.feed(item)
    analysis.finish()
    return analysis.reports()


@pytest.mark.slow
def test_sessions_reach_what_the_furthest_responses_show(captures: pathlib.Path) -> None:
    with (captures / "v2g-connections.tsv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if row["tls"] == "no"]
    known: dict[str, list[SessionReport]] = {}
    wrong, alone = [], []
    for row in rows:
        name, first, last = row["file"], int(row["first_frame"]), int(row["last_frame"])
        if name not in known:
            known[name] = sessions_of(captures / "files" / name)
        around = [session for session in known[name] if session.first_frame <= first and session.last_frame >= last]
        if any(session.reached == row["furthest_response"] for session in around):
            continue
        # One message is no dialogue: the tail of the session before, a try that another connection went on with, or a
        # damaged port number.
        (alone if row["messages"] == "1" and around else wrong).append(f"{name} {first}-{last}: {row['furthest_response']}")
    assert len(rows) > 100
    assert not wrong, "\n".join(wrong)
    assert len(alone) <= 7, "\n".join(alone)
