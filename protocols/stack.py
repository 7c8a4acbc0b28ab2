"""Items to events: all decoders of one tap in their order.

A frame goes through link layer, then HomePlug or IPv6; V2G messages get their schema here. Whatever cannot be decoded becomes an Undecodable event.
"""

from __future__ import annotations

from plugtap.protocols import ethernet
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Event, Loss, Mme, Undecodable
from plugtap.protocols.homeplug import HomeplugDecoder
from plugtap.protocols.items import CpRecord, Frame, Item, TapEvent, Tick
from plugtap.protocols.net import NetDecoder, RawV2g
from plugtap.protocols.pilot import PilotTracker
from plugtap.protocols.v2g import V2gDecoder

ETHERTYPE_HOMEPLUG = 0x88E1


class Stack:
    """Decoders of one tap. `feed` never raises for what came from outside."""

    def __init__(self) -> None:
        self._homeplug = HomeplugDecoder()
        self._net = NetDecoder()
        self._v2g = V2gDecoder()
        self._pilot = PilotTracker()
        self.undecodable = 0

    def feed(self, item: Item) -> list[Event]:
        """Events of one item, in the order they happened."""
        match item:
            case Frame():
                return self._frame(item)
            case CpRecord():
                return self._pilot.feed_record(item)
            case TapEvent():
                return [_tap_loss(item)]
            case Tick():
                return []

    def _frame(self, frame: Frame) -> list[Event]:
        events: list[Event] = []
        if frame.lost:
            events.append(Loss(t=frame.t, frame=frame.number, source=frame.source, kind="drop", frames=frame.lost))
        if frame.wire_len > len(frame.data):
            events.append(
                Loss(t=frame.t, frame=frame.number, source=frame.source, kind="cut", length=frame.wire_len - len(frame.data))
            )
        link = None
        try:
            link = ethernet.parse(frame)
            if link.ethertype == ETHERTYPE_HOMEPLUG:
                for mme in self._homeplug.feed(frame.t, frame.number, frame.source, link.src, link.dst, link.payload):
                    events.append(mme)
                    if isinstance(mme, Mme):
                        events.extend(self._pilot.feed_mme(mme))
            else:
                for found in self._net.feed(frame, link):
                    events.extend(self._v2g.feed(found) if isinstance(found, RawV2g) else self._v2g.watch(found))
        except DecodeError as error:
            self.undecodable += 1
            events.append(
                Undecodable(
                    t=frame.t, frame=frame.number, source=frame.source, layer=error.layer, offset=error.offset,
                    reason=error.reason, src_mac=link.src if link is not None else None,
                )
            )  # fmt: skip
        return events

    def finish(self, t: int, frame: int) -> list[Event]:
        """The items have ended: give up what still waited for more bytes."""
        events: list[Event] = []
        for found in self._net.finish(t, frame):
            events.extend(self._v2g.feed(found) if isinstance(found, RawV2g) else self._v2g.watch(found))
        return events


TAP_LOSS = {"drop": "drop", "rekey": "rekey", "clock-jump": "clock-jump", "overload": "drop"}


def _tap_loss(item: TapEvent) -> Loss:
    frames = item.values.get("frames", 0)
    return Loss(
        t=item.t, frame=item.number, source=item.source, kind=TAP_LOSS.get(item.kind, "tap"),
        frames=frames if isinstance(frames, int) else 0, detail=item.kind + (f": {item.detail}" if item.detail else ""),
    )  # fmt: skip
