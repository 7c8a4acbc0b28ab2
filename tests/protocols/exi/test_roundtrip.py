"""decode(encode(x)) == x for every message of every set, with contents made from the tables, in both builds."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugtap.protocols import exi
from plugtap.protocols.exi import tables

from exi_contents import Maker, messages

EVERY = [(schema, name) for schema in exi.SCHEMAS for name in messages(schema)]


def test_every_set_has_its_messages() -> None:
    counts = {schema: len(messages(schema)) for schema in exi.SCHEMAS}
    assert counts == {"sap": 2, "din": 35, "iso2": 35, "iso20cm": 26, "iso20ac": 4, "iso20dc": 10, "iso20acdp": 8, "iso20wpt": 12}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("schema", "name"), EVERY, ids=lambda v: v)
def test_messages(schema: str, name: str) -> None:
    for seed in range(6):
        content = Maker(schema, Random(seed)).message(name)
        decoded = exi.decode_message(schema, exi.encode(schema, content))
        assert decoded.content == content
        assert (decoded.message, decoded.trailing, decoded.variant) == (name, 0, "")


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("schema", exi.FRAGMENT_SCHEMAS)
def test_every_element_as_a_fragment(schema: str) -> None:
    names = [local for local, _ in tables.read(schema).elements]
    for name in sorted({n for n in names if names.count(n) == 1}):
        if name == "eMAID" and schema == "iso2":
            continue  # two types: any element of the set may stand in it; see test_signatures
        maker = Maker(schema, Random(name))
        if not maker.can_end(name):
            assert name in ("Object", "SignatureProperties", "SignatureProperty")
            continue
        content = maker.element(name)
        assert exi.decode_fragment(schema, exi.encode_fragment(schema, content)) == content


@pytest.mark.usefixtures("engine")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(EVERY), seed=st.integers(0, 1 << 40), most=st.integers(1, 30))
def test_any_message(where: tuple[str, str], seed: int, most: int) -> None:
    schema, name = where
    content = Maker(schema, Random(seed), most).message(name)
    data = exi.encode(schema, content)
    assert exi.decode(schema, data) == content
    assert exi.encode(schema, exi.decode(schema, data)) == data


@pytest.mark.usefixtures("engine")
def test_key_order_does_not_matter_to_the_encoder() -> None:
    content = Maker("iso2", Random(5)).message("CurrentDemandRes")
    inner = content["V2G_Message"]["Body"]["CurrentDemandRes"]
    turned = {"V2G_Message": {"Body": {"CurrentDemandRes": dict(reversed(inner.items()))}, "Header": content["V2G_Message"]["Header"]}}
    data = exi.encode("iso2", turned)
    assert data == exi.encode("iso2", content)
    assert list(exi.decode("iso2", data)["V2G_Message"]["Body"]["CurrentDemandRes"]) == list(inner)
