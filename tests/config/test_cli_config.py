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


@pytest.mark.parametrize(
    ("name", "limits", "said"),
    [
        ("time-precharge", "{ precharge = 8.0 }", ""),
        ("time-*", "{ precharge = 8.0 }", ""),
        ("cp-*", "{ }", ""),
        ("time-precharge", "{ prechage = 8.0 }", "there is no such limit (did you mean precharge?)"),
        ("time-precharge", "{ nope = 8.0 }", "there is no such limit (there are precharge"),
        ("time-precharge", "{ precharge = -1 }", "is -1 (write a number from 0 on; it is 7 unless set)"),
    ],
)
def test_limits_that_are_set_must_be_there(
    name: str, limits: str, said: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plugtap.toml"
    file.write_text(default_toml() + f'\n[analysis.checks."{name}"]\nlimits = {limits}\n')
    commands = (["config", "check", str(file)], ["checks", "-c", str(file), "time-precharge"])
    for command in commands:
        assert main(command) == (2 if said else 0)
        assert said in capsys.readouterr().err


def test_every_example_in_the_default_file_is_right(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever takes the comment sign away from the section about one check gets what stands there."""
    lines = default_toml().splitlines()
    begin = lines.index('#[analysis.checks."time-precharge"]')
    end = lines.index("[mqtt]")
    lines[begin:end] = [line.removeprefix("#") if not line.startswith("# ") else line for line in lines[begin:end]]
    file = tmp_path / "plugtap.toml"
    file.write_text("\n".join(lines))
    assert main(["config", "check", str(file)]) == 0, capsys.readouterr().err
