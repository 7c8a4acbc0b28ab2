"""`plugtap checks`, and checks of third parties."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from cli_lab import pcap
from lab import Lab
from plugtap.checks.catalogue import load
from plugtap.checks.registry import REGISTRY
from plugtap.cli import plugins
from plugtap.cli.main import main
from plugtap.config.analysis import CheckSettings
from plugtap.config.errors import ConfigError

ACME = """
from plugtap.checks.base import Check, on
from plugtap.checks.meta import Meta
from plugtap.protocols.events import V2gMessage


class DoorOpen(Check):
    meta = Meta(
        id="acme-door-open", title="The door is open", severity="info", class_="info", effect="none", side="SECC", trigger="always",
        cause="somebody opened it", fix="close it", refs=("acme 1",), example="open",
    )

    @on(V2gMessage, "SessionSetupRes")
    def setup(self, ev):
        self.arm()
        self.fire(ev, "The door is open.")


NOT_A_CHECK = 7
"""


def spoken(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def objects(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(spoken(capsys))


@pytest.fixture
def capture(tmp_path: pathlib.Path) -> str:
    """A capture of a good session."""
    path = tmp_path / "good.pcap"
    path.write_bytes(pcap(Lab.good("din-dc", pilot=False).items(ticks=None, tail=0.0)))
    return str(path)


@pytest.fixture
def acme(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that offers checks."""
    site = tmp_path / "site"
    dist = site / "acme_plugtap-1.0.dist-info"
    dist.mkdir(parents=True)
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugtap\nVersion: 1.0\n")
    names = {
        "acme-door-open": "acme_checks_of_a_test:DoorOpen",
        "acme-number": "acme_checks_of_a_test:NOT_A_CHECK",
        "acme-missing": "acme_checks_of_a_test:Nothing",
        "acme-other-name": "acme_checks_of_a_test:DoorOpen",
    }
    (dist / "entry_points.txt").write_text("[plugtap.checks]\n" + "".join(f"{n} = {v}\n" for n, v in names.items()))
    (site / "acme_checks_of_a_test.py").write_text(ACME)
    monkeypatch.syspath_prepend(str(site))
    yield
    plugins.forget(["acme-door-open"])


def test_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks"]) == 0
    out = spoken(capsys)
    assert f"{len(load())} checks" in out
    assert "slac-match-no-cnf" in out


def test_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "--family", "slac", "--severity", "error", "--class", "timeout", "--protocol", "din", "--json"]) == 0
    rows = objects(capsys)
    assert {"slac-match-no-cnf", "slac-start-atten-late"} <= {r["id"] for r in rows}
    assert all(r["family"] == "slac" and r["severity"] == "error" and r["class"] == "timeout" for r in rows)
    assert main(["checks", "--find", "CM_SLAC_MATCH.REQ", "--json"]) == 0
    assert "slac-match-no-cnf" in {r["id"] for r in objects(capsys)}
    assert main(["checks", "pp-*", "--json"]) == 0
    assert {r["family"] for r in objects(capsys)} == {"pp"}


def test_explains_one_with_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "slac-start-atten-late"]) == 0
    out = " ".join(spoken(capsys).split())
    assert "no CM_START_ATTEN_CHAR.IND within 0.4 s of CM_SLAC_PARM.CNF" in out
    for part in ("likely cause:", "remedy:", "needs: both sides of SLAC", "losses: frames lost", "limits: TT_match_sequence = 0.4 s", "example:"):
        assert part in out


def test_limits_as_the_site_has_set_them(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "plugtap.toml"
    settings.write_text("[analysis.checks.slac-match-no-cnf]\nlimits = { match_wait = 45 }\n")
    assert main(["checks", "slac-match-no-cnf", "-c", str(settings)]) == 0
    assert "match_wait = 45 s" in " ".join(spoken(capsys).split())


def test_says_where_an_id_without_a_check_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "cross-cp-ef-during-session"]) == 0
    out = spoken(capsys)
    assert "cp-state-e" in out and "said by another check" in out
    assert main(["checks", "tls-*", "--planned", "--json"]) == 0
    assert {r["status"] for r in objects(capsys)} == {"tls"}


def test_misspelt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "slac-match-no-cmf"]) == 2
    assert "did you mean slac-match-no-cnf?" in capsys.readouterr().err


def test_stats(capture: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "slac-*", "--json", "--stats", capture]) == 0
    told = objects(capsys)
    rows = {r["id"]: r for r in told["checks"]}
    assert (told["captures"], told["sessions"], told["raised"]) == (1, 1, {})
    assert rows["slac-atten-all-zero"] | {"armed": 1, "fired": 1, "info": 1, "sessions": 1} == rows["slac-atten-all-zero"]
    assert rows["slac-parm-no-cnf"]["armed"] == 1 and rows["slac-parm-no-cnf"]["fired"] == 0
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(b"this is no capture" * 10)
    assert main(["checks", "--stats", capture, str(broken)]) == 3
    said = capsys.readouterr()
    assert "1 captures, 1 sessions" in said.out and "1 captures unreadable in whole" in said.out
    assert "broken.pcap" in said.err


def test_stats_of_nothing(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "--stats", str(tmp_path)]) == 3
    assert "no captures" in capsys.readouterr().err


# --- third parties ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("acme")
def test_third_party_check_runs_only_when_named(capture: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", capture, "--format", "json"]) == 0
    assert "acme-door-open" not in spoken(capsys)
    settings = tmp_path / "plugtap.toml"
    settings.write_text("[analysis.checks.acme-door-open]\nenabled = true\n")
    assert main(["analyze", capture, "--format", "json", "-c", str(settings)]) == 0
    findings = objects(capsys)["captures"][0]["sessions"][0]["findings"]
    assert [f["detail"] for f in findings if f["check"] == "acme-door-open"] == ["The door is open."]
    assert main(["checks", "acme-door-open", "-c", str(settings)]) == 0
    assert "somebody opened it" in spoken(capsys)


@pytest.mark.usefixtures("acme")
def test_third_party_check_is_known_to_the_settings(tmp_path: pathlib.Path) -> None:
    settings = tmp_path / "plugtap.toml"
    settings.write_text('[tap.a.capture]\ntype = "file"\npath = "x.pcap"\n[analysis.checks.acme-door-open]\nenabled = false\n')
    assert main(["config", "check", str(settings)]) == 0
    assert "acme-door-open" not in REGISTRY


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("name", "problem"),
    [("acme-number", "is no check"), ("acme-missing", "can't be loaded"), ("acme-other-name", "is the check acme-door-open")],
)
def test_third_party_check_that_will_not_do(name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as wrong:
        plugins.enable({name: CheckSettings(enabled=True)})
    assert wrong.value.key == f"analysis.checks.{name}"
    assert name not in REGISTRY


def test_nothing_offered_nothing_loaded() -> None:
    assert plugins.enable({"slac-*": CheckSettings(enabled=True), "acme-x": CheckSettings(enabled=False)}) == []
