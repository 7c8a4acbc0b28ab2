"""`plugtap analyze` as a user runs it: what it prints, in which form, and what its exit code says."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import pty
import re
import signal
import subprocess
import termios
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from cli_lab import ROOT, archive, command, environment, failed, good, pcap, plugtap
from lab import Lab
from lab_wire import EV_MAC, EVSE_MAC, NMK, link_local

from plugtap.analysis.analysis import Analysis
from plugtap.checks import catalogue
from plugtap.checks.base import on
from plugtap.cli.interrupt import Stop
from plugtap.cli.main import main
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.events import V2gMessage
from plugtap.protocols.items import Item, Tick

SCHEMAS = ROOT / "docs" / "schema"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """good.pcap, failed.pcap (frames only) and archive.pcapng (with pilot and ticks)."""
    folder = tmp_path_factory.mktemp("captures")
    (folder / "good.pcap").write_bytes(pcap(good().items(ticks=None)))
    (folder / "failed.pcap").write_bytes(pcap(failed().items(ticks=None)))
    (folder / "archive.pcapng").write_bytes(archive(good().items()))
    return folder


class Said:
    """What a run printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def sessions(self) -> list[dict[str, Any]]:
        return [s for c in self.document["captures"] for s in c["sessions"]]


@pytest.fixture
def analyze(capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Run the command in this process."""

    def run(*args: str | Path) -> Said:
        code = main(["analyze", *map(str, args)])
        out, err = capfdbinary.readouterr()
        return Said(code, out.decode(), err.decode())

    return run


def valid(document: Any, name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.validate(document, schema)


# -- forms ---------------------------------------------------------------------------------------------------------


def test_text_says_what_happened_who_and_what_to_do(analyze: Any, folder: Path) -> None:
    said = analyze(folder / "failed.pcap")
    assert (said.code, said.err) == (1, "")
    head, facts, _, session, verdict, *rest = said.out.splitlines()
    assert head == str(folder / "failed.pcap")
    assert re.fullmatch(r"  1 session in \d+ frames · 2023-11-14 22:13:\d\d UTC · \d+ s", facts)
    assert session.startswith("  ✘ FAILED  reached pre-charge · DIN 70121 DC · ")
    assert verdict.startswith("    EVSE: ")
    assert any(line.startswith("    → ") for line in rest)
    assert any(re.match(r"    slac.* → matched.* → pre-charge \d+ s", line) for line in rest)
    assert "    seen: SLAC both sides, V2G both sides, pilot nothing" in rest
    assert not any(line != line.rstrip() for line in said.out.splitlines())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_fits_its_width(analyze: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = analyze(folder / "failed.pcap", "-v").out.splitlines()
    assert max(len(line) for line in lines if line != str(folder / "failed.pcap")) <= width
    assert str(folder / "failed.pcap") in lines, "a path stays whole"
    assert not any(line.endswith((" frame", "(rst")) for line in lines), "a number stays with its word"


def test_text_names_lesser_findings_and_shows_them_when_asked(analyze: Any, folder: Path) -> None:
    short, full = analyze(folder / "failed.pcap").out, analyze(folder / "failed.pcap", "--verbose").out
    (names,) = re.findall(r"^    also: (.+)$", short, re.MULTILINE)
    first = names.split(",")[0].split(" ×")[0]
    assert f"{first}: " not in short
    assert re.search(rf"^    info     {first}(?: ×\d+)?: .+ \(\d+\.\d+ s, frame \d+\)$", full, re.MULTILINE)
    assert "also:" not in full


def test_brief_is_one_line_a_session(analyze: Any, folder: Path) -> None:
    said = analyze(folder / "good.pcap", folder / "failed.pcap", "--brief")
    lines = said.out.splitlines()
    assert lines[0] == str(folder / "good.pcap")
    assert lines[1].startswith("  ✔ completed   charging      Charged ")
    assert lines[2] == str(folder / "failed.pcap")
    assert lines[3].startswith("  ✘ failed      pre-charge    EVSE: ")
    assert any(line.startswith("2 captures, 2 sessions: ✔ 1 completed, ✘ 1 failed") for line in lines)


def test_json_is_what_the_schema_says(analyze: Any, folder: Path) -> None:
    said = analyze(folder / "good.pcap", folder / "failed.pcap", "--format", "json")
    valid(said.document, "analyze")
    assert [s["outcome"] for s in said.sessions] == ["completed", "failed"]
    first, second = said.document["captures"]
    assert (first["file"], first["frames"]) == (str(folder / "good.pcap"), 172)
    assert first["start"].endswith("Z") and len(first["start"]) == 30
    assert second["sessions"][0]["verdict"]["side"] == "SECC"
    for session in said.sessions:
        for finding in session["findings"]:
            valid(finding, "finding")
            assert finding["session"] == session["id"]


def test_json_lines_name_their_type(analyze: Any, folder: Path) -> None:
    said = analyze(folder / "good.pcap", folder / "failed.pcap", "--format", "jsonl")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["type"] for row in rows] == ["session", "capture", "session", "capture"]
    for row in rows:
        if row["type"] == "session":
            valid(row, "session")
    assert (rows[1]["format"], rows[1]["file"]) == (1, str(folder / "good.pcap"))


def test_json_lines_come_while_the_capture_goes_on(tmp_path: Path) -> None:
    """Two sessions, and a pipe that stays open: the first one's line is there when it has ended."""
    capture = tmp_path / "two.pcapng"
    assert main(["simulate", "second-charge", "-o", str(capture)]) == 0
    pipe = subprocess.PIPE
    process = subprocess.Popen([*command(), "analyze", "-", "--format", "jsonl"], bufsize=0, stdin=pipe, stdout=pipe, env=environment())
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(capture.read_bytes()[:-4])
    first = json.loads(process.stdout.readline())
    assert (first["type"], first["state"], first["outcome"]) == ("session", "closed", "completed")
    process.stdin.close()
    rest = [json.loads(line) for line in process.stdout.read().splitlines()]
    process.stdout.close()
    assert [row["type"] for row in rest] == ["session", "capture"]
    assert rest[0]["id"] != first["id"]
    assert process.wait(30) == 0


def test_a_failed_session_counts_though_its_report_was_not_kept(analyze: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugtap.analysis.analysis.MAX_CLOSED", 1)
    joined = (str(folder / "failed.pcap"), str(folder / "good.pcap"))
    said = analyze("--join", *joined, "--format", "json")
    assert [session["outcome"] for session in said.sessions] == ["completed"]
    assert said.code == 1


def test_schemas_are_those_of_the_types() -> None:
    done = subprocess.run([str(Path(command()[0]).parent / "python"), str(ROOT / "tools" / "schema"), "--check"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


# -- inputs --------------------------------------------------------------------------------------------------------


def test_folders_are_searched_and_files_come_once(analyze: Any, folder: Path) -> None:
    (folder / "notes.txt").write_text("no capture")
    said = analyze(folder, folder / "good.pcap", "--format", "json")
    assert [Path(c["file"]).name for c in said.document["captures"]] == ["archive.pcapng", "failed.pcap", "good.pcap"]
    assert said.code == 1


def test_standard_input_and_gzip(folder: Path) -> None:
    plain = plugtap("analyze", folder / "good.pcap", "--format", "json")
    packed = plugtap("analyze", "-", "--format", "json", stdin=gzip.compress((folder / "good.pcap").read_bytes()))
    assert (plain.returncode, packed.returncode, packed.stderr) == (0, 0, b"")
    first, second = json.loads(plain.stdout)["captures"][0], json.loads(packed.stdout)["captures"][0]
    assert second["file"] == "-"
    assert first["sessions"] == second["sessions"]


def test_a_split_archive_read_as_one_says_the_same(analyze: Any, tmp_path: Path) -> None:
    items = good().items()
    middle = len(items) // 2
    next_number = next(i.number for i in items[middle:] if not isinstance(i, Tick))
    (tmp_path / "whole.pcapng").write_bytes(archive(items))
    # Named so that the alphabet is no help: the order is that of the first packets.
    (tmp_path / "z.pcapng").write_bytes(archive(items[:middle], results=None))
    (tmp_path / "a.pcapng").write_bytes(archive(items[middle:], next_number=next_number))
    whole = analyze(tmp_path / "whole.pcapng", "--format", "json")
    parts = analyze(tmp_path / "a.pcapng", tmp_path / "z.pcapng", "--join", "--format", "json")
    assert parts.sessions == whole.sessions
    assert parts.document["captures"][0]["frames"] == whole.document["captures"][0]["frames"]
    assert parts.document["captures"][0]["file"] == f"{tmp_path / 'z.pcapng'} … {tmp_path / 'a.pcapng'}"
    alone = analyze(tmp_path / "a.pcapng", tmp_path / "z.pcapng", "--format", "json")
    assert len(alone.sessions) > len(whole.sessions), "without --join each file stands alone"


def test_joined_pcaps_go_on_where_one_is_missing_or_damaged(analyze: Any, folder: Path, tmp_path: Path) -> None:
    items = good().items(ticks=None)
    third = len(items) // 3
    for i in range(3):
        (tmp_path / f"ring{i}.pcap").write_bytes(pcap(items[i * third : None if i == 2 else (i + 1) * third]))
    whole = analyze(folder / "good.pcap", "--format", "json")
    ring = [tmp_path / f"ring{i}.pcap" for i in range(3)]
    assert analyze(*ring, "--join", "--format", "json").sessions == whole.sessions
    said = analyze(tmp_path / "gone.pcap", *ring, "--join", "--format", "json")
    assert said.code == 3
    assert said.sessions == whole.sessions
    assert "gone.pcap: there is no such file" in said.err


def test_as_recorded_says_what_the_daemon_said(analyze: Any, tmp_path: Path) -> None:
    items = failed().items()
    settings = AnalysisSettings(site="lab", tap="left", idle=20.0)
    (tmp_path / "archive.pcapng").write_bytes(archive(items, settings=settings))
    direct = Analysis(settings, sources=("plc",))
    for item in items:
        direct.feed(item)
    direct.finish()
    expected = json.loads(msgspec.json.encode(direct.reports()))
    said = analyze(tmp_path / "archive.pcapng", "--as-recorded", "--format", "json")
    assert said.sessions == expected
    assert said.document["captures"][0]["coverage"]["ours"] is True
    other = analyze(tmp_path / "archive.pcapng", "--format", "json")
    assert other.sessions[0]["id"] != expected[0]["id"], "without it site and tap are those of this command"


def test_as_recorded_wants_an_archive(analyze: Any, folder: Path) -> None:
    said = analyze(folder / "good.pcap", folder / "archive.pcapng", "--as-recorded", "--format", "json")
    assert said.code == 3
    assert "good.pcap: is not an archive of plugtap" in said.err and "leave --as-recorded out" in said.err
    assert [s["outcome"] for s in said.sessions] == ["completed"]
    assert analyze(folder / "archive.pcapng", "--as-recorded", "-c", "x.toml").code == 2


def test_a_pilot_record_beside_a_capture(analyze: Any, tmp_path: Path) -> None:
    """The same session twice: with the pilot in an archive, and in a file of its own."""
    lab = Lab.good("din-dc")
    items: list[Item] = lab.items(ticks=None)
    (tmp_path / "frames.pcap").write_bytes(pcap(items))
    start = next(i.t for i in items if hasattr(i, "data"))
    rows = [f'{{"t": {(i.t - start) / 1e9}, "hi": {i.hi_mv / 1e3}, "lo": {i.lo_mv / 1e3}, "duty": {i.duty / 100}, "freq": {i.freq / 10}}}' for i in items if hasattr(i, "duty") and i.t >= start]
    (tmp_path / "pilot.jsonl").write_text("\n".join(rows))
    without = analyze(tmp_path / "frames.pcap", "--format", "json")
    assert without.sessions[0]["coverage"]["pilot"] == "none"
    said = analyze(tmp_path / "frames.pcap", "--cp", tmp_path / "pilot.jsonl", "--format", "json")
    assert said.sessions[0]["coverage"]["pilot"] == "cycles"
    assert said.document["captures"][0]["notes"] == []
    late = analyze(tmp_path / "frames.pcap", "--cp", tmp_path / "pilot.jsonl", "--cp-offset", "3600", "--format", "json")
    assert late.sessions[0]["coverage"]["pilot"] == "none"
    assert "none of its" in late.document["captures"][0]["notes"][0] and "--cp-offset" in late.document["captures"][0]["notes"][0]


def test_an_unreadable_pilot_record_stops_nothing(analyze: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pilot").write_text("nonsense\n")
    said = analyze(folder / "good.pcap", "--cp", tmp_path / "pilot", "--format", "json")
    assert said.code == 3
    assert f"{tmp_path / 'pilot'}: line 1 is in no known form" in said.err
    assert [s["outcome"] for s in said.sessions] == ["completed"]


def test_settings_file_applies(analyze: Any, folder: Path, tmp_path: Path) -> None:
    before = analyze(folder / "failed.pcap", "--format", "json")
    root = before.sessions[0]["verdict"]["check"]
    assert root is not None
    path = tmp_path / "plugtap.toml"
    path.write_text(f'[analysis.checks."{root}"]\nenabled = false\n')
    after = analyze(folder / "failed.pcap", "-c", path, "--format", "json")
    assert root not in {f["check"] for f in after.sessions[0]["findings"]}
    path.write_text('[analysis]\nidle = "long"\n')
    wrong = analyze(folder / "failed.pcap", "-c", path)
    assert (wrong.code, wrong.out) == (2, "")
    assert "analysis.idle" in wrong.err
    assert analyze(folder / "failed.pcap", "-c", tmp_path / "none.toml").code == 2


# -- identities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json", "jsonl"])
def test_redacted_output_holds_no_identity(analyze: Any, folder: Path, form: str) -> None:
    files = [folder / "good.pcap", folder / "failed.pcap"]
    secrets = [EV_MAC.hex(), EVSE_MAC.hex(), NMK.hex()]
    secrets += [link_local(mac)[8:].hex() for mac in (EV_MAC, EVSE_MAC)]

    def flat(text: str) -> str:
        return re.sub(r"[:\-]", "", text.lower())

    shown = analyze(*files, "--format", form, "-v")
    if form != "text":
        assert EV_MAC.hex() in flat(shown.out)
    said = analyze(*files, "--format", form, "-v", "--redact")
    assert said.code == shown.code
    for secret in secrets:
        assert secret not in flat(said.out)
    assert "fe80::ff:fe00:e01" not in said.out
    if form == "json":
        valid(said.document, "analyze")
        assert said.sessions[0]["evcc"]["mac"].startswith("h:")
        assert said.sessions[0]["evcc"]["mac"] == said.sessions[1]["evcc"]["mac"], "one key a run"


# -- exit codes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fail_on", "code"),
    [
        ("good.pcap", "error", 0),
        ("good.pcap", "failed", 0),
        ("good.pcap", "never", 0),
        ("failed.pcap", "error", 1),
        ("failed.pcap", "warning", 1),
        ("failed.pcap", "failed", 1),
        ("failed.pcap", "never", 0),
    ],
)
def test_exit_code_says_what_was_found(analyze: Any, folder: Path, name: str, fail_on: str, code: int) -> None:
    assert analyze(folder / name, "--fail-on", fail_on).code == code


def test_a_warning_counts_where_it_is_asked_for(analyze: Any, tmp_path: Path) -> None:
    lab = good()
    lab.delay("CM_ATTEN_CHAR.IND", 0, 2.0)
    (tmp_path / "slow.pcap").write_bytes(pcap(lab.items(ticks=None)))
    said = analyze(tmp_path / "slow.pcap", "--fail-on", "never", "--format", "json")
    worst = {f["severity"] for f in said.sessions[0]["findings"]}
    assert "warning" in worst and "error" not in worst
    assert analyze(tmp_path / "slow.pcap", "--fail-on", "warning").code == 1
    assert analyze(tmp_path / "slow.pcap", "--fail-on", "error").code == 0


def test_unreadable_files_say_why_and_the_rest_runs(analyze: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text("Roses are red, violets are blue, this is no capture.")
    (tmp_path / "packed.pcap.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    said = analyze(tmp_path / "none.pcap", tmp_path / "poem.txt", tmp_path / "packed.pcap.zst", folder / "failed.pcap", "--format", "json")
    assert said.code == 3, "3 beats 1"
    assert [s["outcome"] for s in said.sessions] == ["failed"]
    missing, poem, packed = said.err.splitlines()
    assert missing == f"plugtap analyze: {tmp_path / 'none.pcap'}: there is no such file"
    assert poem.startswith(f"plugtap analyze: {tmp_path / 'poem.txt'}: ") and "captures are pcap or pcapng files" in poem
    assert packed.endswith("is packed with zstd (unpack it first: zstd -d)")


def test_a_folder_without_captures_says_so(analyze: Any, tmp_path: Path) -> None:
    said = analyze(tmp_path)
    assert said.code == 3
    assert f"{tmp_path}: no captures in there" in said.err


def test_a_cut_file_is_read_to_its_end(analyze: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pcap").write_bytes((folder / "good.pcap").read_bytes()[:-7])
    said = analyze(tmp_path / "cut.pcap", "--format", "json")
    assert (said.code, said.err) == (0, "")
    (capture,) = said.document["captures"]
    assert capture["frames"] == 171
    assert len(capture["notes"]) == 1 and capture["notes"][0].startswith("cut at byte ")
    assert capture["sessions"][0]["outcome"] == "completed"


def test_what_stands_before_damage_is_analysed(analyze: Any, folder: Path, tmp_path: Path) -> None:
    data = (folder / "archive.pcapng").read_bytes()
    (tmp_path / "damaged.pcapng").write_bytes(data[: len(data) // 2] + b"\xff" * 4000 + data[len(data) // 2 :])
    said = analyze(tmp_path / "damaged.pcapng", folder / "good.pcap", "--format", "json")
    assert said.code == 3
    damaged, whole = said.document["captures"]
    assert len(damaged["sessions"]) == 1 and damaged["sessions"][0]["outcome"] == "incomplete"
    assert any("damaged at byte" in note for note in damaged["notes"])
    assert whole["sessions"][0]["outcome"] == "completed"
    assert "damaged at byte" in said.err


def test_no_capture_and_no_session(analyze: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").write_bytes(pcap([]))
    said = analyze(tmp_path / "empty.pcap")
    assert said.code == 0
    assert "no charging communication in 0 frames" in said.out


def test_a_check_that_fails_is_told(analyze: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not look as if nothing was found."""
    first = next(iter(catalogue.load().values()))

    class Broken(first):  # type: ignore[misc, valid-type]
        @on(V2gMessage)
        def message(self, event: V2gMessage) -> None:
            raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(catalogue, "load", lambda: {first.meta.id: Broken})
    (capture,) = analyze(folder / "good.pcap", "--format", "json").document["captures"]
    assert capture["notes"] == [f"the check {first.meta.id} failed 3 times (ZeroDivisionError: a mistake); please report it"]


# -- interruption --------------------------------------------------------------------------------------------------


def until_it_waits(process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Until the command has taken all of its standard input and sleeps, waiting for more; however busy the machine is."""
    assert process.stdin is not None
    deadline = time.monotonic() + seconds
    waiting = bytearray(4)
    asleep = 0
    while asleep < 5:
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "it goes on working"
        time.sleep(0.02)
        fcntl.ioctl(process.stdin, termios.FIONREAD, waiting)  # bytes in the pipe that it has not taken
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        asleep = asleep + 1 if state == "S" and not any(waiting) else 0


def interrupted(data: bytes, number: int, *args: str | Path) -> tuple[int, bytes, bytes]:
    """Give the command part of a capture, then a signal while it waits for more."""
    process = subprocess.Popen(
        [*command(), "analyze", *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()
    until_it_waits(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupting_keeps_what_was_found(folder: Path, number: int, code: int) -> None:
    data = (folder / "failed.pcap").read_bytes()
    result, out, err = interrupted(data[: len(data) * 2 // 3], number, folder / "good.pcap", "-", "--format", "json")
    assert result == code
    whole, partial = json.loads(out)["captures"]
    assert whole["sessions"][0]["outcome"] == "completed", "files before it are there"
    assert partial["sessions"][0]["reached"] == "pre-charge"
    assert partial["sessions"][0]["outcome"] == "incomplete"
    assert any("interrupted after frame" in note for note in partial["notes"])
    assert err == b"plugtap analyze: interrupted; what was found until then is printed\n"


def test_a_signal_between_items_ends_reading_after_the_item_at_hand() -> None:
    taken = []
    with Stop() as stop:
        for item in stop.reading(range(10)):
            taken.append(item)
            if item == 3:
                signal.raise_signal(signal.SIGINT)
                taken.append(-3)  # the item is finished
    assert (taken, stop.code) == ([0, 1, 2, 3, -3], 130)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_ends_a_read_that_waits() -> None:
    def waiting() -> Any:
        yield 1
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        time.sleep(20)
        yield 2

    begun = time.monotonic()
    with Stop() as stop:
        assert list(stop.reading(waiting())) == [1]
    assert stop.code == 143
    assert time.monotonic() - begun < 10


def test_a_reader_that_goes_away_is_no_failure(folder: Path) -> None:
    for form in ("text", "json"):
        process = subprocess.Popen(
            [*command(), "analyze", str(folder / "failed.pcap"), "--format", form], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
        process.stderr.close()


def test_progress_shows_on_a_terminal_when_reading_takes_long(folder: Path) -> None:
    data = (folder / "good.pcap").read_bytes()
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*command(), "analyze", "-", "--format", "json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave, env=environment(TERM="xterm")
    )
    os.close(slave)
    assert process.stdin is not None and process.stdout is not None
    shown = b""
    os.set_blocking(master, False)
    # Bytes come slowly until the bar has shown (a busy machine needs longer to start), then all the rest.
    at, step = 0, max(1, len(data) // 200)
    while at < len(data) and b"kB" not in shown and b"bytes" not in shown:
        process.stdin.write(data[at : at + step])
        process.stdin.flush()
        at += step
        time.sleep(0.15)
        with contextlib.suppress(BlockingIOError, OSError):
            shown += os.read(master, 65536)
    out, _ = process.communicate(data[at:], timeout=60)
    with contextlib.suppress(BlockingIOError, OSError):  # the other end is closed
        while piece := os.read(master, 65536):
            shown += piece
    os.close(master)
    assert process.returncode == 0
    assert json.loads(out)["captures"][0]["sessions"][0]["outcome"] == "completed"
    assert b"kB" in shown or b"bytes" in shown


# -- which checks --------------------------------------------------------------------------------------------------


def test_only_and_skip_choose_the_checks(analyze: Any, folder: Path) -> None:
    def checks(*options: str) -> set[str]:
        said = analyze(folder / "failed.pcap", "--format", "json", *options)
        return {f["check"] for s in said.sessions for f in s["findings"]}

    everything = checks()
    assert len(everything) > 2
    chosen = sorted(everything)[0]
    family = chosen.split("-")[0] + "-*"
    assert checks("--only", chosen) == {chosen}
    assert checks("--skip", chosen) == everything - {chosen}
    assert checks("--only", family) == {c for c in everything if c.startswith(family[:-1])}
    assert checks("--only", family, "--skip", chosen) == checks("--only", family) - {chosen}
    assert checks("--only", ",".join(sorted(everything)[:2])) == set(sorted(everything)[:2])


def test_a_pattern_without_a_check_is_a_mistake_told_before_anything_is_read(analyze: Any, folder: Path) -> None:
    said = analyze(folder / "failed.pcap", "--only", "slac-match-no-cnff")
    assert (said.code, said.out) == (2, "")
    assert "slac-match-no-cnf?" in said.err
    assert analyze(folder / "failed.pcap", "--max-findings", "0").code == 2


def test_findings_of_a_session_can_be_capped(analyze: Any, folder: Path) -> None:
    said = analyze(folder / "failed.pcap", "--format", "json", "--max-findings", "1")
    assert [len(s["findings"]) for s in said.sessions] == [1] * len(said.sessions)
