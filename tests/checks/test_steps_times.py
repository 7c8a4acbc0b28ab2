"""A step of each message's times (timeouts.tsv) is heard: answers and closes half a step before and after the pinned number."""

from __future__ import annotations

from collections.abc import Iterator

from lab import Lab
from lab_good import AC_STATUS, Tree
from steps import Row, Run, around, each_row, run_all, said

GOOD = ("din-dc", "iso2-dc", "iso2-ac", "iso20-dc", "iso20-ac")
OK: Tree = {"ResponseCode": "OK"}
ROOTS = {"RootCertificateID": [{"X509IssuerName": "CN=R", "X509SerialNumber": 1}]}
CHAIN = {"Certificate": "AAAA"}
INSTALLED = OK | {
    "SAProvisioningCertificateChain": CHAIN, "ContractSignatureCertChain": CHAIN | {"@Id": "id1"}, "eMAID": {"@Id": "id4", "#text": "DE1"},
    "ContractSignatureEncryptedPrivateKey": {"@Id": "id2", "#text": "AAAA"}, "DHpublickey": {"@Id": "id3", "#text": "AAAA"},
}  # fmt: skip
# Messages that no good session of the laboratory has: the session and the exchange they come after, request and response.
EXTRA: dict[str, tuple[str, str, Tree, Tree]] = {
    "iso2.ServiceDetail": ("iso2-dc", "ServiceDiscovery", {"ServiceID": 1}, OK | {"ServiceID": 1}),
    "iso2.PaymentDetails": (
        "iso2-dc", "PaymentServiceSelection", {"eMAID": "DEABC123456789Y", "ContractSignatureCertChain": CHAIN},
        OK | {"GenChallenge": "AAECAwQFBgcICQoLDA0ODw==", "EVSETimeStamp": 1_700_000_000},
    ),
    "iso2.CertificateInstallation": (
        "iso2-dc", "PaymentServiceSelection", {"@Id": "id1", "OEMProvisioningCert": "AAAA", "ListOfRootCertificateIDs": ROOTS}, INSTALLED,
    ),
    "iso2.CertificateUpdate": (
        "iso2-dc", "PaymentServiceSelection",
        {"@Id": "id1", "ContractSignatureCertChain": CHAIN, "eMAID": "DEABC123456789Y", "ListOfRootCertificateIDs": ROOTS}, INSTALLED,
    ),
    "iso2.MeteringReceipt": (
        "iso2-ac", "ChargingStatus", {"SessionID": "A1B2C3D4E5F60718", "MeterInfo": {"MeterID": "METER1"}}, OK | {"AC_EVSEStatus": AC_STATUS},
    ),
    "iso20.CertificateInstallation": (
        "iso20-dc", "AuthorizationSetup",
        {"OEMProvisioningCertificateChain": {"@Id": "id1", "Certificate": "AAAA"}, "ListOfRootCertificateIDs": ROOTS, "MaximumContractCertificateChains": 1},
        OK | {
            "EVSEProcessing": "Finished", "CPSCertificateChain": {"Certificate": "AAAA"}, "RemainingContractCertificateChains": 0,
            "SignedInstallationData": {
                "@Id": "id1", "ContractCertificateChain": {"Certificate": "AAAA", "SubCertificates": {"Certificate": ["AAAA"]}}, "ECDHCurve": "SECP521",
                "DHPublicKey": "AAAA", "SECP521_EncryptedPrivateKey": "AAAA",
            },
        },
    ),
    "iso20.MeteringConfirmation": (
        "iso20-dc", "DC_ChargeLoop",
        {"SignedMeteringData": {"@Id": "id1", "SessionID": "A1B2C3D4E5F60718", "MeterInfo": {"MeterID": "METER1", "ChargedEnergyReadingWh": 1},
                                "Scheduled_SMDTControlMode": {"SelectedScheduleTupleID": 1}}}, OK,
    ),
    "iso20.VehicleCheckIn": ("iso20-dc", "SessionSetup", {"EVCheckInStatus": "CheckIn", "ParkingMethod": "AutoParking"}, OK | {"ParkingSpace": 1}),
    "iso20.VehicleCheckOut": ("iso20-dc", "SessionSetup", {"EVCheckOutStatus": "CheckOut", "CheckOutTime": 1}, OK | {"EVSECheckOutStatus": "Scheduled"}),
}  # fmt: skip
# An EV that leaves while these are pending does not give up early (checks/time_messages.py): their time-out is heard by time-msg-timeout only.
NO_HURRY = ("SessionStop", "WeldingDetection", "DC_WeldingDetection")


def conversation(protocol: str, message: str) -> Lab:
    """A session in which this message is exchanged."""
    key = f"{protocol}.{message}"
    if key in EXTRA:
        name, after, request, response = EXTRA[key]
        lab = Lab.good(name, pilot=False, slac=False)
        return lab.insert_after(f"{after}Res", 0, lab.message(f"{message}Req", request), lab.message(f"{message}Res", response))
    for name in GOOD:
        if protocol in ("sap", name.split("-")[0]):
            lab = Lab.good(name, pilot=False, slac=False)
            if any(one.name == f"{message}Res" for one in lab.steps):
                return lab
    raise AssertionError(f"no conversation has {key}")


def answered(row: Row, protocol: str, seconds: float, check: str) -> bool:
    """Does the check speak when the first answer to this message takes so long?"""
    lab = conversation(protocol, row["message"])
    lab.find(f"{row['message']}Res", 0)[0].gap = seconds
    return bool(said(lab, check, tail=5.0).of(check))


def left(row: Row, protocol: str, seconds: float) -> bool:
    """Is an EV that closes so long after its request said to have given up early?"""
    lab = conversation(protocol, row["message"]).stop_after(f"{row['message']}Req", 0).close("fin", "EVCC", seconds)
    return bool(said(lab, "time-ev-gave-up-early", tail=5.0).of("time-ev-gave-up-early"))


def missing(row: Row, protocol: str) -> None:
    before, after = around(row["fails"] or row["timeout"])
    assert not answered(row, protocol, before, "time-msg-timeout")
    assert answered(row, protocol, after, "time-msg-timeout")


def slow(row: Row, protocol: str) -> None:
    before, after = around(row["performance"])
    assert not answered(row, protocol, before, "time-perf-missed")
    assert answered(row, protocol, after, "time-perf-missed")


def impatient(row: Row, protocol: str) -> None:
    before, after = around(row["timeout"])
    assert left(row, protocol, before)
    assert not left(row, protocol, after)


def of_row(row: Row, table: str = "timeouts") -> Iterator[Run]:
    """An answer that is missing, one that is slow, an EV that does not wait for it."""
    for protocol in row["protocol"].split():
        yield lambda p=protocol: missing(row, p)  # type: ignore[misc]
        if row["performance"]:
            yield lambda p=protocol: slow(row, p)  # type: ignore[misc]
        if row["message"] not in NO_HURRY:
            yield lambda p=protocol: impatient(row, p)  # type: ignore[misc]


@each_row("timeouts")
def test_each_message_has_its_times(row: Row) -> None:
    run_all(of_row(row))
