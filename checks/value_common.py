"""What the checks of voltages, currents and limits share."""

from __future__ import annotations

from plugtap.checks.v2g_common import is_request, memo, ns, physical
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.session import Electrical, Session

LOOP_REQ = ("CurrentDemandReq", "DC_ChargeLoopReq")
LOOP_RES = ("CurrentDemandRes", "DC_ChargeLoopRes")
PRECHARGE_REQ = ("PreChargeReq", "DC_PreChargeReq")
PRECHARGE_RES = ("PreChargeRes", "DC_PreChargeRes")
WELDING_RES = ("WeldingDetectionRes", "DC_WeldingDetectionRes")
PARAMETERS_REQ = ("ChargeParameterDiscoveryReq", "DC_ChargeParameterDiscoveryReq")
PARAMETERS_RES = ("ChargeParameterDiscoveryRes", "DC_ChargeParameterDiscoveryRes")


class Held:
    """How long a condition has held without a break; the first message and the last value of it."""

    def __init__(self) -> None:
        self.first: V2gMessage | None = None

    def feed(self, ev: V2gMessage, holds: bool, limit_s: float) -> V2gMessage | None:
        """The first message of the stretch once the condition has held for `limit_s`; then it starts over."""
        if not holds:
            self.first = None
            return None
        if self.first is None:
            self.first = ev
            return None
        if ev.t - self.first.t < ns(limit_s):
            return None
        first, self.first = self.first, ev
        return first


def electrical(session: Session) -> Electrical:
    """The session's numbers; they already contain the message being handled."""
    return session.electrical


@memo
def present(ev: V2gMessage) -> tuple[float | None, float | None]:
    """EVSEPresentVoltage (V) and EVSEPresentCurrent (A) of a response."""
    return physical(ev.body.get("EVSEPresentVoltage")), physical(ev.body.get("EVSEPresentCurrent"))


__all__ = [
    "LOOP_REQ", "LOOP_RES", "PARAMETERS_REQ", "PARAMETERS_RES", "PRECHARGE_REQ", "PRECHARGE_RES", "WELDING_RES", "Held", "electrical", "is_request",
    "present",
]  # fmt: skip
