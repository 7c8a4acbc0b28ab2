"""Bodies of TLS handshake messages in the clear, as plain values.

Sources: RFC 5246 7.4, RFC 8446 4, RFC 6066 3, 6 and 8, RFC 6961, RFC 8422 5.4. Numbers are those of the IANA
registries.
"""

from __future__ import annotations

from typing import Any

from plugtap.protocols.errors import DecodeError

CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_KEY_EXCHANGE = 1, 2, 11, 12
CERTIFICATE_REQUEST, CERTIFICATE_STATUS = 13, 22

NAMES = {
    0: "hello_request",
    CLIENT_HELLO: "client_hello",
    SERVER_HELLO: "server_hello",
    4: "new_session_ticket",
    8: "encrypted_extensions",
    CERTIFICATE: "certificate",
    SERVER_KEY_EXCHANGE: "server_key_exchange",
    CERTIFICATE_REQUEST: "certificate_request",
    14: "server_hello_done",
    15: "certificate_verify",
    16: "client_key_exchange",
    20: "finished",
    CERTIFICATE_STATUS: "certificate_status",
    24: "key_update",
}
KINDS = {
    CLIENT_HELLO: "client-hello",
    SERVER_HELLO: "server-hello",
    CERTIFICATE: "certificate",
    CERTIFICATE_REQUEST: "certificate-request",
}

EXT_SERVER_NAME = 0
EXT_TRUSTED_CA_KEYS = 3
EXT_STATUS_REQUEST = 5
EXT_GROUPS = 10
EXT_SIGNATURES = 13
EXT_STATUS_REQUEST_V2 = 17
EXT_SUPPORTED_VERSIONS = 43
EXT_CERTIFICATE_AUTHORITIES = 47
EXT_SIGNATURES_CERT = 50
EXT_KEY_SHARE = 51

HELLO_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 4.1.3
IDENTIFIER_SIZES = {0: 0, 1: 20, 3: 20}  # RFC 6066 6: pre_agreed, key hash, certificate hash; 2 is a name
MAX_CERTIFICATES = 16
MAX_LIST = 512


def parse(kind: int, body: bytes, version: int) -> tuple[str, int, dict[str, Any]]:
    """Kind (of events.Tls), version (in hellos: offered or chosen) and values of one handshake message.

    Raises DecodeError("tls", …) for a body that is not what its type says.
    """
    if kind == CLIENT_HELLO:
        values = _client_hello(body)
        return KINDS[kind], max([values["legacy_version"], *values.get("versions", [])]), values
    if kind == SERVER_HELLO:
        values = _server_hello(body)
        return KINDS[kind], values["version"], values
    if kind == CERTIFICATE:
        return KINDS[kind], version, _certificate(body)
    if kind == CERTIFICATE_REQUEST:
        return KINDS[kind], version, _certificate_request(body)
    values = {"type": kind, "name": NAMES.get(kind, str(kind))}
    if kind == SERVER_KEY_EXCHANGE and len(body) >= 3 and body[0] == 3:  # RFC 8422 5.4: named_curve
        values["group"] = int.from_bytes(body[1:3], "big")
    elif kind == CERTIFICATE_STATUS:
        reader = Cursor(body)
        values["status_type"] = reader.number(1)
        values["response"] = reader.vector(3)
    return "handshake", version, values


class Cursor:
    """Reads numbers and length-prefixed vectors; raises DecodeError("tls", …) at the first byte that is not there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise DecodeError("tls", self._at, f"{count} bytes wanted, {len(self._data) - self._at} left")
        data = self._data[self._at : end]
        self._at = end
        return data

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A vector behind its length of `size` bytes."""
        return self.take(self.number(size))

    def numbers(self, length: int, size: int) -> list[int]:
        """A vector (length of `length` bytes) of numbers of `size` bytes; at most MAX_LIST of them are kept."""
        data = self.vector(length)
        if len(data) % size:
            raise DecodeError("tls", self._at, f"a list of {size}-byte numbers in {len(data)} bytes")
        return [int.from_bytes(data[i : i + size], "big") for i in range(0, min(len(data), MAX_LIST * size), size)]


def _client_hello(body: bytes) -> dict[str, Any]:
    reader = Cursor(body)
    values: dict[str, Any] = {
        "legacy_version": reader.number(2),
        "random": reader.take(32).hex(),
        "session_id": reader.vector(1).hex(),
        "suites": reader.numbers(2, 2),
    }
    reader.vector(1)  # compression methods
    found = _extensions(reader)
    values["extensions"] = list(found)
    values["sni"] = _sni(found[EXT_SERVER_NAME]) if EXT_SERVER_NAME in found else None
    values["trusted_ca_keys"] = _trusted(found[EXT_TRUSTED_CA_KEYS]) if EXT_TRUSTED_CA_KEYS in found else None
    values["status_request"] = EXT_STATUS_REQUEST in found
    values["status_request_v2"] = EXT_STATUS_REQUEST_V2 in found
    _lists(values, found)
    if EXT_SUPPORTED_VERSIONS in found:
        values["versions"] = [v for v in Cursor(found[EXT_SUPPORTED_VERSIONS]).numbers(1, 2) if v >> 8 == 3]
    if EXT_KEY_SHARE in found:
        values["key_shares"] = _shares(found[EXT_KEY_SHARE])
    return values


