"""From settings to sources."""

from __future__ import annotations

from plugtap.config.settings import (
    Capture,
    FileCapture,
    InterfaceCapture,
    LibpcapCapture,
    PilotSource,
    PipeCapture,
    PipePilot,
    SerialPilot,
    Tap,
)
from plugtap.hw.capture import InterfaceSource
from plugtap.hw.pcap_backend import libpcap_source
from plugtap.hw.pipe import file_source, pipe_source
from plugtap.hw.serial_pilot import pipe_pilot, serial_pilot, tcp_pilot
from plugtap.hw.source import Source
from plugtap.hw.tcp import tcp_source


def capture_source(settings: Capture) -> Source:
    """The source of frames that `settings` describe."""
    if isinstance(settings, InterfaceCapture):
        return InterfaceSource(
            settings.interface,
            filter_ccs=settings.filter == "ccs",
            promiscuous=settings.promiscuous,
            buffer_bytes=settings.buffer_megabytes * 1_000_000,
        )
    if isinstance(settings, LibpcapCapture):
        return libpcap_source(settings.interface, filter_ccs=settings.filter == "ccs", promiscuous=settings.promiscuous)
    if isinstance(settings, FileCapture):
        return file_source(settings.path)
    local = settings.clock == "local"
    if isinstance(settings, PipeCapture):
        return pipe_source(settings.path, local_clock=local, slack=settings.slack)
    return tcp_source(settings.host, settings.port, local_clock=local, slack=settings.slack)


def pilot_source(settings: PilotSource) -> Source:
    """The source of pilot records that `settings` describe."""
    if isinstance(settings, SerialPilot):
        return serial_pilot(settings.device, baud=settings.baud, form=settings.format)
    if isinstance(settings, PipePilot):
        return pipe_pilot(settings.path, form=settings.format)
    return tcp_pilot(settings.host, settings.port, form=settings.format)


def tap_sources(tap: Tap) -> list[Source]:
    """All sources of a tap, the power line first."""
    sources: list[Source] = []
    if tap.capture is not None:
        sources.append(capture_source(tap.capture))
    if tap.pilot is not None:
        sources.append(pilot_source(tap.pilot))
    return sources
