"""The tables that decide what a session is. Read and correct them without knowing Python: each row is one fact.

Sources: DIN SPEC 70121:2014, ISO 15118-2:2014, ISO 15118-20:2022, ISO 15118-3:2015 as cited in public stacks (docs/sources.md).
"""

from __future__ import annotations

# Namespace (supportedAppProtocol) -> protocol, schema of payload type 0x8001 resp. the -20 family.
NAMESPACES: tuple[tuple[str, str], ...] = (
    ("urn:din:70121:2012:MsgDef", "din"),
    ("urn:iso:15118:2:2013:MsgDef", "iso2"),
    ("urn:iso:15118:2:2010:MsgDef", "iso2"),  # an early draft's name that some stacks still send
    ("urn:iso:std:iso:15118:-20:AC", "iso20"),
    ("urn:iso:std:iso:15118:-20:DC", "iso20"),
    ("urn:iso:std:iso:15118:-20:WPT", "iso20"),
    ("urn:iso:std:iso:15118:-20:ACDP", "iso20"),
    ("urn:iso:std:iso:15118:-20:CommonMessages", "iso20"),
)

# The message whose *response* enters a phase. A request alone proves nothing about the other side.
PHASE_OF_RESPONSE: dict[str, str] = {
    "SessionSetupRes": "setup",
    "ServiceDiscoveryRes": "setup",
    "ServiceDetailRes": "setup",
    "ServicePaymentSelectionRes": "setup",
    "PaymentServiceSelectionRes": "setup",
    "CertificateInstallationRes": "setup",
    "CertificateUpdateRes": "setup",
    "PaymentDetailsRes": "setup",
    "AuthorizationSetupRes": "setup",
    "ContractAuthenticationRes": "authorization",
    "AuthorizationRes": "authorization",
    "ServiceSelectionRes": "authorization",
    "ChargeParameterDiscoveryRes": "parameters",
    "AC_ChargeParameterDiscoveryRes": "parameters",
    "DC_ChargeParameterDiscoveryRes": "parameters",
    "WPT_ChargeParameterDiscoveryRes": "parameters",
    "ScheduleExchangeRes": "parameters",
    "CableCheckRes": "cable-check",
    "DC_CableCheckRes": "cable-check",
    "PreChargeRes": "pre-charge",
    "DC_PreChargeRes": "pre-charge",
    "CurrentDemandRes": "charging",
    "ChargingStatusRes": "charging",
    "MeteringReceiptRes": "charging",
    "AC_ChargeLoopRes": "charging",
    "DC_ChargeLoopRes": "charging",
    "WPT_ChargeLoopRes": "charging",
    "ACDP_ChargeLoopRes": "charging",
}

# The charge loop's messages, without Req/Res, and what they carry.
LOOP_MESSAGES: dict[str, str] = {
    "CurrentDemand": "dc",
    "ChargingStatus": "ac",
    "MeteringReceipt": "any",
    "DC_ChargeLoop": "dc",
    "AC_ChargeLoop": "ac",
    "WPT_ChargeLoop": "wpt",
}

# Energy transfer modes and service names -> `energy` of the session.
ENERGY_OF_MODE: dict[str, str] = {
    "AC_single_phase_core": "ac",
    "AC_three_phase_core": "ac",
    "AC_core": "ac",
    "DC_core": "dc",
    "DC_extended": "dc",
    "DC_combo_core": "dc",
    "DC_unique": "dc",
    "DC_dual": "dc",
}

# Status codes of the EVSE (DC_EVSEStatusCode) that end a session.
EVSE_FAULT_STATUS = ("EVSE_Malfunction", "EVSE_EmergencyShutdown", "EVSE_UtilityInterruptEvent")
# … and those by which it announces an ordinary stop.
EVSE_STOP_STATUS = ("EVSE_Shutdown",)
# DC_EVErrorCode values that mean no error.
EV_NO_ERROR = ("NO_ERROR", "NoData", "Reserved_A", "Reserved_B", "Reserved_C")

# Current above which energy flows, in ampere (proxy of the ChargeX KPI "power started").
POWER_STARTED_A = 1.0
