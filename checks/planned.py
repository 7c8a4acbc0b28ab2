"""Ids of the catalogue that are no checks of their own, and why: so that nobody looks for them in vain.

status: merged (said by the checks in `into`), tls (waits for the reading of TLS), trend (needs a history over many sessions),
not-decidable (a passive tap can't tell), later.
"""

from __future__ import annotations

import msgspec

STATUS = {
    "merged": "said by another check",
    "tls": "waits for the reading of TLS",
    "trend": "needs a history over many sessions",
    "not-decidable": "a passive tap can't tell",
    "later": "not written yet",
}


class Planned(msgspec.Struct, frozen=True):
    """Why an id of the catalogue has no check of its own."""

    title: str
    status: str
    why: str
    into: tuple[str, ...] = ()


PLANNED: dict[str, Planned] = {
    # --- merged -----------------------------------------------------------------------------------------------------
    "cp-x1-after-eim-in-hlc": Planned("PWM off in a running session", "merged", "one cause, one finding", ("cp-oscillator-off-early",)),
    "cross-cp-ef-during-session": Planned("E or F while V2G runs", "merged", "their detail says what was running", ("cp-state-e", "cp-state-f")),
    "cross-duty-vs-protocol": Planned(
        "Duty cycle against the phase", "merged", "each half has its own check", ("slac-no-parm-req", "cp-duty-not-digital-during-hlc")
    ),
    "cross-plug-lock": Planned("EV reports a lock fault", "merged", "the EV's error code says it", ("status-everrorcode",)),
    "sdp-stopped-late": Planned("Discovery unanswered after 18 s", "merged", "the same silence, 2 s later", ("sdp-no-response",)),
    "slac-atten-profile-missing": Planned(
        "No CM_ATTEN_PROFILE.IND",
        "merged",
        "visible only between the EVSE's host and modem; what follows from it is visible everywhere",
        ("slac-atten-all-zero", "slac-atten-char-late"),
    ),
    "slac-restart-before-match": Planned("SLAC restarted half-way", "merged", "its detail says how far the run had come", ("slac-restart",)),
    "tcp-dup-ack-loss": Planned(
        "Burst of duplicate acknowledgements",
        "merged",
        "small stacks send them in good sessions; data sent again is the better sign",
        ("tcp-retransmission-rate",),
    ),
    "time-powerdelivery": Planned(
        "PowerDeliveryRes slower than DIN's 2 s", "merged", "the table of message times has the row", ("time-msg-timeout",)
    ),
    "sess-unknown-response-code": Planned(
        "Response code outside the protocol's list", "merged", "a value that is not in the schema does not decode", ("exi-decode-error",)
    ),
    "value-welding-voltage-constant": Planned(
        "Voltage constant through WeldingDetection", "merged", "the same observation without its maker", ("value-welding-voltage-stuck",)
    ),
    # --- history ----------------------------------------------------------------------------------------------------
    "cross-ev-model-baseline": Planned("EV deviates from its own baseline", "trend", "phase durations by EV and EVSE"),
    "cross-evse-failure-rate": Planned("EVSE fails more often than the site", "trend", "failure rate over 50 sessions"),
    "cross-repeat-failures": Planned("The same pair fails repeatedly", "trend", "failed sessions of a pair within a day"),
    "cross-time-sync": Planned("Pilot and power line clocks apart", "trend", "one session has too few edges to estimate an offset"),
    "seq-pause-then-no-resume": Planned("A pause is never resumed", "trend", "24 h after the session"),
    "slac-atten-drift": Planned("Attenuation rises over weeks", "trend", "rolling median of a site"),
    "slac-nmk-reused": Planned("The same network key in consecutive sessions", "trend", "keys of earlier sessions of the EVSE"),
    "slac-vendor-mme-noise": Planned(
        "Foreign powerline adapters on the line", "trend", "stations outside the pair belong to the tap, not to a session"
    ),
    "time-state-duration": Planned("A phase takes far longer than usual", "trend", "median of the site"),
    # --- cannot be told -----------------------------------------------------------------------------------------------
    "exi-ambiguous-schema": Planned(
        "A payload valid under two schemas",
        "not-decidable",
        "decoding is strict with the negotiated schema; before it is known the result is marked as a guess",
    ),
    # --- TLS ----------------------------------------------------------------------------------------------------------
    **{
        ident: Planned(title, "tls", "certificates, hellos and alerts are read, the rules come with the TLS work")
        for ident, title in (
            ("tls-version-din", "TLS with DIN"),
            ("tls-version-iso2", "ISO 15118-2 over another TLS than 1.2"),
            ("tls-version-iso20", "ISO 15118-20 without TLS 1.3"),
            ("tls-cipher-iso2", "Cipher suite outside ISO 15118-2"),
            ("tls-cipher-iso20", "Cipher suite outside ISO 15118-20"),
            ("tls-group-iso20", "Named group outside the profile"),
            ("tls-sigalg-iso20", "Signature algorithm outside the profile"),
            ("tls-no-client-auth-iso20", "SECC asks for no client certificate"),
            ("tls-cert-request-authorities", "No authorities in the certificate request"),
            ("tls-client-hello-no-ca", "EV sends no certificate authorities"),
            ("tls-trusted-ca-keys", "EV sends no trusted_ca_keys"),
            ("tls-chain-not-selected", "SECC ignores the EV's roots"),
            ("tls-ocsp-missing", "No OCSP response"),
            ("tls-ocsp-stale", "OCSP response too old"),
            ("tls-alert", "TLS alert"),
            ("tls-handshake-slow", "Slow TLS handshake"),
            ("tls-handshake-timeout", "TLS handshake time-out"),
            ("tls-cert-expired", "SECC certificate expired or not yet valid"),
            ("tls-cert-expires-soon", "SECC certificate expires soon"),
            ("tls-chain-depth", "Certificate chain too long"),
            ("tls-cert-size", "Certificate too large"),
            ("tls-cert-curve-iso2", "Certificate curve not secp256r1"),
            ("tls-cert-curve-iso20", "Certificate curve outside the profile"),
            ("tls-cert-domain-component", "CPO domain component missing"),
            ("tls-cert-vehicle-not-vehicle", "Client certificate is no vehicle certificate"),
            ("tls-self-signed-private", "Self-signed SECC certificate"),
            ("tls-key-missing", "TLS session not decryptable"),
            ("tls-renegotiated-mid", "TLS renegotiation in the session"),
            ("tls-no-clienthello-after-sdp", "No TLS after discovery offered it"),
        )
    },
}
