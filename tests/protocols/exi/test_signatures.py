"""Fragments, the form in which signed elements are digested (ISO 15118-2 7.9.2.4.2)."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError

ATTRIBUTES = {"Id", "Algorithm", "URI", "Name"}

SIGNED_INFO = {
    "SignedInfo": {
        "CanonicalizationMethod": {"@Algorithm": "http://www.w3.org/TR/canonical-exi/"},
        "SignatureMethod": {"@Algorithm": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"},
        "Reference": [
            {
                "@URI": "#id1",
                "Transforms": {"Transform": [{"@Algorithm": "http://www.w3.org/TR/canonical-exi/"}]},
                "DigestMethod": {"@Algorithm": "http://www.w3.org/2001/04/xmlenc#sha256"},
                "DigestValue": "0bXgPQBlvuVrMXmERTBR61TKGPwOCRYXT4s8d6mPSqk=",
            }
        ],
    }
}


def restored(value: Any) -> Any:
    """Contents of the reference decoder, which writes attributes bare and text as "value"."""
    if isinstance(value, dict):
        out = {}
        for key, inner in value.items():
            bare = key in ATTRIBUTES and isinstance(inner, str)
            out["#text" if key == "value" else f"@{key}" if bare else key] = restored(inner)
        return out
    return [restored(v) for v in value] if isinstance(value, list) else value


def with_id(value: Any, wanted: str) -> Iterator[tuple[str, Any]]:
    """Elements below `value` whose Id is `wanted`."""
    for key, inner in value.items() if isinstance(value, dict) else [("", v) for v in value] if isinstance(value, list) else []:
        if isinstance(inner, dict) and inner.get("@Id") == wanted:
            yield key, inner
        yield from with_id(inner, wanted)


def test_digests_of_real_messages(captures: Path) -> None:
    """Every signed element of the decrypted captures has the digest that its sender computed."""
    found: list[tuple[str, str, bool]] = []
    for path in sorted((captures / "decoded").glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            signed = [json.loads(line) for line in lines if '"Signature"' in line]
        for row in signed:
            content = restored(row["d"])
            message = content["V2G_Message"]
            references = message["Header"]["Signature"]["SignedInfo"]["Reference"]
            for reference in references if isinstance(references, list) else [references]:
                for name, element in with_id(message["Body"], reference["@URI"].lstrip("#")):
                    digest = hashlib.sha256(exi.encode_fragment(row["ns"], {name: element})).digest()
                    found.append((row["msg"], name, base64.b64encode(digest).decode() == reference["DigestValue"]))
    assert all(same for _, _, same in found), found
    assert {name for _, name, _ in found} == {
        "AuthorizationReq",
        "CertificateInstallationReq",
        "ContractSignatureCertChain",
        "ContractSignatureEncryptedPrivateKey",
        "DHpublickey",
        "MeteringReceiptReq",
        "SalesTariff",
        "eMAID",
    }


@pytest.mark.usefixtures("engine")
def test_signed_info_alone() -> None:
    """SignedInfo is digested with the grammar of xmldsig alone: 45 elements, so 6 bits, and not that of the messages."""
    data = exi.encode_fragment("xmldsig", SIGNED_INFO)
    assert exi.decode_fragment("xmldsig", data) == SIGNED_INFO
    assert data[1] >> 2 == 32
    for schema in ("din", "iso2", "iso20cm"):
        other = exi.encode_fragment(schema, SIGNED_INFO)
        assert other != data
        assert exi.decode_fragment(schema, other) == SIGNED_INFO


@pytest.mark.usefixtures("engine")
def test_element_with_two_types() -> None:
    """In -2 eMAID has two types, so its fragment uses the relaxed grammar, in which Id is that of MsgDataTypes."""
    content = {"eMAID": {"@Id": "ID4", "#text": "DEABC123456789Y"}}
    data = exi.encode_fragment("iso2", content)
    assert data.hex() == "80ec0202a4a21a40045111505090cc4c8ccd0d4d8dce0e567d3d00"
    assert exi.decode_fragment("iso2", data) == content


@pytest.mark.usefixtures("engine")
def test_more_than_one_element() -> None:
    one = exi.encode_fragment("iso2", {"AuthorizationReq": {}})
    bits = int.from_bytes(one, "big") >> 6  # AuthorizationReq's end, then ED 244: 11110100
    assert bin(bits).endswith("11110100")
    with pytest.raises(DecodeError, match="more than one element") as caught:
        exi.decode_fragment("iso2", ((bits ^ 1) << 6).to_bytes(len(one), "big"))
    assert caught.value.partial == {"AuthorizationReq": {}}
