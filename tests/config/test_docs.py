"""docs/running.md tells the truth about what can be tried."""

from __future__ import annotations

import pathlib
import re

from plugtap.config.settings import Settings
from plugtap.protocols.cp_text import parse_line

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "running.md").read_text()


def test_the_text_line_shown_is_understood() -> None:
    (line,) = re.findall(r"^CP,[0-9].*$", PAGE, re.MULTILINE)
    reading = parse_line(line)
    assert reading is not None and (reading.hi_mv, reading.lo_mv, reading.duty) == (9012, -11987, 500)


def test_settings_named_are_there() -> None:
    settings = Settings()
    for section, key in re.findall(r"`(archive|mqtt|log|site|privacy|analysis)\.([a-z_]+)`", PAGE):
        assert hasattr(getattr(settings, section), key), f"{section}.{key}"


def test_all_source_types_are_listed() -> None:
    from plugtap.config import settings as module

    tags = {
        struct.__struct_config__.tag
        for struct in vars(module).values()
        if isinstance(struct, type) and issubclass(struct, module.Section) and struct.__struct_config__.tag
    }
    for tag in tags:
        assert f"`{tag}`" in PAGE, tag
