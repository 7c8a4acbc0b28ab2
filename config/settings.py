"""The daemon's settings as typed data. A field's description is what an operator is told when the value is wrong."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plugtap.config.analysis import AnalysisSettings, CheckSettings

NAME_PATTERN = "^[a-z0-9-]{1,32}$"
NAME_RULE = "1 to 32 of a-z, 0-9 and -"

Name = Annotated[str, Meta(pattern=NAME_PATTERN, description=NAME_RULE)]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port number, 1 to 65535")]
Mac = Annotated[str, Meta(pattern="^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$", description='a MAC address like "02:00:00:12:34:56"')]
Seconds = Annotated[float, Meta(ge=0, description="seconds, 0 or more")]
PositiveSeconds = Annotated[float, Meta(gt=0, description="seconds, more than 0")]
Megabytes = Annotated[int, Meta(ge=1, description="megabytes (1,000,000 bytes), 1 or more")]
Text = Annotated[str, Meta(min_length=1, description="a text that is not empty")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: an unknown key is an error, since it is nearly always a misspelt one."""


class Site(Section, frozen=True):
    """Where this is, and where the daemon keeps its things."""

    name: Name = "site"
    state: Annotated[Text, Meta(description="a directory the daemon may write to")] = "/var/lib/plugtap"


class Privacy(Section, frozen=True):
    """What leaves the box: MQTT, metrics, log."""

    redact: Annotated[bool, Meta(description="true or false")] = True
    key_file: Annotated[str, Meta(description='a path, or "" for redaction.key in site.state')] = ""


class Archive(Section, frozen=True):
    """The rolling pcapng archive."""

    enabled: Annotated[bool, Meta(description="true or false")] = True
    directory: Annotated[str, Meta(description='a path, or "" for archive in site.state')] = ""
    rotate_megabytes: Megabytes = 64
    rotate_hours: Annotated[float, Meta(gt=0, description="hours, more than 0")] = 24.0
    split_megabytes: Megabytes = 256
    keep_megabytes: Megabytes = 4000
    keep_days: Annotated[float, Meta(gt=0, description="days, more than 0")] = 90.0
    min_free_megabytes: Annotated[int, Meta(ge=0, description="megabytes, 0 or more")] = 200
    sync_seconds: PositiveSeconds = 5.0
    resume_seconds: Seconds = 120.0


class Analysis(Section, frozen=True):
    """Settings of the analysis that all taps share; `checks` may be refined tap by tap."""

    reorder: PositiveSeconds = 0.15
    idle: PositiveSeconds = 60.0
    pilot: Literal["iec", "j1772"] = "iec"
    max_sessions: Annotated[int, Meta(ge=1, le=4096, description="a number from 1 to 4096")] = 64
    max_findings: Annotated[int, Meta(ge=1, le=10_000, description="a number from 1 to 10000")] = 200
    max_streams: Annotated[int, Meta(ge=1, le=65_536, description="a number from 1 to 65536")] = 256
    checks: dict[str, CheckSettings] = {}


class Mqtt(Section, frozen=True):
    """The broker that gets sessions, findings and health."""

    enabled: Annotated[bool, Meta(description="true or false")] = False
    host: Annotated[Text, Meta(description="the broker's host name or address")] = "localhost"
    port: Port = 1883
    protocol: Annotated[Literal["3.1.1", "5"], Meta(description='"3.1.1" or "5"')] = "3.1.1"
    base: Annotated[str, Meta(pattern="^[^+#]*$", description='a topic without + and #, or "" for plugtap/<site.name>')] = ""
    client_id: Annotated[str, Meta(max_length=23, description='up to 23 letters, or "" for plugtap-<site.name>')] = ""
    username: str = ""
    password_file: Annotated[str, Meta(description="the path of a file whose first line is the password")] = ""
    tls: Annotated[bool, Meta(description="true or false")] = False
    ca_file: Annotated[str, Meta(description='the path of a PEM file, or "" for the system\'s authorities')] = ""
    cert_file: Annotated[str, Meta(description="the path of a PEM file with the client certificate")] = ""
    key_file: Annotated[str, Meta(description="the path of a PEM file with the client certificate's key")] = ""
    keepalive: Annotated[int, Meta(ge=5, le=3600, description="seconds, 5 to 3600")] = 30
    health_seconds: Annotated[float, Meta(ge=1, description="seconds, 1 or more")] = 30.0
    pilot_seconds: Annotated[float, Meta(ge=0.1, description="seconds, 0.1 or more")] = 10.0
    outbox_messages: Annotated[int, Meta(ge=10, description="a number, 10 or more")] = 10_000
    outbox_megabytes: Megabytes = 32


class Metrics(Section, frozen=True):
    """The HTTP endpoint Prometheus scrapes."""

    enabled: Annotated[bool, Meta(description="true or false")] = True
    listen: Annotated[Text, Meta(description='an address to listen on, "127.0.0.1" for this machine only')] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="a port number, 1 to 65535; 0 takes a free one")] = 9751


