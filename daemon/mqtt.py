"""The broker: status with last will, retained states, and the outbox. Connects again for ever; subscribes to
nothing."""

from __future__ import annotations

import asyncio
import collections
import logging
import random
import ssl

import aiomqtt

from plugtap.config.errors import ConfigError
from plugtap.config.settings import Mqtt
from plugtap.daemon.outbox import Message, Outbox
from plugtap.hw.source import Backoff

log = logging.getLogger("plugtap.mqtt")

MAX_PAYLOAD = 64_000  # bytes, what DESIGN allows
IN_FLIGHT = 10
MAX_RETAINED = 1000  # topics
PUBLISH_SECONDS = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


def read_password(settings: Mqtt) -> str | None:
    """First line of the password file. Raises ConfigError."""
    if not settings.password_file:
        return None
    try:
        with open(settings.password_file, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("mqtt.password_file", f"can't be read: {error}", "name a readable file") from None


def tls_context(settings: Mqtt) -> ssl.SSLContext | None:
    """What `settings` say about TLS. Raises ConfigError."""
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("mqtt.ca_file", f'"{settings.ca_file}" can\'t be used: {error}', "name a PEM file") from None
    if settings.cert_file:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError) as error:
            remedy = "cert_file and key_file are PEM files that belong together"
            raise ConfigError("mqtt.cert_file", f'"{settings.cert_file}" can\'t be used: {error}', remedy) from None
    return context


class Publisher:
    """Owns the connection. counters: connected, errors, published, oversize, retained_dropped."""

    def __init__(self, settings: Mqtt, base: str, site: str, outbox: Outbox) -> None:
        self.base = base
        self.outbox = outbox
        self.connected = False
        self.problem = ""
        self.counters: collections.Counter[str] = collections.Counter()
        self._settings = settings
        self._client_id = settings.client_id or f"plugtap-{site}"[:23]
        self._password = read_password(settings)
        self._tls = tls_context(settings)
        self._retained: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._unsent: set[str] = set()
        self._closing = asyncio.Event()

    # -- what to publish ---------------------------------------------------------------------------------------------

    def retain(self, topic: str, payload: bytes) -> None:
        """Keep `payload` as the state of `topic` (below the base); sent at once, and after each new connection."""
        if len(payload) > MAX_PAYLOAD:
            self.counters["oversize"] += 1
            return
        if topic not in self._retained and len(self._retained) >= MAX_RETAINED:
            self.counters["retained_dropped"] += 1
            return
        self._retained[topic] = payload
        self._unsent.add(topic)
        self.outbox.changed.set()

    def send(self, key: str, topic: str, payload: bytes) -> None:
        """Put `payload` into the outbox for `topic` (below the base)."""
        if len(payload) > MAX_PAYLOAD:
            self.counters["oversize"] += 1
            return
        self.outbox.add(Message(key=key, topic=f"{self.base}/{topic}", payload=payload))

    def close(self) -> None:
        """Send what waits, say offline, then end `run`."""
        self._closing.set()
        self.outbox.changed.set()

    # -- the connection ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, publish, and connect again until closed."""
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while not self._closing.is_set():
            try:
                async with self._client() as client:
                    self._report_connected()
                    backoff.reset()
                    await self._serve(client)
            except (aiomqtt.MqttError, OSError) as error:
                self._report(error)
            finally:
                self.connected = False
            if not self._closing.is_set():
                await self.outbox.flush()
                await self._pause(backoff.pause() * random.uniform(0.8, 1.2))  # not all boxes at the same moment

    def _client(self) -> aiomqtt.Client:
        settings = self._settings
        return aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username or None,
            password=self._password,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if settings.protocol == "5" else aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(f"{self.base}/status", b"offline", qos=1, retain=True),
            keepalive=settings.keepalive,
            timeout=PUBLISH_SECONDS,
            tls_context=self._tls,
            logger=logging.getLogger("plugtap.mqtt.client"),
        )

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Publish until closed. Raises MqttError when the connection breaks."""
        await client.publish(f"{self.base}/status", b"online", qos=1, retain=True)
        self._unsent = set(self._retained)
        listen = asyncio.create_task(self._listen(client), name="mqtt-listen")
        try:
            while True:
                self.outbox.changed.clear()
                await self._send_all(client)
                if self._closing.is_set():
                    await client.publish(f"{self.base}/status", b"offline", qos=1, retain=True)
                    return
                changed = asyncio.create_task(self.outbox.changed.wait(), name="mqtt-changed")
                try:
                    await asyncio.wait([listen, changed], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                if listen.done():
                    listen.result()
                    raise aiomqtt.MqttError("the broker closed the connection")
        finally:
            listen.cancel()
            await asyncio.gather(listen, return_exceptions=True)

    async def _listen(self, client: aiomqtt.Client) -> None:
        """Nothing is subscribed; this ends (MqttError) as soon as the connection does."""
        async for _ in client.messages:
            pass

    async def _send_all(self, client: aiomqtt.Client) -> None:
        while self._unsent:
            topic = self._unsent.pop()
            try:
                await client.publish(f"{self.base}/{topic}", self._retained[topic], qos=1, retain=True)
            except aiomqtt.MqttError:
                self._unsent.add(topic)
                raise
            self.counters["published"] += 1
        while messages := await self.outbox.first(IN_FLIGHT):
            # Sent in this order; confirmed in any.
            sending = [client.publish(message.topic, message.payload, qos=1) for message in messages]
            outcomes = await asyncio.gather(*sending, return_exceptions=True)
            for message, outcome in zip(messages, outcomes, strict=True):
                if outcome is None:
                    await self.outbox.remove(message)
                    self.counters["published"] += 1
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    def _report_connected(self) -> None:
        self.connected = True
        self.counters["connected"] += 1
        log.info("connected host=%s port=%d", self._settings.host, self._settings.port)
        self.problem = ""

    def _report(self, error: BaseException) -> None:
        self.counters["errors"] += 1
        reason = str(error) or type(error).__name__
        if reason != self.problem:
            hint = ""
            if "protocol version" in reason.lower():
                hint = ' (write mqtt.protocol = "3.1.1", or "5")'
            log.warning("no connection host=%s port=%d reason=%r%s", self._settings.host, self._settings.port, reason, hint)
        self.problem = reason
