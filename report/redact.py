"""Identities out of reports: each becomes ``h:`` and a keyed hash, the same for the same identity under the same key.

What is replaced: MAC addresses, interface ids of IPv6 addresses (the prefix stays), EVCCID, eMAID and PCID, RunID,
SessionID, NMK, certificates and signatures; in their own fields and anywhere in a text. What stays: EVSEID (it stands
on the charger), times, names, and plugtap's own ids. A text is rather redacted too much than too little: any
hexadecimal run of twelve digits or more goes, whatever it is.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

MARK = "h:"
DIGEST_BYTES = 6
KEY_BYTES = 32

# Names of fields (in lower case, without _ and -) whose whole value is an identity or a secret.
IDENTITY_FIELDS = frozenset(
    {
        "mac", "evmac", "evsemac", "pevmac", "evccid", "emaid", "pcid", "contractid", "runid", "sessionid", "nmk", "nid",
        "evid", "pevid", "genchallenge", "certificate", "oemprovisioningcert", "contractsignaturecertchain",
        "contractsignatureencryptedprivatekey", "subcertificates", "signaturevalue", "digestvalue", "dhpublickey", "exi",
        "meterid", "serial", "fingerprint",
    }
)  # fmt: skip
# Fields whose value only looks like an identity.
OPEN_FIELDS = frozenset({"id", "session", "root", "plug", "resumes", "run", "archive", "evseid", "time", "start", "end", "lasttime", "file"})

_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")
_IPV6 = re.compile(
    r"(?<![\w:])(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:)*(?:[0-9A-Fa-f]{1,4})?::"
    r"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?)(?![0-9A-Fa-f])"
)
_HEX = re.compile(r"(?<![0-9A-Za-z_-])(?<!h:)(?:0x)?[0-9A-Fa-f]{12,}(?![0-9A-Za-z_])")
_SHORT_HEX = re.compile(r"(?<![0-9A-Za-z_-])(?<!h:)(?:0x)?[0-9A-Fa-f]{8,11}(?![0-9A-Za-z_])")
_EMAID = re.compile(r"(?<![\w*-])(?=[A-Z-]*[0-9])[A-Z]{2}-?[0-9A-Z]{3}-?[0-9A-Z]{9}(?:-?[0-9A-Z])?(?![\w*-])")
_WORDS = re.compile(r"session ?id|run ?id|nmk|evcc ?id|ema ?id|pcid|contract ?id", re.IGNORECASE)
_NAMED = re.compile(
    r"\b(session ?id|run ?id|nmk|evcc ?id|ema ?id|pcid|contract ?id)(\W{1,4}(?:is |was |of |to )?[\"'(]?)"
    r"(?!h:)((?=[0-9A-Z*-]*[0-9])[0-9A-Z*-]{2,})",
    re.IGNORECASE,
)
_BROADCAST = "ffffffffffff"


class Redactor:
    """Redacts under one key: the same identity has the same hash wherever that key is used."""

    def __init__(self, key: bytes) -> None:
        """`key`: 16 to 64 random bytes; whoever has it can test guesses, so it stays on the box (or is thrown away)."""
        self._key = key

    def value(self, identity: str) -> str:
        """``h:`` and the hash of one identity. A MAC has one hash, however it is written."""
        if identity.startswith(MARK) or not identity:
            return identity
        plain = identity.removeprefix("0x")
        bare = re.sub("[:-]", "", plain)
        if re.fullmatch("[0-9A-Fa-f]+", bare):
            plain = bare.lower()
            if plain == _BROADCAST or not plain.strip("0"):
                return identity
        digest = hashlib.blake2b(plain.encode(), key=self._key, digest_size=DIGEST_BYTES)
        return MARK + digest.hexdigest()

    def text(self, text: str) -> str:
        """A text with every identity in it replaced."""
        if len(text) < 2:
            return text
        if ":" in text or "-" in text:
            text = _IPV6.sub(self._address, text)
            text = _MAC.sub(lambda found: self.value(found[0]), text)
        text = _HEX.sub(lambda found: self.value(found[0]), text)
        if _WORDS.search(text):
            text = _SHORT_HEX.sub(lambda found: self.value(found[0]), text)
            text = _NAMED.sub(lambda found: found[1] + found[2] + self.value(found[3]), text)
        return _EMAID.sub(lambda found: self.value(found[0]), text)

    def tree(self, tree: Any) -> Any:
        """A tree of dicts, lists and plain values, redacted. What an identity field holds is replaced in all texts of
        the tree."""
        known: dict[str, str] = {}
        self._collect(tree, known)
        names = re.compile("|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))) if known else None
        return self._tree(tree, "", known, names)

    def struct(self, value: T) -> T:
        """A msgspec Struct, redacted."""
        result: T = msgspec.convert(self.tree(msgspec.to_builtins(value)), type(value))
        return result

    def _address(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.IPv6Address(found[0])
        except ValueError:
            return found[0]
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            return found[0]
        prefix = ipaddress.IPv6Address(int(address) >> 64 << 64)
        interface_id = f"{int(address) & (1 << 64) - 1:016x}"
        if not interface_id.strip("0"):
            return found[0]  # a prefix
        return f"{prefix}{self.value(interface_id)}"

    def _collect(self, tree: Any, known: dict[str, str]) -> None:
        """Values of identity fields, as they may stand in texts."""
        if isinstance(tree, dict):
            for key, value in tree.items():
                if isinstance(value, str) and len(value) >= 4 and _plain(key) in IDENTITY_FIELDS:
                    replaced = self.value(value)
                    if replaced != value:
                        known[value] = replaced
                else:
                    self._collect(value, known)
        elif isinstance(tree, list | tuple):
            for value in tree:
                self._collect(value, known)

    def _tree(self, tree: Any, field: str, known: dict[str, str], names: re.Pattern[str] | None) -> Any:
        if isinstance(tree, dict):
            return {self.text(key) if isinstance(key, str) else key: self._tree(value, _plain(key), known, names) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return [self._tree(value, field, known, names) for value in tree]
        if not isinstance(tree, str) or field in OPEN_FIELDS:
            return tree
        if field in IDENTITY_FIELDS:
            return self.value(tree)
        if names is not None:
            tree = names.sub(lambda found: known[found[0]], tree)
        return self.text(tree)


def _plain(key: object) -> str:
    return str(key).replace("_", "").replace("-", "").lower()
