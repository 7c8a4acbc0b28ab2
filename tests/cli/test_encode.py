"""`plugtap encode` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_lab import plugtap
from lab_good import GOOD

from plugtap.cli.main import main
from plugtap.protocols import exi

RESPONSE = {"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 1}}


def test_json_becomes_exi(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "message.json").write_text(json.dumps(RESPONSE))
    assert main(["encode", "--schema", "sap", str(tmp_path / "message.json")]) == 0
    data = bytes.fromhex(capsys.readouterr().out)
    assert exi.decode_message("sap", data).content == RESPONSE


@pytest.mark.parametrize("name", ["din-dc", "iso2-ac"])
def test_what_decode_prints_is_what_encode_takes(name: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    schema = name.split("-", maxsplit=1)[0]
    header = {"SessionID": "0102030405060708"}
    for message, request, response, _ in GOOD[name]():
        for kind, body in (("Req", request), ("Res", response)):
            if message.startswith("supportedAppProtocol"):
                continue
            data = exi.encode(schema, {"V2G_Message": {"Header": header, "Body": {message + kind: body}}})
            assert main(["decode", "--exi", data.hex(), "--schema", schema]) == 0
            decoded = json.loads(capfdbinary.readouterr().out)
            assert decoded["message"] == message + kind
            (tmp_path / "content.json").write_text(json.dumps(decoded["content"]))
            assert main(["encode", "--schema", schema, str(tmp_path / "content.json")]) == 0
            assert capfdbinary.readouterr().out.decode().strip() == data.hex()


def test_standard_input() -> None:
    done = plugtap("encode", "--schema", "sap", stdin=json.dumps(RESPONSE).encode())
    assert done.returncode == 0
    assert exi.decode_message("sap", bytes.fromhex(done.stdout.decode())).content == RESPONSE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"\xff\xfe", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"a":' * 100_000, "not a JSON object"),
        (b"{}", "not a message of sap"),
        (b'{"supportedAppProtocolRes": {"ResponseCode": "Maybe"}}', "not a message of sap"),
        (b'{"supportedAppProtocolRes": []}', "not a message of sap"),
        (b'{"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 4711}}', "not a message of sap"),
        (b'{"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 1, "More": 1}}', "not a message of sap"),
    ],
)
def test_what_is_no_message_says_so(content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.json").write_bytes(content)
    assert main(["encode", "--schema", "sap", str(tmp_path / "wrong.json")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", "--schema", "din", str(tmp_path / "none.json")]) == 2
    assert "none.json: No such file" in capsys.readouterr().err


def test_schema_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["encode"])
    assert left.value.code == 2
    assert "--schema" in capsys.readouterr().err
