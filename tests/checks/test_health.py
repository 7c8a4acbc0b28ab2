"""Measured values beside their limits."""

from __future__ import annotations

import pytest
from lab import Lab

from plugtap.checks.health import Measure, words


def measured(lab: Lab) -> dict[str, Measure]:
    return {m.name: m for m in lab.run().session.health}


def test_ratios_of_a_session() -> None:
    found = measured(Lab.good("iso2-dc").delay("CableCheckRes", 1, 1.0).replace("CM_ATTEN_CHAR.IND", aag=bytes([36]) * 58, num_sounds=8))
    answer = found["CableCheckRes"]
    assert (answer.limit, answer.unit) == (2.0, "s")
    assert answer.value == pytest.approx(1.012, abs=0.01)
    assert answer.ratio == pytest.approx(answer.value / 2, abs=0.002)
    assert answer.frame > 0
    assert (found["attenuation"].value, found["attenuation"].limit, found["attenuation"].ratio) == (36.0, 45.0, 0.8)
    assert found["sounds counted"].at_least
    assert (found["sounds counted"].value, found["sounds counted"].ratio) == (8, 0.8)
    assert found["PreCharge"].limit == 7.0
    assert found["CableCheck"].limit == 40.0


def test_pre_charge_of_iso_15118_20_has_its_own_limit() -> None:
    assert measured(Lab.good("iso20-dc"))["PreCharge"].limit == 10.0


def test_the_highest_current_is_held_against_the_smaller_limit() -> None:
    fifty = {"Multiplier": 0, "Unit": "A", "Value": 50}
    lab = Lab.good("din-dc").replace("CurrentDemandRes", None, {"EVSEMaximumCurrentLimit": fifty})
    assert measured(lab)["highest current"].limit == 50


def test_an_answer_that_the_capture_may_have_lost_is_not_timed() -> None:
    lab = Lab.good("din-dc").delay("CableCheckRes", 1, 1.0).lose("CableCheckRes", 1)
    assert measured(lab)["CableCheckRes"].value < 0.5


def test_words() -> None:
    closest = max(Lab.good("din-dc").delay("CableCheckRes", 1, 1.4).run().session.health, key=lambda m: m.ratio if m.unit == "s" else 0)
    assert words(closest) == "CableCheckRes 1.41 of 2 s (71 %)"
