"""`plugtap decode` as a user runs it."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_lab import archive, command, environment, good, pcap, plugtap
from lab_wire import EV_MAC, NMK

from plugtap.cli.main import main
from plugtap.protocols import exi


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decode") / "good.pcap"
    path.write_bytes(pcap(good().items(ticks=None)))
    return path


@pytest.fixture
def decode(capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Run the command in this process: exit code, JSON objects, standard error."""

    def run(*args: str | Path) -> tuple[int, list[dict[str, Any]], str]:
        code = main(["decode", *map(str, args)])
        out, err = capfdbinary.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err.decode()

    return run


def test_every_v2g_message_is_a_line(decode: Any, path: Path) -> None:
    code, rows, err = decode(path)
    assert (code, err) == (0, "")
    said = [row["message"] for row in rows]
    assert said == [step.name for step in good().steps if step.kind == "v2g"]
    first = rows[0]
    assert (first["layer"], first["schema"], first["side"], first["payload_type"]) == ("v2g", "sap", "EVCC", "0x8001")
    assert first["src"] == "[fe80::ff:fe00:e01]:49200"
    assert set(first["content"]) == {"supportedAppProtocolReq"}
    assert {row["session"] for row in rows} == {rows[0]["session"]} != {None}
    assert [(row["frame"], row["index"]) for row in rows] == sorted((row["frame"], row["index"]) for row in rows)
    setup = next(row for row in rows if row["message"] == "SessionSetupReq")
    assert setup["content"]["V2G_Message"]["Body"]["SessionSetupReq"] == {"EVCCID": "020000000E01"}
    assert re.fullmatch(r"2023-11-14T22:13:\d\d\.\d{9}Z", setup["time"])


def test_layers(decode: Any, path: Path) -> None:
    _, v2g, _ = decode(path)
    _, slac, _ = decode(path, "--layer", "slac")
    _, every, _ = decode(path, "--layer", "all")
    assert {row["layer"] for row in slac} == {"slac"}
    assert slac[0]["message"] == "CM_SLAC_PARM.REQ"
    assert {row["layer"] for row in every} == {"v2g", "slac", "sdp"}
    sdp = [row for row in every if row["layer"] == "sdp"]
    assert [row["message"] for row in sdp] == ["SDPReq", "SDPRes"]
    assert sdp[1]["content"]["port"] == 61341
    assert len(every) == len(v2g) + len(slac) + len(sdp)


def test_archives_and_pipes(decode: Any, path: Path, tmp_path: Path) -> None:
    (tmp_path / "archive.pcapng").write_bytes(archive(good().items()))
    _, rows, _ = decode(path)
    _, archived, _ = decode(tmp_path / "archive.pcapng")
    assert [row["content"] for row in archived] == [row["content"] for row in rows]
    done = plugtap("decode", "-", stdin=gzip.compress(path.read_bytes()))
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line) for line in done.stdout.splitlines()] == rows


def test_undecodable_payloads_say_where_and_why(decode: Any, tmp_path: Path) -> None:
    lab = good()
    lab.find("CableCheckReq", 0)[0].raw = bytes.fromhex("809a0011") + b"\xff" * 12
    (tmp_path / "odd.pcap").write_bytes(pcap(lab.items(ticks=None)))
    code, rows, err = decode(tmp_path / "odd.pcap")
    assert code == 0
    (odd,) = [row for row in rows if row["message"] is None]
    assert odd["exi"] == "809a0011" + "ff" * 12
    assert odd["error"]["layer"] == "exi" and odd["error"]["reason"]
    assert odd["content"] is None
    assert "1 payloads could not be decoded" in err
    assert decode(tmp_path / "odd.pcap", "--strict")[0] == 1


def test_redacted_lines_hold_no_identity(decode: Any, path: Path) -> None:
    _, rows, _ = decode(path, "--layer", "all")
    _, redacted, _ = decode(path, "--layer", "all", "--redact")

    def flat(value: object) -> str:
        return re.sub(r"[:\-]", "", json.dumps(value).lower())

    for secret in (EV_MAC.hex(), NMK.hex(), "00fffe000e01", "00fffe00e01"):
        assert secret not in flat(redacted)
    assert EV_MAC.hex() in flat(rows) and NMK.hex() in flat(rows)
    assert [(r["frame"], r["message"]) for r in redacted] == [(r["frame"], r["message"]) for r in rows]


