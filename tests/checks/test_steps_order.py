"""A request more or less in a row of order.tsv is heard: each one that the row names is asked and answered without a word, others are not."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator

from casebook import SETTINGS, Step
from lab import Lab, Result
from lab_good import Tree, iso2_status
from steps import Row, Run, each_row, pinned, run_all
from test_rows import BESIDE, BESIDE_TOLERATED, BY_EV, LABS, SPEAK, STATES
from test_steps_times import EXTRA, OK

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.checks.catalogue import load
from plugtap.checks.finding import Finding
from plugtap.protocols.items import Frame

# Exchanges that no good session has: what they come after, request and response. In DC the receipt's answer has another status.
MORE: dict[tuple[str, str, str], tuple[str, Tree, Tree]] = {
    ("din", "dc", "ServiceDetail"): ("ServiceDiscovery", {"ServiceID": 1}, OK | {"ServiceID": 1}),
    ("iso2", "dc", "MeteringReceipt"): ("CurrentDemand", EXTRA["iso2.MeteringReceipt"][2], OK | {"DC_EVSEStatus": iso2_status()}),
} | {(key.split(".")[0], name.split("-")[1], key.split(".")[1]): (after, request, response) for key, (name, after, request, response) in EXTRA.items()}
OTHERS = ("PowerDelivery", "ServiceDiscovery", "CableCheck", "DC_CableCheck", "WeldingDetection", "SessionSetup")  # asked where the row does not name them
# How else a session comes to a place: the end of an ISO 15118-20 session after which services are chosen anew.
CHANGES: dict[tuple[str, str], tuple[str, str]] = {("iso20", "SessionStop"): ("ChargingSession", "ServiceRenegotiation")}


def good(protocol: str, mode: str) -> Lab | None:
    name = f"{protocol}-{mode}"
    return Lab.good(name, pilot=False, slac=False) if name in LABS else None


def modes(mode: str) -> tuple[str, ...]:
    return ("dc", "ac") if mode == "any" else (mode,)


def exchange(protocol: str, mode: str, name: str) -> list[Step] | None:
    """A request of this name and its answer."""
    for one in dict.fromkeys((*modes(mode), "dc", "ac")):
        lab = good(protocol, one)
        if lab is None:
            continue
        if (protocol, one, name) in MORE:
            _, request, response = MORE[protocol, one, name]
            return [lab.message(f"{name}Req", request), lab.message(f"{name}Res", response)]
        if lab.find_or_none(f"{name}Req"):
            return [copy.deepcopy(step) for step in lab.find(name, 0)]
    return None


def place(protocol: str, mode: str, after: str) -> Lab:
    """A session that ends with the exchange after which the row stands."""
    base, _, state = after.partition(":")
    for one in modes(mode):
        lab = good(protocol, one)
        if lab is None:
            continue
        more = MORE.get((protocol, one, base))
        if more is not None and not lab.find_or_none(f"{base}Req"):
            lab.insert_after(f"{more[0]}Res", 0, lab.message(f"{base}Req", more[1]), lab.message(f"{base}Res", more[2]))
        requests = lab.find_or_none(f"{base}Req")
        if not requests:
            continue
        nth = 0
        if base == "PowerDelivery":
            kinds = [step.fields.get("ChargeProgress") or ("Start" if step.fields.get("ReadyToChargeState") else "Stop") for step in requests]
            nth = kinds.index(state) if state in kinds else 0
            if state not in kinds:
                lab.replace("PowerDeliveryReq", 0, ChargeProgress=state)
        elif state and base in BY_EV:
            lab.replace(f"{base}Req", 0, EVProcessing=state)
        elif state:
            end, field, content = STATES[state]
            lab.replace(f"{base}{end}", 0, {field: content})
        if (protocol, after) in CHANGES:
            field, content = CHANGES[protocol, after]
            lab.replace(f"{base}Req", 0, {field: content})
        return lab.stop_after(f"{base}Res", nth)
    raise AssertionError(f"no session comes to {protocol} {mode} {after}")


def judged(lab: Lab) -> Result:
    """The conversation through an analysis that knows the checks of the order."""
    items = lab.items(tail=3.0)
    analysis = Analysis(SETTINGS, sources=("plc",), checks={ident: check for ident, check in load().items() if ident in SPEAK})
    outputs: list[SessionReport | Finding] = []
    for item in items:
        outputs += analysis.feed(item)
    result = Result(analysis, items, outputs + analysis.finish(items[-1].t))
    assert not result.failures()
    return result


@functools.cache
def told(protocol: str, mode: str, after: str, name: str) -> dict[str, list[str]] | None:
    """The checks that speak of a request at this place, which is answered as if it were in order, and what they say is allowed.

    None where the protocol has no such request.
    """
    asked = exchange(protocol, mode, name)
    if asked is None:
        return None
    lab, (request, response) = place(protocol, mode, after), asked
    request.gap, request.header = 0.05, {"acked": False}
    number = max(item.number for item in lab.append(request).items(ticks=None) if isinstance(item, Frame))
    found = [f for f in judged(lab.append(response)).findings if number in f.frames]
    return {f.check: f.values["request"].limit if "request" in f.values else [] for f in found}


def quiet(row: Row, name: str, beside: set[str]) -> None:
    said = told(row["protocol"], row["mode"], row["after"], name)
    assert said is not None, f"no {name}Req is known"
    assert not said.keys() - beside, f"{name} may follow, and is told as {list(said)}"


def spoken(row: Row, name: str) -> None:
    said = told(row["protocol"], row["mode"], row["after"], name)
    if said is not None:
        assert said.keys() - BESIDE, f"{name} may not follow, and nothing is said"
        assert said.get("seq-unexpected-request") in (None, sorted(row["next"].split()))


def of_row(row: Row, table: str = "order") -> Iterator[Run]:
    """What may follow, what is tolerated, and what is neither."""
    told.cache_clear()
    allowed, tolerated = row["next"].split(), row["tolerated"].split()
    for name in allowed:
        yield lambda n=name: quiet(row, n, BESIDE)  # type: ignore[misc]
    for name in tolerated:
        yield lambda n=name: quiet(row, n, BESIDE_TOLERATED)  # type: ignore[misc]
    for name in OTHERS:
        if name not in allowed and name not in tolerated:
            yield lambda n=name: spoken(row, n)  # type: ignore[misc]


@each_row("order")
def test_what_may_follow_and_what_not(row: Row) -> None:
    run_all(of_row(row))


def test_no_row_tolerates_what_is_told_anyway() -> None:
    """SessionStop where `next` lacks it is information of seq-sessionstop-early or its like, and a handshake after a refusal is of no protocol yet."""
    for row in pinned("order"):
        assert "SessionStop" not in row["tolerated"].split()
        assert "supportedAppProtocol" not in row["tolerated"].split()
