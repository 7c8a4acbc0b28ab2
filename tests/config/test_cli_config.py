"""`plugtap config` as a person uses it."""

from __future__ import annotations

import pathlib

import pytest

from plugtap.cli.main import main
from plugtap.config.load import default_toml


def test_default_is_printed_and_passes_its_own_check(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "default"]) == 0
    printed = capsys.readouterr().out
    assert printed == default_toml()
    file = tmp_path / "plugtap.toml"
    file.write_text(printed)
    assert main(["config", "check", str(file)]) == 0
    assert "is fine: site site, taps garage (plc)" in capsys.readouterr().out


def test_wrong_settings_are_exit_code_2_and_one_line(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plugtap.toml"
    file.write_text("[mqtt]\nport = 70000\n")
    assert main(["config", "check", str(file)]) == 2
    error = capsys.readouterr().err
    assert error == "plugtap config: mqtt.port: 70000 is not allowed (write a port number, 1 to 65535)\n"


def test_missing_file_and_bad_encoding(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(tmp_path / "none.toml")]) == 2
    assert "plugtap config default" in capsys.readouterr().err
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    assert main(["config", "check", str(tmp_path / "latin.toml")]) == 2
    assert "UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("time-precharge", 0, "is fine"),
        ("time-*", 0, "is fine"),
        ("time-prechrge", 2, "did you mean time-precharge?"),
        ("zzz", 2, "`plugtap checks`"),
    ],
)
def test_checks_that_are_set_must_be_there(name: str, code: int, said: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plugtap.toml"
    for section in (f'[analysis.checks."{name}"]', f'[tap.garage.checks."{name}"]'):
        file.write_text(default_toml() + f"\n{section}\nenabled = false\n")
        assert main(["config", "check", str(file)]) == code
        out = capsys.readouterr()
        assert said in out.out + out.err
