"""Qualcomm's (Intellon's) vendor MMEs that tell what a modem is and what it sees. OUI 00:B0:52, mostly MMV 0.

Sent to 00:B0:52:00:00:01 ("local cast") only the modem on this very cable answers. Layouts: open-plc-utils (plc/,
mme/qualcomm.h) and real frames. Only messages that read are modelled here, and VS_SNIFFER; those that write a modem's
memory or configuration have names only.
"""

from __future__ import annotations

import msgspec

from plugtap.protocols.mme_codec import Codec, Layout, fixed, take, text
from plugtap.protocols.mme_names import OUI_NONE, OUI_QUALCOMM

LOCALCAST = bytes.fromhex("00b052000001")

# MDEVICE_CLASS of VS_SW_VER.CNF
DEVICE_CLASSES = {
    0x01: "INT6000",
    0x02: "INT6300",
    0x03: "INT6400",
    0x04: "AR7400",
    0x05: "AR6405",
    0x20: "QCA7420/7450",
    0x21: "QCA6410",
    0x22: "QCA7000/7005",
}


class VsSwVerReq(msgspec.Struct, frozen=True):
    """VS_SW_VER.REQ (Wireshark: GET_SW): who are you."""

    cookie: int = 0


class VsSwVerCnf(msgspec.Struct, frozen=True):
    """VS_SW_VER.CNF. `version` as in ``MAC-QCA7005-1.1.0.730-04-20140815-CS``; `ident` only from newer firmware."""

    mstatus: int
    device_class: int
    version: str
    ident: int | None = None

    @property
    def device(self) -> str:
        """Name of the chip, or its class number."""
        return DEVICE_CLASSES.get(self.device_class, f"0x{self.device_class:02X}")


class VsSnifferReq(msgspec.Struct, frozen=True):
    """VS_SNIFFER.REQ. `control`: 0 off, 1 on, 2 ask."""

    control: int


class VsSnifferCnf(msgspec.Struct, frozen=True):
    """VS_SNIFFER.CNF. `mstatus` 0 ok, 0x10 invalid control; `state` 1 on."""

    mstatus: int
    state: int
    da: bytes = bytes(6)  # where the indications go


class VsSnifferInd(msgspec.Struct, frozen=True):
    """VS_SNIFFER.IND: one delimiter the modem heard: frame control, and for beacons the beacon body. Never any payload.

    `direction` 0 sent, 1 received; `systime` and `beacon_time` are the modem's clocks. `delimiter`: 0 beacon, 1 start
    of frame, 2 selective acknowledgement, 3 RTS/CTS, 4 sound, 5 reverse start of frame.
    """

    sniff_type: int
    direction: int
    systime: int
    beacon_time: int
    frame_control: bytes  # 16 bytes
    beacon: bytes = b""  # up to 136 bytes, NID first

    @property
    def delimiter(self) -> int:
        """Delimiter type: the three low bits of the frame control."""
        return self.frame_control[0] & 7


class VsNwInfoReq(msgspec.Struct, frozen=True):
    """VS_NW_INFO.REQ, in either header version; the answer comes in the same one."""


class Station(msgspec.Struct, frozen=True):
    """One station of a network as the modem knows it. `bda`: first node bridged behind it. Rates in Mbit/s."""

    mac: bytes
    tei: int
    bda: bytes
    tx_rate: int
    rx_rate: int


class VsNetwork(msgspec.Struct, frozen=True):
    """One network (AVLN) of VS_NW_INFO.CNF. `role`: 0 station, 1 proxy coordinator, 2 central coordinator."""

    nid: bytes
    snid: int
    tei: int
    role: int
    cco_mac: bytes
    cco_tei: int
    stations: tuple[Station, ...] = ()


class VsNwInfoCnf(msgspec.Struct, frozen=True):
    """VS_NW_INFO.CNF: networks and their stations, with PHY rates. Two layouts on the wire: MMV 0, and MMV 1 with
    `sub_version`.
    """

    networks: tuple[VsNetwork, ...] = ()
    sub_version: int = 0


class VsHostActionInd(msgspec.Struct, frozen=True):
    """VS_HOST_ACTION.IND: the modem wants its host to act (0 or 4 load firmware, 1 firmware upgrade ready, 2 PIB
    update ready, 3 both).
    """

    action: int