def test_cut_and_foreign_files(decode: Any, path: Path, tmp_path: Path) -> None:
    _, rows, _ = decode(path)
    (tmp_path / "cut.pcap").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, some, _ = decode(tmp_path / "cut.pcap")
    assert code == 0
    assert 0 < len(some) < len(rows)
    assert some == rows[: len(some)]
    (tmp_path / "poem.txt").write_text("not a capture at all, just some words")
    code, none, err = decode(tmp_path / "poem.txt")
    assert (code, none) == (3, [])
    assert "poem.txt" in err and "captures are pcap or pcapng files" in err


def test_one_payload(decode: Any) -> None:
    data = exi.encode("sap", {"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 1}})
    code, (row,), _ = decode("--exi", data.hex())
    assert code == 0
    assert (row["schema"], row["message"], row["guessed"]) == ("sap", "supportedAppProtocolRes", True)
    assert row["content"] == {"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 1}}
    _, (named,), _ = decode("--exi", data.hex(" "), "--schema", "sap")
    assert named == {**row, "guessed": False}
    code, (wrong,), _ = decode("--exi", "80ffff", "--schema", "din")
    assert code == 0  # as with files: undecodable payloads are no failure of the command, unless --strict says so
    assert decode("--exi", "80ffff", "--schema", "din", "--strict") == (1, [wrong], "")
    assert wrong["message"] is None and wrong["error"]["reason"]
    # ACDP_ConnectRes with the root code that libcbv2g gives it
    _, (foreign,), _ = decode("--exi", "80080456a50961fa6954c4880e2cfaa062000108", "--schema", "iso20acdp")
    assert (foreign["message"], foreign["variant"]) == ("ACDP_ConnectRes", "libcbv2g")
    done = plugtap("decode", "--exi", "-", stdin=data.hex().encode() + b"\n")
    assert json.loads(done.stdout) == row


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give either a capture FILE or --exi HEX"),
        (["x.pcap", "--exi", "80"], "give either a capture FILE or --exi HEX"),
        (["--exi", "8x"], "hexadecimal digits"),
        (["--exi", "ff"], "name one with --schema"),
    ],
)
def test_wrong_usage_says_what_to_write(decode: Any, args: list[str], words: str) -> None:
    code, rows, err = decode(*args)
    assert (code, rows) == (2, [])
    assert words in err


def test_a_live_capture_is_printed_line_by_line(path: Path) -> None:
    """What came is there at once, though the capture goes on; Ctrl-C ends it."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(  # without a buffer: communicate() would miss what readline() has read ahead
        [*command(), "decode", "-"], bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, env=environment()
    )
    assert process.stdin is not None and process.stdout is not None
    data = path.read_bytes()
    process.stdin.write(data[: len(data) // 2])
    process.stdin.flush()
    first = json.loads(process.stdout.readline())
    assert first["message"] == "supportedAppProtocolReq"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b""
    assert all(json.loads(line) for line in out.splitlines())


def test_a_line_comes_again_when_its_schema_becomes_known(decode: Any, tmp_path: Path) -> None:
    """Joined late, the first messages in the payload type of another protocol: the lines after them say what the connection speaks."""
    lab = good()
    first = lab.find("CableCheckReq")[0]
    lab.steps = lab.steps[next(i for i, step in enumerate(lab.steps) if step is first) :]
    lab.header("CableCheckReq", 0, payload_type=0x8004)
    path = tmp_path / "late.pcap"
    path.write_bytes(pcap(lab.items(ticks=None)))
    code, rows, err = decode(path)
    assert (code, err) == (0, "")
    again = [row for row in rows if "again" in row]
    [line] = again
    before = rows[0]
    assert (before["schema"], before["guessed"]) == ("iso20dc", False)
    assert (line["frame"], line["time"], line["index"], line["known_from"]) == (
        before["frame"], before["time"], before["index"], rows[rows.index(line) - 1]["frame"],
    )  # fmt: skip
    assert (line["again"], line["schema"], line["message"], line["guessed"]) == (True, "din", "CableCheckReq", True)
    assert (line["schema_before"], line["message_before"]) == (before["schema"], before["message"])
