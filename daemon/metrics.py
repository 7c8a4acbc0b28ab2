"""Prometheus metrics, read from the daemon's own counters when asked for. Labels are bounded: taps, sources, checks,
outcomes; never a MAC or anything else from the wire."""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from plugtap import __version__
from plugtap.analysis.outputs import Output, SessionReport
from plugtap.checks.finding import SEVERITIES
from plugtap.config.errors import ConfigError
from plugtap.config.settings import Metrics

if TYPE_CHECKING:
    from plugtap.daemon.findings_log import FindingsLog
    from plugtap.daemon.mqtt import Publisher
    from plugtap.daemon.tap import TapPipeline
    from plugtap.hw.source import Source

log = logging.getLogger("plugtap.metrics")

MAX_SERIES = 1000  # of one family
OTHER = "other"


class Tally:
    """Counts of sessions and findings by bounded labels; fed with every output."""

    def __init__(self) -> None:
        self.findings: collections.Counter[tuple[str, ...]] = collections.Counter()  # tap, check, severity
        self.sessions: collections.Counter[tuple[str, ...]] = collections.Counter()  # tap, outcome, protocol, pair
        self._seen: collections.OrderedDict[str, None] = collections.OrderedDict()

    def add(self, tap: str, output: Output) -> None:
        """Count an output once, whatever its revision."""
        if isinstance(output, SessionReport):
            if output.state == "closed" and self._fresh(f"closed {output.id}"):
                labels = (tap, output.outcome or OTHER, output.protocol or "none", output.pair)
                self._count(self.sessions, labels)
        elif self._fresh(output.id):
            severity = output.severity if output.severity in SEVERITIES else OTHER
            self._count(self.findings, (tap, output.check, severity))

    def _fresh(self, key: str) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        while len(self._seen) > 20_000:
            self._seen.popitem(last=False)
        return True

    @staticmethod
    def _count(counter: collections.Counter[tuple[str, ...]], labels: tuple[str, ...]) -> None:
        if labels not in counter and len(counter) >= MAX_SERIES:
            labels = (labels[0], *([OTHER] * (len(labels) - 1)))
        counter[labels] += 1


