"""Settings: the default file tells the truth, and each error names key, value and remedy."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugtap.config.errors import ConfigError
from plugtap.config.load import default_toml, parse_analysis, parse_settings
from plugtap.config.settings import Settings

TAP = '[tap.garage.capture]\ntype = "interface"\ninterface = "eth1"\n'


def uncommented() -> str:
    """The default file with every `#key = value` and `#[section]` line switched on."""
    lines = []
    for line in default_toml().splitlines():
        lines.append(re.sub(r"^#(?=[a-z_]+ = |\[)", "", line))
    return "\n".join(lines)


def test_default_file_loads_as_it_is() -> None:
    settings = parse_settings(default_toml())
    assert settings == msgspec.structs.replace(Settings(), tap=settings.tap)
    assert settings.sources_of("garage") == ("plc",)


def test_every_commented_value_is_the_default() -> None:
    """What the file says a key's value is when not set, is its value when not set."""
    settings = parse_settings(uncommented())
    example = settings.analysis.checks["time-precharge"]
    assert example.enabled is False and example.limits == {"precharge": 8.0}
    expected = Settings()
    for section in ("site", "privacy", "archive", "mqtt", "metrics", "log"):
        assert getattr(settings, section) == getattr(expected, section), section
    assert msgspec.structs.replace(settings.analysis, checks={}) == expected.analysis
    garage = settings.tap["garage"]
    assert garage.pilot is not None and garage.pilot.baud == 115200  # type: ignore[union-attr]


def test_the_default_file_shows_every_key() -> None:
    """A new setting without a line in the file would be a secret."""
    shown = tomllib.loads(uncommented())
    for section in Settings.__struct_fields__:
        if section == "tap":
            continue
        fields = set(getattr(Settings(), section).__struct_fields__)
        assert fields == set(shown[section]), section
    garage = parse_settings(uncommented()).tap["garage"]
    assert set(garage.__struct_fields__) - {"checks"} == set(shown["tap"]["garage"])
    assert set(garage.capture.__struct_fields__) | {"type"} == set(shown["tap"]["garage"]["capture"])
    assert set(garage.pilot.__struct_fields__) | {"type"} == set(shown["tap"]["garage"]["pilot"])


# text, key, what the message must hold
# fmt: off
WRONG = [
    ("x", "", ["TOML"]),
    ('[mqtt]\nport = "x"', "mqtt.port", ['"x"', "1 to 65535"]),
    ("[mqtt]\nport = 0", "mqtt.port", ["0", "1 to 65535"]),
    ("[mqtt]\nprotocl = '5'", "mqtt.protocl", ["no such key", "protocol"]),
    ("[mqtt]\nprotocol = '4'", "mqtt.protocol", ['"4"', '"3.1.1" or "5"']),
    ("[mqtt]\nbase = 'a/#'", "mqtt.base", ["a/#", "without + and #"]),
    ("[mqt]\nport = 1", "mqt", ["no such key", "mqtt"]),
    ("mqtt = 3", "mqtt", ["3", "section"]),
    ("[analysis]\nidle = -1", "analysis.idle", ["-1", "more than 0"]),
    ("analysis = 3", "analysis", ["3", "[analysis]"]),
    ("[analysis]\nchecks = 3", "analysis.checks", ["3"]),
    ("[analysis.checks.a]\nseverity = 'bad'", "analysis.checks.a.severity", ['"bad"', '"warning"']),
    ("[analysis.checks.a]\nlimits = { s = 'x' }", "analysis.checks.a.limits", ['"x"', "number"]),
    ("[tap.a.checks.b]\nenable = true", "tap.a.checks.b.enable", ["no such key", "enabled"]),
    ("[analysis.checks.a]\nexpected_until = '2027-13-99'", "analysis.checks.a.expected_until", ['"2027-13-99"', "2027-03-31"]),
    ("[analysis.checks.a]\nexpected_until = 'never'", "analysis.checks.a.expected_until", ['"never"']),
    ("[analysis.checks.a]\nlimits = { s = nan }", "analysis.checks.a.limits.s", ["nan", "finite"]),
    ("[archive]\nsync_seconds = inf", "archive.sync_seconds", ["inf", "finite"]),
    ("[site]\nname = 'Foo'", "site.name", ['"Foo"', "a-z"]),
    ("tap = 4", "tap", ["4"]),
    ("", "tap", ["no tap"]),
    ("[tap.a]", "tap.a", ["no source", "[tap.a.capture]"]),
    ("[tap]\na = 4", "tap.a", ["4", "[tap.a.capture]"]),
    ("[tap.A.capture]\ntype = 'pipe'\npath = '-'", "tap.A", ['"A"', "a-z"]),
    ("[tap.a.capture]\ntype = 'foo'", "tap.a.capture.type", ['"foo"', '"interface"', '"pipe"']),
    ("[tap.a.capture]\ninterface = 'e'", "tap.a.capture.type", ["missing", '"interface"']),
    ("[tap.a.capture]\ntype = 'interface'", "tap.a.capture.interface", ["missing", "ip link"]),
    ("[tap.a.capture]\ntype = 'interface'\ninterfac = 'e'", "tap.a.capture.interfac", ["interface?"]),
    ("[tap.a.capture]\ntype = 'tcp'\nhost = 'h'\nport = 99999", "tap.a.capture.port", ["99999", "65535"]),
    ("[tap.a]\nown_macs = ['aa']", "tap.a.own_macs[0]", ['"aa"', "02:00:00"]),
    ("[tap.a.pilot]\ntype = 'serial'\ndevice = 4", "tap.a.pilot.device", ["4", "serial"]),
    ("[archive]\nsplit_megabytes = 1\n" + TAP, "archive.split_megabytes", ["1", "64"]),
    ("[archive]\nkeep_megabytes = 100\n" + TAP, "archive.keep_megabytes", ["100", "64"]),
    ("[mqtt]\ntls = true\ncert_file = 'c'\n" + TAP, "mqtt.key_file", ["missing", "both"]),
    ("[mqtt]\nca_file = 'c'\n" + TAP, "mqtt.tls", ["false", "tls = true"]),
    ("[mqtt]\npassword_file = 'c'\n" + TAP, "mqtt.username", ["missing"]),
    (TAP + TAP.replace("garage", "yard"), "tap.yard.capture.interface", ['"eth1"', "tap.garage.capture.interface"]),
    ("[tap.a.capture]\ntype='file'\npath='f'\n[tap.a.pilot]\ntype='serial'\ndevice='d'", "tap.a.pilot", ["file"]),
]
# fmt: on


