"""One example of every typed MME body, and a Hypothesis strategy for any."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from plugtap.protocols import cm_mme, cp_mme, slac, vendor_mme

MAC, MAC2, RUN, NID, NMK = b"\x02ABCDE", b"\x02FGHIJ", bytes(range(8)), b"network", b"sixteen byte key"

BODIES: tuple[Any, ...] = (
    slac.CmSlacParmReq(RUN),
    slac.CmSlacParmReq(RUN, security_type=1, cipher_suites=(1, 0x0203)),
    slac.CmSlacParmCnf(RUN, MAC),
    slac.CmSlacParmCnf(RUN, MAC, security_type=1, cipher_suite=1),
    slac.CmStartAttenCharInd(RUN, MAC),
    slac.CmStartAttenCharInd(RUN, MAC, private=b"private"),
    slac.CmMnbcSoundInd(9, RUN, NMK),
    slac.CmAttenProfileInd(MAC, bytes(58)),
    slac.CmAttenProfileInd(MAC, b""),
    slac.CmAttenCharInd(MAC, RUN, 10, bytes(58)),
    slac.CmAttenCharRsp(MAC, RUN),
    slac.CmValidateReq(),
    slac.CmValidateCnf(),
    slac.CmSlacMatchReq(MAC, MAC2, RUN),
    slac.CmSlacMatchCnf(MAC, MAC2, RUN, NID, NMK),
    cm_mme.CmSetKeyReq(NID, NMK),
    cm_mme.CmSetKeyCnf(1),
    cm_mme.CmGetKeyReq(NID),
    cm_mme.CmGetKeyCnf(0, NID, NMK),
    cm_mme.CmAmpMapReq(917, bytes(459)),
    cm_mme.CmAmpMapCnf(),
    cm_mme.CmNwInfoReq(),
    cm_mme.CmNwInfoCnf((cm_mme.Network(NID, 3, 10, 1, MAC),)),
    vendor_mme.VsSwVerReq(),
    vendor_mme.VsSwVerCnf(0, 0x22, "MAC-QCA7005-1.1.0.730-04-20140815-CS", 0x1B587C),
    vendor_mme.VsRsDevReq(),
    vendor_mme.VsRsDevCnf(),
    vendor_mme.VsSnifferReq(1),
    vendor_mme.VsSnifferCnf(0, 1, MAC),
    vendor_mme.VsSnifferInd(0, 1, 2**60, 77, bytes(16), bytes(136)),
    vendor_mme.VsNwInfoReq(),
    vendor_mme.VsNwInfoCnf((vendor_mme.VsNetwork(NID, 4, 1, 2, MAC, 1, (vendor_mme.Station(MAC2, 2, MAC, 9, 9),)),)),
    vendor_mme.VsHostActionInd(0),
    vendor_mme.VsHostActionRsp(),
    vendor_mme.VsOpAttributesReq(),
    vendor_mme.VsOpAttributesCnf(0, 1, 0, 118, "QCA7005", "MAC", 1, 1, 0, 730, "20140815", "CS"),
    vendor_mme.VsPlLinkStatusReq(),
    vendor_mme.VsPlLinkStatusCnf(0, 1),
    vendor_mme.VsAttenuationCharacteristicsInd(MAC, bytes(58)),
    cp_mme.StpCpStateInd(3, 5, 1000, 8950),
    cp_mme.SpidcomCpInd(1, 1000, 50, 8950),
    cp_mme.DspaceDiag("v1", "SCS Diagnostic", {"CP State": "State_B2", "CP/CE Voltage [V]": 8.97}),
)

_u8, _u16, _u32 = st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
_s16 = st.integers(-0x8000, 0x7FFF)
_mac, _run, _id, _nid, _key = (st.binary(min_size=n, max_size=n) for n in (6, 8, 17, 7, 16))
_nonce = st.binary(min_size=4, max_size=4)
_aag = st.binary(max_size=255)
_plain = _u8.filter(lambda v: v != 1)  # a security type without cipher suites
_word = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
_head = {"application_type": _u8, "security_type": _plain}
_ids = {"source_id": _id, "resp_id": _id}
_match = {"pev_mac": _mac, "evse_mac": _mac, "run_id": _run, "pev_id": _id, "evse_id": _id, "mvf_length": _u16}
_sounds = {"num_sounds": _u8, "time_out": _u8, "resp_type": _u8, "forwarding_sta": _mac, "run_id": _run}
_protocol = {"pid": _u8, "prn": _u16, "pmn": _u8}

_station = st.builds(vendor_mme.Station, mac=_mac, tei=_u8, bda=_mac, tx_rate=_u8, rx_rate=_u8)
_vs_network = st.builds(
    vendor_mme.VsNetwork,
    nid=_nid,
    snid=_u8,
    tei=_u8,
    role=_u8,
    cco_mac=_mac,
    cco_tei=_u8,
    stations=st.lists(_station, max_size=3).map(tuple),
)
_network = st.builds(
    cm_mme.Network, nid=_nid, snid=_u8, tei=_u8, role=_u8, cco_mac=_mac, access=_u8, num_coord=_u8
)


def bodies() -> st.SearchStrategy[Any]:
    """Any body that survives a round trip through a padded frame."""
    return st.one_of(
        st.sampled_from(BODIES),
        st.builds(
            slac.CmSlacParmReq,
            run_id=_run,
            security_type=st.just(1),
            cipher_suites=st.lists(_u16, max_size=200).map(tuple),
        ),
        st.builds(slac.CmSlacParmCnf, m_sound_target=_mac, **_sounds, **_head),
        st.builds(slac.CmSlacParmCnf, **_sounds, security_type=st.just(1), cipher_suite=_u16),
        st.builds(
            slac.CmStartAttenCharInd,
            **_sounds,
            **_head,
            private=st.one_of(st.just(b""), st.binary(min_size=7, max_size=7).filter(any)),
        ),
        st.builds(slac.CmMnbcSoundInd, cnt=_u8, run_id=_run, rnd=_key, sender_id=_id, **_head),
        st.builds(slac.CmAttenProfileInd, pev_mac=_mac, aag=_aag),
        st.builds(slac.CmAttenCharInd, source_address=_mac, run_id=_run, num_sounds=_u8, aag=_aag, **_ids, **_head),
        st.builds(slac.CmAttenCharRsp, source_address=_mac, run_id=_run, result=_u8, **_ids, **_head),
        st.builds(slac.CmValidateReq, signal_type=_u8, timer=_u8, result=_u8),
        st.builds(slac.CmValidateCnf, signal_type=_u8, toggle_num=_u8, result=_u8),
        st.builds(slac.CmSlacMatchReq, **_match, **_head),
        st.builds(slac.CmSlacMatchCnf, nid=_nid, nmk=_key, **_match, **_head),
        st.builds(cm_mme.CmSetKeyReq, nid=_nid, new_key=_key, my_nonce=_nonce, your_nonce=_nonce, **_protocol),
        st.builds(cm_mme.CmSetKeyCnf, result=_u8, my_nonce=_nonce, your_nonce=_nonce, **_protocol),
        st.builds(cm_mme.CmGetKeyCnf, result=_u8, nid=_nid, key=_key, my_nonce=_nonce, **_protocol),
        st.builds(cm_mme.CmNwInfoCnf, networks=st.lists(_network, max_size=4).map(tuple)),
        _aag.map(lambda raw: cm_mme.CmAmpMapReq(2 * len(raw), raw)),
        st.builds(vendor_mme.VsNwInfoCnf, networks=st.lists(_vs_network, max_size=3).map(tuple)),
        st.builds(
            vendor_mme.VsSwVerCnf,
            mstatus=_u8,
            device_class=_u8,
            version=_word,
            ident=st.one_of(st.none(), _u32),
        ),
        st.builds(
            vendor_mme.VsAttenuationCharacteristicsInd, pev_mac=_mac, aag=_aag, carriers_per_group=_u8
        ),
        st.builds(cp_mme.StpCpStateInd, state=_u8, duty=_u8, freq=_s16, cp_mv=_s16, message_version=_u8),
        st.builds(cp_mme.SpidcomCpInd, changed=_u8, freq=_s16, duty=_s16, cp_mv=_s16),
        st.builds(
            cp_mme.DspaceDiag,
            version=_word.filter(lambda s: "|" not in s),
            topic=_word.filter(lambda s: "|" not in s),
            values=st.dictionaries(_word, st.one_of(_word, st.integers(-(2**31), 2**31), st.booleans()), max_size=10),
        ),
    )