def _server_hello(body: bytes) -> dict[str, Any]:
    reader = Cursor(body)
    legacy = reader.number(2)
    random = reader.take(32)
    values: dict[str, Any] = {
        "legacy_version": legacy,
        "version": legacy,
        "random": random.hex(),
        "session_id": reader.vector(1).hex(),
        "suite": reader.number(2),
        "hello_retry": random == HELLO_RETRY,
    }
    reader.number(1)  # compression method
    found = _extensions(reader)
    values["extensions"] = list(found)
    values["status_request"] = EXT_STATUS_REQUEST in found
    values["status_request_v2"] = EXT_STATUS_REQUEST_V2 in found
    if EXT_SUPPORTED_VERSIONS in found:
        values["version"] = Cursor(found[EXT_SUPPORTED_VERSIONS]).number(2)
    if EXT_KEY_SHARE in found:
        values["key_share"] = Cursor(found[EXT_KEY_SHARE]).number(2)
    return values


def _certificate(body: bytes) -> dict[str, Any]:
    """TLS 1.2: a list of DER certificates, the sender's own first. `chain` holds at most MAX_CERTIFICATES of them."""
    reader = Cursor(body)
    certificates = Cursor(reader.vector(3))
    chain: list[bytes] = []
    sizes: list[int] = []
    while certificates:
        der = certificates.vector(3)
        if len(chain) < MAX_CERTIFICATES:
            chain.append(der)
            sizes.append(len(der))
        elif len(sizes) < MAX_LIST:
            sizes.append(len(der))
    return {"count": len(sizes), "sizes": sizes, "chain": chain}


def _certificate_request(body: bytes) -> dict[str, Any]:
    """TLS 1.2 (RFC 5246 7.4.4)."""
    reader = Cursor(body)
    values: dict[str, Any] = {"types": list(reader.vector(1)), "signature_algorithms": reader.numbers(2, 2)}
    values["authorities"] = _names(reader.vector(2))
    return values


def _extensions(reader: Cursor) -> dict[int, bytes]:
    """Extensions by type, in their order; none when the hello ends here (RFC 5246 7.4.1.2)."""
    found: dict[int, bytes] = {}
    if not reader:
        return found
    block = Cursor(reader.vector(2))
    while block and len(found) < MAX_LIST:
        kind = block.number(2)
        found.setdefault(kind, block.vector(2))
    return found


def _lists(values: dict[str, Any], found: dict[int, bytes]) -> None:
    if EXT_GROUPS in found:
        values["groups"] = Cursor(found[EXT_GROUPS]).numbers(2, 2)
    if EXT_SIGNATURES in found:
        values["signature_algorithms"] = Cursor(found[EXT_SIGNATURES]).numbers(2, 2)
    if EXT_SIGNATURES_CERT in found:
        values["signature_algorithms_cert"] = Cursor(found[EXT_SIGNATURES_CERT]).numbers(2, 2)
    if EXT_CERTIFICATE_AUTHORITIES in found:
        values["certificate_authorities"] = _names(Cursor(found[EXT_CERTIFICATE_AUTHORITIES]).vector(2))


def _sni(data: bytes) -> str | None:
    """The host name of RFC 6066 3; bytes that are not ASCII are shown as backslash escapes."""
    if not data:
        return None
    names = Cursor(Cursor(data).vector(2))
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == 0:
            return name[:255].decode("ascii", "backslashreplace")
    return None


def _trusted(data: bytes) -> list[dict[str, Any]]:
    """The roots a client trusts (RFC 6066 6): identifier type, and its value in hex."""
    out: list[dict[str, Any]] = []
    if not data:
        return out
    entries = Cursor(Cursor(data).vector(2))
    while entries and len(out) < MAX_LIST:
        kind = entries.number(1)
        if kind == 2:
            value = entries.vector(2)
        elif kind in IDENTIFIER_SIZES:
            value = entries.take(IDENTIFIER_SIZES[kind])
        else:
            raise DecodeError("tls", 0, f"trusted_ca_keys identifier type {kind}")
        out.append({"type": kind, "value": value.hex()})
    return out


def _names(data: bytes) -> list[bytes]:
    """DER distinguished names, each behind a length of two bytes."""
    reader = Cursor(data)
    out: list[bytes] = []
    while reader and len(out) < MAX_LIST:
        out.append(reader.vector(2))
    return out


def _shares(data: bytes) -> list[int]:
    """Groups of the key shares in a ClientHello (RFC 8446 4.2.8)."""
    reader = Cursor(Cursor(data).vector(2))
    out: list[int] = []
    while reader and len(out) < MAX_LIST:
        out.append(reader.number(2))
        reader.vector(2)
    return out