class VsHostActionRsp(msgspec.Struct, frozen=True):
    """VS_HOST_ACTION.RSP."""

    mstatus: int = 0


class VsOpAttributesReq(msgspec.Struct, frozen=True):
    """VS_OP_ATTRIBUTES.REQ. `report_type` 0: binary."""

    cookie: int = 0
    report_type: int = 0


class VsOpAttributesCnf(msgspec.Struct, frozen=True):
    """VS_OP_ATTRIBUTES.CNF, binary report: hardware, firmware and its build."""

    mstatus: int
    cookie: int
    report_type: int
    size: int
    hardware: str = ""
    software: str = ""
    major: int = 0
    minor: int = 0
    pib: int = 0
    build: int = 0
    build_date: str = ""
    release: str = ""


class VsPlLinkStatusReq(msgspec.Struct, frozen=True):
    """VS_PL_LINK_STATUS.REQ: has no content."""


class VsPlLinkStatusCnf(msgspec.Struct, frozen=True):
    """VS_PL_LINK_STATUS.CNF. `link_status` 1: the modem is in a network with at least one other station."""

    mstatus: int
    link_status: int


class VsRsDevReq(msgspec.Struct, frozen=True):
    """VS_RS_DEV.REQ: restart the modem. Has no content."""


class VsRsDevCnf(msgspec.Struct, frozen=True):
    """VS_RS_DEV.CNF. `mstatus` 0: it restarts now."""

    mstatus: int = 0


class VsAttenuationCharacteristicsInd(msgspec.Struct, frozen=True):
    """VS_ATTENUATION_CHARACTERISTICS.IND, broadcast by a Qualcomm modem for each sound it measured.

    Some firmware sends it with OUI 00:00:00; a modem that is not in EVSE mode sends it without groups.
    """

    pev_mac: bytes
    aag: bytes  # dB, one byte a group
    carriers_per_group: int = 0x10


# --- the variable ones ------------------------------------------------------------------------------------------

_VERSION_FIELD = 254  # newer firmware pads the version to this size and lets IDENT follow


def _read_sw_ver(data: bytes, pos: int, _mmv: int) -> VsSwVerCnf:
    mstatus, device_class, length = take(data, pos, 3, "MVERLENGTH")
    version = text(take(data, pos + 3, length, "MVERSION"))
    ident_at = pos + 3 + _VERSION_FIELD
    ident = int.from_bytes(data[ident_at : ident_at + 4], "little") if len(data) >= ident_at + 12 else None
    return VsSwVerCnf(mstatus=mstatus, device_class=device_class, version=version, ident=ident)


def _write_sw_ver(body: VsSwVerCnf, _mmv: int) -> bytes:
    version = body.version.encode("ascii", "replace")
    if len(version) > _VERSION_FIELD:
        raise ValueError(f"version: at most {_VERSION_FIELD} bytes, {len(version)} given")
    head = bytes([body.mstatus, body.device_class, len(version)])
    if body.ident is None:
        return head + version
    return head + version.ljust(_VERSION_FIELD, b"\0") + body.ident.to_bytes(4, "little") + bytes(8)  # STEPPING, COOKIE


def _read_sw_ver_req(data: bytes, pos: int, _mmv: int) -> VsSwVerReq:
    # the cookie is optional
    return VsSwVerReq(cookie=int.from_bytes(data[pos : pos + 4].ljust(4, b"\0"), "little"))


def _write_sw_ver_req(body: VsSwVerReq, _mmv: int) -> bytes:
    return body.cookie.to_bytes(4, "little")


_SNIFFER_IND = Layout(
    ("sniff_type", "B"),
    ("direction", "B"),
    ("systime", "Q"),
    ("beacon_time", "I"),
    ("frame_control", "16s"),
)
_BEACON_SIZE = 136


def _read_sniffer_ind(data: bytes, pos: int, _mmv: int) -> VsSnifferInd:
    head = _SNIFFER_IND.read(data, pos)
    pos += _SNIFFER_IND.size
    return VsSnifferInd(**head, beacon=data[pos : pos + _BEACON_SIZE])