class Log(Section, frozen=True):
    """The log on standard error, and the JSON lines of sessions and findings."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description='"debug", "info", "warning" or "error"')] = "info"
    findings: Annotated[str, Meta(description='a path, or "" for findings.jsonl in site.state')] = ""
    findings_megabytes: Megabytes = 16
    findings_files: Annotated[int, Meta(ge=1, le=100, description="a number from 1 to 100")] = 4


# --- sources of a tap -------------------------------------------------------------------------------------------

Filter = Annotated[Literal["ccs", "all"], Meta(description='"ccs" (HomePlug and IPv6, also in VLANs) or "all"')]
Clock = Annotated[
    Literal["local", "remote"],
    Meta(description='"local" if the frames are stamped by this machine\'s clock, "remote" if by another'),
]
Baud = Annotated[int, Meta(ge=1200, le=12_000_000, description="a baud rate, usually 115200")]
PilotFormat = Annotated[Literal["auto", "cpf1", "text"], Meta(description='"auto", "cpf1" or "text"')]


class InterfaceCapture(Section, frozen=True, tag="interface", tag_field="type"):
    """A network interface of this machine, by AF_PACKET."""

    interface: Annotated[str, Meta(pattern="^[^/\\s]{1,15}$", description="the name of a network interface, as `ip link` shows it")]
    filter: Filter = "ccs"
    promiscuous: Annotated[bool, Meta(description="true or false")] = True
    buffer_megabytes: Megabytes = 4


class LibpcapCapture(Section, frozen=True, tag="libpcap", tag_field="type"):
    """A capture device by libpcap (extra `pcap`), in a child process; microsecond time stamps."""

    interface: Annotated[Text, Meta(description="the name of a capture device")]
    filter: Filter = "ccs"
    promiscuous: Annotated[bool, Meta(description="true or false")] = True


class PipeCapture(Section, frozen=True, tag="pipe", tag_field="type"):
    """A pcap or pcapng stream from a FIFO, a Unix socket, or standard input."""

    path: Annotated[Text, Meta(description='the path of a FIFO or Unix socket, or "-" for standard input')]
    clock: Clock = "local"
    slack: Seconds = 0.05


class TcpCapture(Section, frozen=True, tag="tcp", tag_field="type"):
    """A pcap or pcapng stream from a TCP server (a capture program elsewhere)."""

    host: Annotated[Text, Meta(description="a host name or address")]
    port: Port
    clock: Clock = "remote"
    slack: Seconds = 1.0


class FileCapture(Section, frozen=True, tag="file", tag_field="type"):
    """A capture file, played once as fast as it can be read; the tap ends with it."""

    path: Annotated[Text, Meta(description="the path of a pcap or pcapng file")]


class SerialPilot(Section, frozen=True, tag="serial", tag_field="type"):
    """The control pilot's ADC on a serial port (or a pseudo terminal)."""

    device: Annotated[Text, Meta(description='a serial port; best its stable name "/dev/serial/by-id/…"')]
    baud: Baud = 115200
    format: PilotFormat = "auto"


class TcpPilot(Section, frozen=True, tag="tcp", tag_field="type"):
    """The control pilot's ADC behind a serial-to-TCP bridge."""

    host: Annotated[Text, Meta(description="a host name or address")]
    port: Port
    format: PilotFormat = "auto"


class PipePilot(Section, frozen=True, tag="pipe", tag_field="type"):
    """The ADC's bytes from a FIFO or a Unix socket."""

    path: Annotated[Text, Meta(description="the path of a FIFO or Unix socket")]
    format: PilotFormat = "auto"


Capture = InterfaceCapture | LibpcapCapture | PipeCapture | TcpCapture | FileCapture
PilotSource = SerialPilot | TcpPilot | PipePilot


class Tap(Section, frozen=True):
    """One connector's listening points."""

    capture: Capture | None = None
    pilot: PilotSource | None = None
    vantage: Annotated[
        Literal["passive", "host", "bridge", "unknown"],
        Meta(description='"passive", "host", "bridge" or "unknown"'),
    ] = "unknown"
    own_macs: tuple[Mac, ...] = ()
    queue_items: Annotated[int, Meta(ge=100, le=1_000_000, description="a number from 100 to 1000000")] = 20_000
    checks: dict[str, CheckSettings] = {}


class Settings(Section, frozen=True):
    """All of plugtap.toml."""

    site: Site = Site()
    privacy: Privacy = Privacy()
    archive: Archive = Archive()
    analysis: Analysis = Analysis()
    mqtt: Mqtt = Mqtt()
    metrics: Metrics = Metrics()
    log: Log = Log()
    tap: dict[str, Tap] = {}

    def analysis_of(self, tap: str) -> AnalysisSettings:
        """What the Analysis of tap `tap` is told; it is what the tap's archive carries."""
        own, shared = self.tap[tap], self.analysis
        return AnalysisSettings(
            site=self.site.name,
            tap=tap,
            reorder=shared.reorder,
            idle=shared.idle,
            pilot=shared.pilot,
            own_macs=tuple(mac.lower() for mac in own.own_macs),
            max_sessions=shared.max_sessions,
            max_findings=shared.max_findings,
            max_streams=shared.max_streams,
            vantage=own.vantage,
            checks={**shared.checks, **own.checks},
        )

    def sources_of(self, tap: str) -> tuple[str, ...]:
        """Names of the sources of tap `tap`: ``("plc",)``, ``("cp",)`` or both."""
        own = self.tap[tap]
        return (("plc",) if own.capture else ()) + (("cp",) if own.pilot else ())

    @property
    def archive_directory(self) -> str:
        return self.archive.directory or f"{self.site.state}/archive"

    @property
    def findings_path(self) -> str:
        return self.log.findings or f"{self.site.state}/findings.jsonl"

    @property
    def redaction_key_path(self) -> str:
        return self.privacy.key_file or f"{self.site.state}/redaction.key"

    @property
    def mqtt_base(self) -> str:
        return self.mqtt.base.rstrip("/") or f"plugtap/{self.site.name}"
