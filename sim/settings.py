"""What a scenario can say about the two parties. Times in seconds. Defaults are an ordinary car at an ordinary charger.

The defaults' timing follows what was measured on real cars and chargers (docs/bench.md).
"""

from __future__ import annotations

import msgspec

from plugtap.sim.tcp import TcpSettings

NAMESPACES = {
    "din": ("urn:din:70121:2012:MsgDef", 2, 0),
    "iso2": ("urn:iso:15118:2:2013:MsgDef", 2, 0),
    "iso20-dc": ("urn:iso:std:iso:15118:-20:DC", 1, 0),
    "iso20-ac": ("urn:iso:std:iso:15118:-20:AC", 1, 0),
    "tesla": ("urn:tesla:din:2018:MsgDef", 0, 7),
}


class EvSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The virtual EV."""

    mac: str = "02:53:00:00:00:01"
    modem_mac: str = "02:53:00:00:01:01"
    evccid: str = ""  # hex for din and iso2, text for iso20; empty: the MAC, or WMI… in iso20
    protocols: tuple[str, ...] = ("din",)  # offered, in order of priority
    energy: str = "dc"  # dc, ac, dc-bpt, ac-bpt
    # plug and SLAC
    plug_delay: float = 1.0  # from the start of the scenario until the plug is in
    slac_delay: float = 0.9  # from 5 % PWM to CM_SLAC_PARM.REQ
    wait_pwm: bool = True  # False: SLAC without regard to the pilot
    basic: bool = False  # a car without high-level communication: state C as soon as the duty gives a current
    slac_runs: int = 3  # whole rounds tried before giving up
    slac_wait: float = 0.6  # between rounds
    slac_restart_after: str = ""  # restart with a new RunID once, after this message was sent
    parm_tries: int = 3
    parm_timeout: float = 0.2
    start_delay: float = 0.15  # CM_SLAC_PARM.CNF to the first START_ATTEN_CHAR
    starts: int = 3
    sounds: int = 10
    batch_interval: float = 0.032  # between START_ATTEN_CHAR and sounds
    atten_wait: float = 1.2
    rsp_delay: float = 0.005
    match_delay: float = 0.35  # ATTEN_CHAR.RSP to SLAC_MATCH.REQ
    match_tries: int = 3
    match_timeout: float = 0.2
    run_id: str = ""  # hex; empty: random
    validate: bool = False
    toggles: int = 2
    toggle_time: float = 0.3  # of each state
    choose_worst: bool = False  # match with the charger that is heard worst
    take_foreign_match: bool = False
    amp_map: bool = False
    learns_macs: bool = False  # takes MACs from any traffic instead of neighbour discovery
    set_key: bool = True
    # link, SDP, TCP
    link_poll: float = 0.25
    link_timeout: float = 12.0
    sdp_delay: float = 0.6
    sdp_interval: float = 0.25
    sdp_tries: int = 50
    sdp_security: int = 0x10
    insists_on_tls: bool = False  # goes on asking when the answer is another security than asked for
    no_sdp: bool = False  # an AC car that does SLAC and then no HLC
    tcp: TcpSettings = TcpSettings()
    tcp_port: int = 0  # 0: the port of the SDP response
    tcp_probe: float = 0.0  # every so many seconds in the session, a SYN to another port (0: never)
    tcp_delay: float = 0.05
    no_tcp: bool = False
    # V2G
    gap: float = 0.06  # thinking time between a response and the next request
    poll: float = 0.12  # the same while the charger says Ongoing, and in pre-charge
    loop: float = 0.1  # … in the charge loop
    jitter: float = 0.25  # share of these times that varies
    timeout: float = 2.0
    powerdelivery_timeout: float = 5.0
    loop_timeout: float = 2.0
    cablecheck_timeout: float = 40.0
    precharge_timeout: float = 10.0
    ongoing_timeout: float = 60.0
    plan: tuple[str, ...] = ()  # steps of the session; empty: the usual ones (ev.PLANS)
    session_id: str = "0000000000000000"
    use_session_id: str = ""  # send this instead of the assigned one
    precharge_a: float = 1.0
    precharge_tolerance: float = 12.0  # how near to the battery's voltage is near enough
    precharge_target: float = 0.0  # 0: the battery's voltage
    charge_time: float = 20.0  # seconds in the loop before the EV stops
    target_soc: float = 100.0
    respects_limits: bool = True  # asks for no more than the charger announces
    ramp: float = 1.5  # seconds from 0 A to the target
    bulk_soc: int = 80
    full_soc: int = 100
    welding_polls: int = 3
    welding_timeout: float = 8.0  # gives up waiting for the voltage to go away
    welding_below_v: float = 60.0  # poll until the voltage is below this
    c_delay: float = 0.05  # response to CP C
    b_delay: float = 0.05  # PowerDeliveryRes(stop) to CP B
    cp_c_at: str = "cable_check"  # the step before which the EV goes to C
    obey_stop: int = 2  # loops after StopCharging until the EV stops; -1: never
    stop_with: str = "session-stop"  # session-stop, fin, rst, silence, open (leaves the connection to the charger): how it ends a session it is done with
    fail_with: str = "fin"  # … one that failed: session-stop, fin, rst, silence
    pause: bool = False  # SessionStop with ChargingSession Pause
    pause_for: float = 8.0  # then resume after so many seconds
    renegotiate_at: float = 0.0  # seconds into the loop (0: never)
    renegotiation_cable_check: bool = True
    limits_in_loop: bool = True  # EVMaximum*Limit in CurrentDemandReq
    evready: bool = True
    ignores_failed: bool = False  # goes on after FAILED
    error_code: str = "NO_ERROR"
    sessions: int = 1  # plug in, charge, unplug: so many times
    between: float = 6.0  # with the plug out for so long
    unplug_after: float = 2.0  # from the end of communication until the plug is out
    stay_plugged: bool = False
    retries: int = 0  # whole new attempts after a failure
    retry_wait: float = 4.0
    control_mode: str = "dynamic"  # iso20: scheduled, dynamic
    ac_modes: tuple[str, ...] = ("AC_three_phase_core",)


class EvseSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The virtual charger."""

    mac: str = "02:53:00:00:00:02"
    modem_mac: str = "02:53:00:00:01:02"
    evseid: str = "DE*PTP*E000001"
    din_evseid: str = "00"
    protocols: tuple[str, ...] = ("iso20-dc", "iso20-ac", "iso2", "din")  # spoken; the EV's priority decides
    energy: str = "dc"
    prefer_last: bool = False  # takes the offer of lowest priority
    silent_negotiation: bool = False  # no common protocol: close without Failed_NoNegotiation
    # pilot
    b_to_pwm: float = 0.6  # plug to 5 % PWM
    duty: float = 5.0
    nominal_duty: float = 0.0  # AC with HLC: the duty after authorisation (0: 5 % all the time)
    x1_after: float = 0.3  # end of communication to PWM off
    basic_after: float = 0.0  # no SLAC by then: nominal duty …
    basic_path: str = "ef"  # … by way of F (ef), X1 (x1) or at once (direct)
    basic_step: float = 0.0  # how long F or X1 lasts (0: as the standard asks, and a little more)
    again_after: float = 0.0  # after communication: 5 % again so many seconds after X1, for another attempt (0: never)
    ef_step: float = 0.0  # an E/F step of so many seconds if no SLAC came …
    ef_after: float = 12.0  # … this long after 5 %
    # SLAC
    slac: bool = True
    parm_delay: float = 0.004
    ready_after_pwm: float = 0.0  # SLAC is armed so long after 5 %
    char_delay: float = 0.03  # last sound to ATTEN_CHAR.IND
    char_tries: int = 3
    char_timeout: float = 0.2
    wait_all_sounds: bool = True
    match_delay: float = 0.001
    match_session: float = 10.0
    nmk: str = ""  # hex; empty: random at each plug-in
    nid: str = ""  # hex; empty: derived from the key
    char_constant: int = -1  # report this in every group
    answer_validate: int = 2  # result of the second CM_VALIDATE.CNF
    learns_macs: bool = False  # takes MACs from any traffic instead of neighbour discovery
    answers_neighbors: bool = True
    nd_mac: str = ""  # announces this MAC in neighbour advertisements
    answer_foreign: bool = False  # a neighbour that answers EVs that are not its own
    # SDP, TCP
    sdp: bool = True
    sdp_delay: float = 0.003
    sdp_ready: float = 0.0  # seconds after the link until SDP is answered
    sdp_security: int = 0x10
    tcp: TcpSettings = TcpSettings(rto=0.25, rto_max=8.0, retries=15)
    tcp_port: int = 0  # 0: random in 49152..65535
    # V2G
    latency: float = 0.02  # request to response
    loop_latency: float = 0.015
    jitter: float = 0.3
    ignores_pilot: bool = False  # goes on in state B
    strict: bool = True  # sequence errors are answered FAILED_SequenceError
    session_id: str = ""  # hex; empty: 8 random bytes
    old_session: str = "OK_OldSessionJoined"
    auth_time: float = 1.2
    parameters_time: float = 0.3
    cable_check_time: float = 6.0
    cable_check_v: float = 0.0  # 0: min(500, EV maximum + 50)
    isolation_after: str = "Valid"
    isolation_during: str = "Invalid"
    contactor_time: float = 0.35  # AC
    powerdelivery_time: float = 0.15
    stop_time: float = 0.05  # SessionStop: the power is taken down first
    sequence_timeout: float = 60.0
    stop_at: float = 0.0  # seconds into the loop at which the charger (its user) ends the session (0: never)
    stop_status: str = "EVSE_Shutdown"
    status: str = "EVSE_Ready"  # DC_EVSEStatusCode outside the cable check
    notification: str = "None"
    notification_delay: int = 0
    on_notification: int = 0
    receipt: bool = False  # ask for metering receipts
    meter: bool = True
    timestamp: bool = True
    schedule_s: int = 86400
    pmax: float = 0.0  # 0: the supply's maximum
    close_with: str = "none"  # after SessionStopRes: none (the EV closes), fin, rst
    close_after: float = 5.0
    payment: str = "ExternalPayment"
    free: bool = False
    renegotiate_at: float = 0.0
    dynamic_w: float = 30000.0  # iso20, dynamic control: what the charger sets
    discharge_after: float = 8.0  # iso20, BPT: it turns the power round after so many seconds
    ac_max_a: float = 32.0
    ac_modes: tuple[str, ...] = ("AC_three_phase_core",)
    vendor_pilot: bool = False  # its modem reports the pilot as 0xA22E messages