def _write_sniffer_ind(body: VsSnifferInd, _mmv: int) -> bytes:
    if len(body.beacon) > _BEACON_SIZE:
        raise ValueError(f"beacon: at most {_BEACON_SIZE} bytes, {len(body.beacon)} given")
    return _SNIFFER_IND.write(body) + body.beacon


# NumAVLNs, networks and stations: the MMV 1 layout has more room between the same fields.
_NETWORK_V0 = Layout(
    ("nid", "7s"), ("snid", "B"), ("tei", "B"), ("role", "B"), ("cco_mac", "6s"), ("cco_tei", "B"), ("count", "B")
)
_STATION_V0 = Layout(("mac", "6s"), ("tei", "B"), ("bda", "6s"), ("tx_rate", "B"), ("rx_rate", "B"))
_NETWORK_V1 = Layout(
    ("nid", "7s"),
    ("", "2x"),
    ("snid", "B"),
    ("tei", "B"),
    ("", "4x"),
    ("role", "B"),
    ("cco_mac", "6s"),
    ("cco_tei", "B"),
    ("", "3x"),
    ("count", "B"),
    ("", "5x"),
)
_STATION_V1 = Layout(
    ("mac", "6s"),
    ("tei", "B"),
    ("", "3x"),
    ("bda", "6s"),
    ("tx_rate", "H"),
    ("", "2x"),  # couplings, reserved
    ("rx_rate", "H"),
    ("", "2x"),
)
_HEAD_V1 = Layout(("sub_version", "B"), ("", "1x"), ("data_len", "H"), ("", "1x"), ("count", "B"))


class _Counted(msgspec.Struct, frozen=True):
    """A network with the number of its stations, as the layouts write it."""

    nid: bytes
    snid: int
    tei: int
    role: int
    cco_mac: bytes
    cco_tei: int
    count: int


def _read_vs_nw_info(data: bytes, pos: int, mmv: int) -> VsNwInfoCnf:
    sub_version = 0
    if mmv == 0:
        count = take(data, pos, 1, "NumAVLNs")[0]
        pos += 1
    else:
        head = _HEAD_V1.read(data, pos)
        sub_version, count = head["sub_version"], head["count"]
        pos += _HEAD_V1.size
    network_layout, station_layout = (_NETWORK_V0, _STATION_V0) if mmv == 0 else (_NETWORK_V1, _STATION_V1)
    networks = []
    for _ in range(count):
        network = network_layout.read(data, pos)
        pos += network_layout.size
        stations = []
        for _ in range(network.pop("count")):
            stations.append(Station(**station_layout.read(data, pos)))
            pos += station_layout.size
        networks.append(VsNetwork(**network, stations=tuple(stations)))
    return VsNwInfoCnf(networks=tuple(networks), sub_version=sub_version)


def _write_vs_nw_info(body: VsNwInfoCnf, mmv: int) -> bytes:
    network_layout, station_layout = (_NETWORK_V0, _STATION_V0) if mmv == 0 else (_NETWORK_V1, _STATION_V1)
    out = bytearray()
    for n in body.networks:
        out += network_layout.write(_Counted(n.nid, n.snid, n.tei, n.role, n.cco_mac, n.cco_tei, len(n.stations)))
        for station in n.stations:
            out += station_layout.write(station)
    count = bytes([len(body.networks)])
    if mmv == 0:
        return count + bytes(out)
    # DATA_LEN counts from the reserved byte before NumAVLNs
    return bytes([body.sub_version, 0]) + (len(out) + 2).to_bytes(2, "little") + b"\0" + count + bytes(out)


_OP_HEAD = Layout(("mstatus", "H"), ("cookie", "I"), ("report_type", "B"), ("size", "H"))
_OP_REPORT = Layout(
    ("hardware", "16s"),
    ("software", "16s"),
    ("major", "I"),
    ("minor", "I"),
    ("pib", "I"),
    ("build", "I"),
    ("", "4x"),
    ("build_date", "8s"),
    ("release", "12s"),
)


class _Report(msgspec.Struct, frozen=True):
    """The report as the layout writes it."""

    major: int
    minor: int
    pib: int
    build: int
    hardware: bytes
    software: bytes
    build_date: bytes
    release: bytes


