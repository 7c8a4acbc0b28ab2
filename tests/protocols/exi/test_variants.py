"""What peers built on libcbv2g put on the wire in ACDP and WPT."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from exi_contents import Maker, messages

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.exi import variants
from plugtap.protocols.exi.encoder import encode_with
from plugtap.protocols.exi.tables import grammar

pytestmark = pytest.mark.usefixtures("engine")

HEADER = {"SessionID": "AD4A12C3F4D2A989", "TimeStamp": 1700000000}


def foreign(schema: str, content: dict[str, Any]) -> bytes:
    return encode_with(grammar(schema, variants.LIBCBV2G), content)


@pytest.mark.parametrize("name", ["ACDP_ConnectRes", "ACDP_DisconnectReq"])
def test_exchanged_roots(name: str) -> None:
    for seed in range(20):
        content = Maker("iso20acdp", Random(seed)).message(name)
        data = foreign("iso20acdp", content)
        assert data != exi.encode("iso20acdp", content)
        decoded = exi.decode_message("iso20acdp", data)
        assert (decoded.content, decoded.message, decoded.variant) == (content, name, "libcbv2g")


def test_root_codes() -> None:
    content = Maker("iso20acdp", Random(1)).message("ACDP_DisconnectReq")
    assert (exi.encode("iso20acdp", content)[1] >> 2, foreign("iso20acdp", content)[1] >> 2) == (2, 1)


@pytest.mark.parametrize("containers", [0, 1, 2])
def test_end_of_fine_positioning(containers: int) -> None:
    """Without a container, or with two, the end has code 1 where the schema gives it 2."""
    message: dict[str, Any] = {"Header": HEADER, "EVProcessing": "Finished", "EVResultCode": "EVResultSuccess"}
    if containers:
        message["VendorSpecificDataContainer"] = ["AAEC"] * containers
    content = {"WPT_FinePositioningReq": message}
    data, standard = foreign("iso20wpt", content), exi.encode("iso20wpt", content)
    assert (data == standard) is (containers == 1)
    decoded = exi.decode_message("iso20wpt", data)
    assert (decoded.content, decoded.variant) == (content, "" if containers == 1 else "libcbv2g")
    assert exi.decode_message("iso20wpt", standard).variant == ""


def test_all_four_messages_differ() -> None:
    standard, other = (grammar("iso20wpt", v).documents for v in ("", variants.LIBCBV2G))

    def states(production: Any) -> list[tuple[str, ...]]:
        todo, seen = [production.type.first()], []
        for state in todo:
            seen.append(tuple(p.key for p in state.productions))
            todo += [p.next for p in state.productions if p.next is not None and all(p.next is not s for s in todo)]
        return seen

    different = {a.key for a, b in zip(standard, other, strict=True) if a.type.value is None and states(a) != states(b)}
    assert different == {f"WPT_FinePositioning{rest}" for rest in ("Req", "Res", "SetupReq", "SetupRes")}


@pytest.mark.parametrize("schema", variants.SCHEMAS)
def test_standard_messages_stay_standard(schema: str) -> None:
    for name in messages(schema):
        for seed in range(10):
            content = Maker(schema, Random(seed)).message(name)
            decoded = exi.decode_message(schema, exi.encode(schema, content))
            assert (decoded.content, decoded.variant) == (content, "")


def test_damage_is_reported_by_the_standard() -> None:
    content = Maker("iso20acdp", Random(3)).message("ACDP_ConnectReq")
    data = exi.encode("iso20acdp", content)
    with pytest.raises(DecodeError) as caught:
        exi.decode("iso20acdp", data[:-2])
    assert caught.value.path.startswith("ACDP_ConnectReq/")
    longer = exi.decode_message("iso20acdp", data + b"\0\0\0")
    assert (longer.content, longer.trailing, longer.variant) == (content, 3, "")