class DaemonCollector(Collector):
    """All families of the daemon. The objects are only read; an int read by another thread is at worst a moment old."""

    def __init__(self, site: str, taps: Sequence[TapPipeline], tally: Tally, mqtt: Publisher | None, findings: FindingsLog) -> None:
        self._site = site
        self._taps = taps
        self._tally = tally
        self._mqtt = mqtt
        self._findings = findings

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        yield InfoMetricFamily("plugtap_build", "Version and site.", {"version": __version__, "site": self._site})
        yield from self._sources()
        yield from self._pipelines()
        yield from self._archives()
        yield from self._results()
        yield from self._sinks()

    def _sources(self) -> Iterator[Metric]:
        labels = ["tap", "source"]
        rows: list[tuple[tuple[str, ...], Source, TapPipeline]]
        rows = [((tap.name, source.name), source, tap) for tap in self._taps for source in tap.sources]
        yield _gauge("plugtap_source_up", "Whether items can come (1) or the source is away (0).", labels,
                     {key: float(source.up) for key, source, _ in rows})  # fmt: skip
        for name, counter, text in (
            ("plugtap_frames", "frames", "Frames captured."),
            ("plugtap_frames_dropped", "dropped", "Frames that the capture lost, as the kernel or the stream counts them."),
            ("plugtap_source_bytes", "bytes", "Bytes read."),
            ("plugtap_source_opened", "opened", "Times the source was opened."),
            ("plugtap_source_errors", "errors", "Times the source failed or could not be opened."),
            ("plugtap_source_damaged", "damaged", "Times what came was damaged (CRC, framing, file format)."),
            ("plugtap_pilot_gaps", "gaps", "Frames of the pilot device that are missing by their sequence numbers."),
        ):
            counts = {key: source.counters[counter] for key, source, _ in rows if counter in source.counters}
            yield _counter(name, text, labels, counts)
        last = {key: tap.last_item[key[1]] / 1e9 for key, _, tap in rows if key[1] in tap.last_item}
        yield _gauge("plugtap_last_item_timestamp_seconds", "Time stamp of the last item.", labels, last)

    def _pipelines(self) -> Iterator[Metric]:
        taps = self._taps
        yield _counter("plugtap_items", "Items analysed.", ["tap"], {(t.name,): t.counters["items"] for t in taps})
        yield _counter("plugtap_ticks", "Proofs of silence given to Analysis.", ["tap"], {(t.name,): t.counters["ticks"] for t in taps})
        yield _counter("plugtap_analysis_errors", "Items that Analysis raised at: a mistake of plugtap.", ["tap"],
                       {(t.name,): t.counters["errors"] for t in taps})  # fmt: skip
        yield _counter("plugtap_analysis_seconds", "Time spent in Analysis.", ["tap"], {(t.name,): t.analysis_ns / 1e9 for t in taps})
        yield _gauge("plugtap_queue_items", "Items that wait.", ["tap"], {(t.name,): len(t.inbox) for t in taps})
        yield _gauge("plugtap_queue_high_items", "Most items that ever waited.", ["tap"], {(t.name,): t.inbox.high for t in taps})
        yield _gauge("plugtap_queue_limit_items", "Items that may wait.", ["tap"], {(t.name,): t.inbox.capacity for t in taps})
        yield _counter("plugtap_queue_full", "Times a source had to wait for room.", ["tap"], {(t.name,): t.inbox.full for t in taps})

    def _archives(self) -> Iterator[Metric]:
        archives = [(tap.name, tap.archive) for tap in self._taps]
        for name, counter, text in (
            ("plugtap_archive_bytes", "bytes", "Bytes written."),
            ("plugtap_archive_items", "items", "Items written."),
            ("plugtap_archive_items_lost", "lost", "Items analysed that could not be written."),
            ("plugtap_archive_items_refused", "refused", "Items that the format can't hold."),
            ("plugtap_archive_errors", "errors", "Times writing began to fail."),
            ("plugtap_archive_files_begun", "files", "Files begun."),
            ("plugtap_archive_files_removed", "removed", "Old files removed."),
        ):
            yield _counter(name, text, ["tap"], {(tap,): archive.counters[counter] for tap, archive in archives})
        yield _gauge("plugtap_archive_writable", "Whether the archive can be written (1) or not (0).", ["tap"],
                     {(tap,): float(not archive.problem) for tap, archive in archives})  # fmt: skip
        yield _gauge("plugtap_archive_files", "Complete files kept.", ["tap"], {(tap,): archive.files for tap, archive in archives})
        yield _gauge("plugtap_archive_size_bytes", "Size of the complete files.", ["tap"],
                     {(tap,): archive.files_bytes for tap, archive in archives})  # fmt: skip

    def _results(self) -> Iterator[Metric]:
        yield _gauge("plugtap_sessions_open", "Sessions under way.", ["tap"], {(t.name,): len(t.open_sessions) for t in self._taps})
        yield _counter("plugtap_sessions", "Sessions ended.", ["tap", "outcome", "protocol", "pair"], dict(self._tally.sessions))
        yield _counter("plugtap_findings", "Findings, each counted once.", ["tap", "check", "severity"], dict(self._tally.findings))

    def _sinks(self) -> Iterator[Metric]:
        findings = self._findings.counters
        yield _counter("plugtap_log_lines", "Lines written to the findings log.", [], {(): findings["lines"]})
        yield _counter("plugtap_log_lines_lost", "Lines that could not be kept for the findings log.", [], {(): findings["lost"]})
        if self._mqtt is None:
            return
        mqtt, outbox = self._mqtt, self._mqtt.outbox
        yield _gauge("plugtap_mqtt_connected", "Whether the broker is connected.", [], {(): float(mqtt.connected)})
        yield _counter("plugtap_mqtt_published", "Messages the broker has confirmed.", [], {(): mqtt.counters["published"]})
        yield _counter("plugtap_mqtt_connections", "Connections made.", [], {(): mqtt.counters["connected"]})
        yield _counter("plugtap_mqtt_errors", "Connections failed or broken.", [], {(): mqtt.counters["errors"]})
        yield _counter("plugtap_mqtt_oversize", "Messages above 64 kB that were not sent.", [], {(): mqtt.counters["oversize"]})
        yield _gauge("plugtap_outbox_messages", "Messages that wait for the broker.", [], {(): outbox.backlog})
        yield _gauge("plugtap_outbox_bytes", "Their size on disk.", [], {(): outbox.bytes})
        yield _counter("plugtap_outbox_dropped", "Messages dropped because too many waited.", [], {(): outbox.counters["dropped"]})


def _gauge(name: str, text: str, labels: list[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, labels: list[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


class MetricsServer:
    """The HTTP endpoint, in its own thread."""

    def __init__(self, settings: Metrics, collector: Collector) -> None:
        """Raises ConfigError when the address can't be listened on."""
        self.registry = CollectorRegistry()
        self.registry.register(collector)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._server: Any
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(settings.port, settings.listen, registry=self.registry)
        except OSError as error:
            remedy = "choose another metrics.port, or stop what listens there"
            where = f"{settings.listen}:{settings.port} can't be listened on: {error.strerror or error}"
            raise ConfigError("metrics.listen", where, remedy) from None
        self.port: int = self._server.server_port
        log.info("metrics url=http://%s:%d/metrics", settings.listen, self.port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
