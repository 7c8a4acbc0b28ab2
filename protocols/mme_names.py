"""The names of HomePlug AV and Green PHY management messages by number.

Numbers: HomePlug AV (MMTYPE, the two low bits 0) as listed in open-plc-utils (mme/homeplug.h, mme/qualcomm.h), names
as in the standards (ISO 15118-3: CM_SLAC_PARM, where that list says CM_SLAC_PARAM). The two low bits give the kind.
"""

from __future__ import annotations

OUI_QUALCOMM = bytes.fromhex("00b052")  # Intellon, Atheros, Qualcomm
OUI_ST = bytes.fromhex("0080e1")  # STMicroelectronics, IoTecha
OUI_SPIDCOM = bytes.fromhex("0013d7")
OUI_DSPACE = bytes.fromhex("644d70")
OUI_LUMISSIL = bytes.fromhex("0016e8")
OUI_NONE = bytes(3)  # some Qualcomm firmware leaves the OUI of VS_ATTENUATION_CHARACTERISTICS empty

KINDS = ("REQ", "CNF", "IND", "RSP")

_GENERAL = {
    0x0004: "CC_BACKUP_APPOINT",
    0x0008: "CC_LINK_INFO",
    0x000C: "CC_HANDOVER",
    0x0010: "CC_HANDOVER_INFO",
    0x0014: "CC_DISCOVER_LIST",
    0x0018: "CC_LINK_NEW",
    0x001C: "CC_LINK_MOD",
    0x0020: "CC_LINK_SQZ",
    0x0024: "CC_LINK_REL",
    0x0028: "CC_DETECT_REPORT",
    0x002C: "CC_WHO_RU",
    0x0030: "CC_ASSOC",
    0x0034: "CC_LEAVE",
    0x0038: "CC_SET_TEI_MAP",
    0x003C: "CC_RELAY",
    0x0040: "CC_BEACON_RELIABILITY",
    0x0044: "CC_ALLOC_MOVE",
    0x0048: "CC_ACCESS_NEW",
    0x004C: "CC_ACCESS_REL",
    0x0050: "CC_DCPPC",
    0x0054: "CC_HP1_DET",
    0x0058: "CC_BLE_UPDATE",
    0x005C: "CC_BCAST_REPEAT",
    0x0060: "CC_MH_LINK_NEW",
    0x0064: "CC_ISP_DETECTION_REPORT",
    0x0068: "CC_ISP_START_RESYNC",
    0x006C: "CC_ISP_FINISH_RESYNC",
    0x0070: "CC_ISP_DETECTED_RESYNC",
    0x0074: "CC_ISP_TRANSMIT_RESYNC",
    0x0078: "CC_POWERSAVE",
    0x007C: "CC_POWERSAVE_EXIT",
    0x0080: "CC_POWERSAVE_LIST",
    0x0084: "CC_POWERSAVE_STOP",
    0x2000: "CP_PROXY_APPOINT",
    0x2004: "PH_PROXY_APPOINT",
    0x2008: "CP_PROXY_WAKE",
    0x4000: "NN_INL",
    0x4004: "NN_NEW_NET",
    0x4008: "NN_ADD_ALLOC",
    0x400C: "NN_REL_ALLOC",
    0x4010: "NN_REL_NET",
    0x6000: "CM_UNASSOCIATED_STA",
    0x6004: "CM_ENCRYPTED_PAYLOAD",
    0x6008: "CM_SET_KEY",
    0x600C: "CM_GET_KEY",
    0x6010: "CM_SC_JOIN",
    0x6014: "CM_CHAN_EST",
    0x6018: "CM_TM_UPDATE",
    0x601C: "CM_AMP_MAP",
    0x6020: "CM_BRG_INFO",
    0x6024: "CM_CONN_NEW",
    0x6028: "CM_CONN_REL",
    0x602C: "CM_CONN_MOD",
    0x6030: "CM_CONN_INFO",
    0x6034: "CM_STA_CAP",
    0x6038: "CM_NW_INFO",
    0x603C: "CM_GET_BEACON",
    0x6040: "CM_HFID",
    0x6044: "CM_MME_ERROR",
    0x6048: "CM_NW_STATS",
    0x604C: "CM_LINK_STATS",
    0x6050: "CM_ROUTE_INFO",
    0x6054: "CM_UNREACHABLE",
    0x6058: "CM_MH_CONN_NEW",
    0x605C: "CM_EXTENDED_TONEMASK",
    0x6060: "CM_STA_IDENTIFY",
    0x6064: "CM_SLAC_PARM",
    0x6068: "CM_START_ATTEN_CHAR",
    0x606C: "CM_ATTEN_CHAR",
    0x6070: "CM_PKCS_CERT",
    0x6074: "CM_MNBC_SOUND",
    0x6078: "CM_VALIDATE",
    0x607C: "CM_SLAC_MATCH",
    0x6080: "CM_SLAC_USER_DATA",
    0x6084: "CM_ATTEN_PROFILE",
}

