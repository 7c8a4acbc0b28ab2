"""One event as the JSON object that `plugtap decode` prints (DESIGN section 5)."""

from __future__ import annotations

from typing import Any

import msgspec

from plugtap.protocols.events import Event, Mme, Redecoded, Sdp, TcpPeer, V2gMessage
from plugtap.sessions.records import SECOND, rfc3339
from plugtap.sessions.session import Session
from plugtap.sessions.values import ip_text, mac_text


def peer_text(peer: TcpPeer) -> str:
    """``[fe80::1]:49153``."""
    return f"[{ip_text(peer.ip)}]:{peer.port}"


def event_line(event: Event, session: Session | None, start: int) -> dict[str, Any]:
    """The object of one event; `t` counts from the session's start, or the capture's where there is no session."""
    since = session.start if session is not None else start
    head: dict[str, Any] = {
        "frame": event.frame, "index": getattr(event, "index", 0), "time": rfc3339(event.t), "t": round((event.t - since) / SECOND, 9),
        "layer": "v2g", "session": session.id if session is not None else None,
    }  # fmt: skip
    match event:
        case V2gMessage():
            return _v2g(head, event)
        case Redecoded():
            again = event_line(event.message, session, start)
            return {**again, "again": True, "known_from": event.frame, "schema_before": event.schema_before, "message_before": event.message_before}
        case Mme():
            return {
                **head, "layer": "slac" if "SLAC" in event.name or "ATTEN" in event.name or "SOUND" in event.name else "homeplug",
                "src": mac_text(event.src), "dst": mac_text(event.dst), "message": event.name, "mmtype": f"0x{event.mmtype:04x}",
                "content": plain(event.body) if event.body is not None else None, "payload": event.payload.hex(),
            }  # fmt: skip
        case Sdp():
            return {
                **head, "layer": "sdp", "src": f"[{ip_text(event.src)}]:{event.src_port}", "dst": f"[{ip_text(event.dst)}]:{event.dst_port}",
                "side": "EVCC" if event.request else "SECC", "message": "SDPReq" if event.request else "SDPRes",
                "content": {"security": event.security, "transport": event.transport, "ip": ip_text(event.ip), "port": event.port},
            }  # fmt: skip
    return {**head, "layer": type(event).__name__.lower()}


def _v2g(head: dict[str, Any], event: V2gMessage) -> dict[str, Any]:
    line = {
        **head, "stream": event.stream, "src": peer_text(event.src), "dst": peer_text(event.dst), "side": event.side, "tls": event.tls,
        "payload_type": f"0x{event.payload_type:04x}", "schema": event.schema, "message": event.message, "content": event.content,
        "guessed": event.guessed,
    }  # fmt: skip
    if event.variant:
        line["variant"] = event.variant
    if event.notes:
        line["notes"] = list(event.notes)
    if event.error is not None:
        line.update(error=event.error, exi=event.exi.hex())
    return line


def plain(body: Any) -> Any:
    """A struct of an MME as JSON values: bytes become lower-case hex."""
    return _hex(body)


def _hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): _hex(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_hex(v) for v in value]
    if isinstance(value, msgspec.Struct):
        return _hex(msgspec.structs.asdict(value))
    return value
