"""Which modules define checks. A new module is one more line here (tools/new_check adds it)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from plugtap.checks.base import Check
from plugtap.checks.registry import REGISTRY

MODULES: tuple[str, ...] = (
    "cp_hlc",
    "cp_levels",
    "cp_oscillator",
    "cp_power",
    "cp_pwm",
    "cp_states",
    "cp_steps",
    "cross_streams",
    "exi_identity",
    "exi_payload",
    "link_ipv6",
    "pp_proximity",
    "pres_elements",
    "pres_iso20",
    "pres_selection",
    "sap_negotiation",
    "sap_offer",
    "sdp_discovery",
    "sdp_values",
    "seq_flow",
    "seq_order",
    "sess_codes",
    "sess_end",
    "sess_id",
    "sess_stall",
    "slac_after",
    "slac_attenuation",
    "slac_match",
    "slac_parm",
    "slac_pilot",
    "slac_report",
    "slac_run",
    "slac_sounding",
    "status_ev",
    "status_evse",
    "status_isolation",
    "tcp_connection",
    "tcp_quality",
    "time_messages",
    "time_process",
    "time_sequence",
    "time_setup",
    "v2gtp_stream",
    "value_current",
    "value_energy",
    "value_parameters",
    "value_precharge",
    "value_voltage",
)


def load() -> Mapping[str, type[Check]]:
    """All registered checks by id; imports their modules on the first call."""
    for name in MODULES:
        importlib.import_module(f"plugtap.checks.{name}")
    return REGISTRY
