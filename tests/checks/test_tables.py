"""The tables beside the checks: readable, complete, and refused where they are not."""

from __future__ import annotations

import pytest

from plugtap.checks import tables
from plugtap.checks.catalogue import load
from plugtap.checks.tables import TableError, parse
from plugtap.protocols.exi.tables import read

HEADER = "name\tvalue\tunit\tsure\trefs\tsource\twhy\n"


def test_every_table_reads() -> None:
    assert tables.timeouts()["iso2", "CurrentDemand"].timeout == 0.25
    assert tables.timeouts()["din", "PowerDelivery"].timeout == 2
    assert tables.timeouts()["iso2", "PaymentDetails"].performance == 4.5
    assert tables.order()["din", "dc", "CableCheck:Finished"].next == {"PreCharge", "SessionStop"}
    assert tables.order()["iso2", "ac", "PowerDelivery:Start"].next == {"ChargingStatus"}
    assert tables.codes("response")["FAILED_ContactorError"].side == "SECC"
    assert tables.ranges()["din", "EVTargetVoltage"].unit == "V"
    assert tables.limits_of("v2g", "cable_check")["cable_check"].value == 40


def test_comments_and_blank_lines_are_no_rows() -> None:
    rows = parse(f"# a comment\n\n{HEADER}a\t1\ts\tsingle\tX\tY\tZ\n", "made")
    assert [r["name"] for r in rows] == ["a"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEADER + "a\t1\ts\tsingle\tX\tY\n", "line 2: 6 cells, not 7"),
        (HEADER + "a\t1\ts\tsurely\tX\tY\tZ\n", "line 2: sure is 'surely'"),
        ("name\tvalue\n" + "a\t1\n", "no column refs, source, sure"),
        ("# nothing\n", "no rows"),
    ],
)
def test_broken_tables_name_file_and_line(text: str, says: str) -> None:
    with pytest.raises(TableError, match=r"made\.tsv") as error:
        parse(text, "made")
    assert says in str(error.value)


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(TableError, match="no row no_such_limit"):
        tables.limits_of("v2g", "no_such_limit")
    with pytest.raises(TableError, match="no such table"):
        tables.rows("no-such-table")
    with pytest.raises(TableError, match="not a number"):
        tables.number({"value": "two", "line": "3"}, "value", "made")


def messages(schema: str) -> set[str]:
    """Names of the messages a schema set knows, without Req and Res."""
    names = {str(element[0]) for element in read(schema).elements}
    return {name[:-3] for name in names if name.endswith(("Req", "Res"))}


KNOWN = {
    "sap": messages("sap"),
    "din": messages("din"),
    "iso2": messages("iso2"),
    "iso20": set().union(*(messages(s) for s in ("iso20cm", "iso20ac", "iso20dc", "iso20acdp", "iso20wpt"))),
}


def test_timeouts_name_messages_that_exist() -> None:
    assert [(p, m) for p, m in tables.timeouts() if m not in KNOWN[p]] == []
    for key, row in tables.timeouts().items():
        assert row.fails >= row.timeout > (row.performance or 0), key


def test_order_names_messages_that_exist() -> None:
    for (protocol, _, after), rule in tables.order().items():
        named = {after.partition(":")[0], *rule.next, *rule.tolerated}
        assert named <= KNOWN[protocol] | {"supportedAppProtocol"}, after
        assert not rule.next & rule.tolerated, after


def test_every_state_of_the_order_is_reached_by_a_request() -> None:
    for protocol in ("din", "iso2", "iso20"):
        for mode in ("ac", "dc"):
            rules = {after: rule for (p, m, after), rule in tables.order().items() if (p, m) == (protocol, mode)}
            reached = {"supportedAppProtocol"}.union(*(rule.next | rule.tolerated for rule in rules.values()))
            assert {after.partition(":")[0] for after in rules} - reached == set(), (protocol, mode)


def test_presence_rows_belong_to_checks_that_use_them() -> None:
    named = {row["check"] for row in tables.rows("presence")}
    assert named <= load().keys()
    for check in named:
        assert all(row.message[:-3] in KNOWN[row.protocol] for row in tables.presence(check))


def test_codes_are_those_of_the_schemas() -> None:
    sides = {code.side for kind in ("response", "ev-error", "evse-status") for code in tables.codes(kind).values()}
    assert sides <= {"EVCC", "SECC", "authorization", "unknown"}
    assert {code.startswith(("FAILED", "WARNING")) for code in tables.codes("response")} == {True}


def test_every_limit_of_v2g_is_used() -> None:
    used = {name for check in load().values() for name in check.meta.limits}
    assert set(tables.limits_of("v2g")) - used == set()