_QUALCOMM = {
    0xA000: "VS_SW_VER",
    0xA004: "VS_WR_MEM",
    0xA008: "VS_RD_MEM",
    0xA00C: "VS_ST_MAC",
    0xA010: "VS_GET_NVM",
    0xA01C: "VS_RS_DEV",
    0xA020: "VS_WR_MOD",
    0xA024: "VS_RD_MOD",
    0xA028: "VS_MOD_NVM",
    0xA02C: "VS_WD_RPT",
    0xA030: "VS_LNK_STATS",
    0xA034: "VS_SNIFFER",
    0xA038: "VS_NW_INFO",
    0xA040: "VS_CP_RPT",
    0xA048: "VS_FR_LBK",
    0xA04C: "VS_LBK_STAT",
    0xA050: "VS_SET_KEY",
    0xA054: "VS_MFG_STRING",
    0xA058: "VS_RD_CBLOCK",
    0xA05C: "VS_SET_SDRAM",
    0xA060: "VS_HOST_ACTION",
    0xA068: "VS_OP_ATTRIBUTES",
    0xA06C: "VS_ENET_SETTINGS",
    0xA070: "VS_TONE_MAP_CHAR",
    0xA07C: "VS_FAC_DEFAULTS",
    0xA088: "VS_CLASSIFICATION",
    0xA090: "VS_RX_TONE_MAP_CHAR",
    0xA0B0: "VS_MODULE_OPERATION",
    0xA0B8: "VS_PL_LINK_STATUS",
    0xA0F8: "VS_GET_PROPERTY",
    0xA100: "VS_SET_PROPERTY",
    0xA14C: "VS_ATTENUATION_CHARACTERISTICS",
}

_VENDOR = {
    OUI_QUALCOMM: _QUALCOMM,
    OUI_NONE: {0xA14C: "VS_ATTENUATION_CHARACTERISTICS"},
    OUI_ST: {0x8004: "STP_LINK_STATUS", 0xA000: "STP_DISCOVER", 0xA22C: "STP_CPSTATE", 0xA230: "STP_USER_MESSAGE"},
    OUI_SPIDCOM: {0xA10C: "SPIDCOM_CP"},
    OUI_DSPACE: {0x8000: "DSPACE_DIAG"},
    OUI_LUMISSIL: {0xAC6C: "NSCM_GET_VERSION", 0xAC70: "NSCM_RESET", 0xAC9C: "NSCM_GET_D_LINK_STATUS"},
}


def mme_name(mmtype: int, oui: bytes | None = None) -> str:
    """``CM_SLAC_PARM.REQ`` for 0x6064; ``0xADAD`` for a number (or a vendor's number) that is not in the tables."""
    table = _GENERAL if oui is None else _VENDOR.get(oui, {})
    base = table.get(mmtype & ~3)
    return f"0x{mmtype:04X}" if base is None else f"{base}.{KINDS[mmtype & 3]}"