@pytest.mark.parametrize(("text", "key", "holds"), WRONG, ids=[f"{row[1]}-{number}" for number, row in enumerate(WRONG)])
def test_errors_name_key_value_and_remedy(text: str, key: str, holds: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text)
    assert caught.value.key == key
    for part in holds:
        assert part in str(caught.value)
    assert caught.value.remedy, "an error without a remedy leaves the operator alone"


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-5, 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.sampled_from(["", "a", "x/#"]),
)


@given(
    section=st.sampled_from([name for name in Settings.__struct_fields__ if name != "tap"]),
    data=st.data(),
)
def test_any_value_of_any_key_is_taken_or_explained(section: str, data: st.DataObject) -> None:
    """Nothing but ConfigError escapes, and it names the section."""
    field = data.draw(st.sampled_from(getattr(Settings(), section).__struct_fields__))
    value = data.draw(VALUES)
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    try:
        parse_settings(f"[{section}]\n{field} = {shown}\n{TAP}")
    except ConfigError as error:
        assert error.key.split(".")[0] in (section, "mqtt")
        assert error.remedy


@given(st.text(max_size=200))
def test_any_text_is_taken_or_explained(text: str) -> None:
    try:
        parse_settings(text)
    except ConfigError as error:
        assert str(error)


def test_analysis_settings_of_a_tap() -> None:
    settings = parse_settings(
        TAP + "[tap.garage]\nvantage = 'host'\nown_macs = ['02:00:00:AB:00:01']\n[tap.garage.checks.x]\nenabled = false\n"
        "[analysis]\nidle = 5.0\n[analysis.checks.x]\nseverity = 'info'\n[analysis.checks.y]\nseverity = 'error'\n"
    )
    analysis = settings.analysis_of("garage")
    assert (analysis.tap, analysis.vantage, analysis.idle, analysis.own_macs) == (
        "garage",
        "host",
        5.0,
        ("02:00:00:ab:00:01",),
    )
    assert analysis.checks["x"].enabled is False, "the tap's word about a check goes before the site's"
    assert analysis.checks["y"].severity == "error"


def test_analysis_settings_for_captures_from_elsewhere() -> None:
    """Without a tap the shared words count, with one its own too, with several the shared ones."""
    shared = "[analysis]\nidle = 5.0\n[analysis.checks.y]\nseverity = 'error'\n"
    assert parse_analysis(shared).idle == 5.0 and parse_analysis(shared).checks["y"].severity == "error"
    one = parse_analysis(shared + "[tap.garage]\nvantage = 'host'\n")
    assert (one.tap, one.vantage, one.idle) == ("garage", "host", 5.0)
    two = parse_analysis(shared + "[tap.a]\nvantage = 'host'\n[tap.b]\n")
    assert (two.tap, two.vantage) == ("tap", "unknown")
    with pytest.raises(ConfigError, match=r"analysis\.idl"):
        parse_analysis("[analysis]\nidl = 5.0")