def _read_op_attributes(data: bytes, pos: int, _mmv: int) -> VsOpAttributesCnf:
    head = _OP_HEAD.read(data, pos)
    if head["mstatus"] != 0 or head["report_type"] != 0:
        return VsOpAttributesCnf(**head)  # refused, or an XML report
    report = _OP_REPORT.read(data, pos + _OP_HEAD.size)
    for name in ("hardware", "software", "build_date", "release"):
        report[name] = text(report[name])
    return VsOpAttributesCnf(**head, **report)


def _write_op_attributes(body: VsOpAttributesCnf, _mmv: int) -> bytes:
    raw = {name: getattr(body, name).encode("ascii", "replace") for name in ("hardware", "software", "build_date",
    "release")}
    padded = {name: value.ljust(_OP_REPORT.raw_sizes[name], b"\0") for name, value in raw.items()}
    report = _OP_REPORT.write(_Report(body.major, body.minor, body.pib, body.build, **padded))
    return _OP_HEAD.write(body) + report.ljust(body.size, b"\0")


_ATTENUATION = Layout(("pev_mac", "6s"), ("count", "B"), ("", "1x"), ("carriers_per_group", "B"), ("", "7x"))


def _read_attenuation(data: bytes, pos: int, _mmv: int) -> VsAttenuationCharacteristicsInd:
    head = _ATTENUATION.read(data, pos)
    groups = head.pop("count")
    return VsAttenuationCharacteristicsInd(**head, aag=take(data, pos + _ATTENUATION.size, groups, "AAG"))


def _write_attenuation(body: VsAttenuationCharacteristicsInd, _mmv: int) -> bytes:
    if len(body.pev_mac) != 6 or len(body.aag) > 255:
        raise ValueError("a MAC of 6 bytes and at most 255 groups")
    return body.pev_mac + bytes([len(body.aag), 0, body.carriers_per_group]) + bytes(7) + body.aag


_Q = OUI_QUALCOMM
CODECS: tuple[Codec, ...] = (
    Codec(0xA000, VsSwVerReq, _read_sw_ver_req, _write_sw_ver_req, 0, _Q),
    Codec(0xA001, VsSwVerCnf, _read_sw_ver, _write_sw_ver, 0, _Q),
    fixed(0xA01C, VsRsDevReq, mmv=0, oui=_Q),
    fixed(0xA01D, VsRsDevCnf, ("mstatus", "B"), mmv=0, oui=_Q),
    fixed(0xA034, VsSnifferReq, ("control", "B"), mmv=0, oui=_Q),
    fixed(0xA035, VsSnifferCnf, ("mstatus", "B"), ("state", "B"), ("da", "6s"), mmv=0, oui=_Q),
    Codec(0xA036, VsSnifferInd, _read_sniffer_ind, _write_sniffer_ind, 0, _Q),
    fixed(0xA038, VsNwInfoReq, mmv=0, oui=_Q),
    Codec(0xA039, VsNwInfoCnf, _read_vs_nw_info, _write_vs_nw_info, 0, _Q),
    fixed(0xA062, VsHostActionInd, ("action", "B"), mmv=0, oui=_Q),
    fixed(0xA063, VsHostActionRsp, ("mstatus", "B"), mmv=0, oui=_Q),
    fixed(0xA068, VsOpAttributesReq, ("cookie", "I"), ("report_type", "B"), mmv=0, oui=_Q),
    Codec(0xA069, VsOpAttributesCnf, _read_op_attributes, _write_op_attributes, 0, _Q),
    fixed(0xA0B8, VsPlLinkStatusReq, mmv=0, oui=_Q),
    fixed(0xA0B9, VsPlLinkStatusCnf, ("mstatus", "B"), ("link_status", "B"), mmv=0, oui=_Q),
    # twice: the first is the one that is sent, the second is found as well
    Codec(0xA14E, VsAttenuationCharacteristicsInd, _read_attenuation, _write_attenuation, 0, _Q),
    Codec(0xA14E, VsAttenuationCharacteristicsInd, _read_attenuation, _write_attenuation, 0, OUI_NONE),
)
