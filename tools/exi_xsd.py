"""Reads the XML Schemas of one schema set into plain values (development tool, standard library only).

Only what the V2G schemas use is understood; anything else raises `Unsupported`, so a new schema cannot be
compiled into wrong tables silently. Source: W3C XML Schema Part 1 and 2.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

XS = "http://www.w3.org/2001/XMLSchema"

QName = tuple[str, str]  # (local name, namespace): sorts the way EXI sorts (8.5.1: local name, then URI)


class Unsupported(Exception):
    """A schema construct that the grammar compiler does not know."""


@dataclass(frozen=True)
class Simple:
    """A simple type: `base` is the built-in primitive family, facets as far as they matter on the wire or for checks."""

    base: str  # enum, boolean, integer, string, hex, base64
    values: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    min_length: int = 0
    max_length: int | None = None


@dataclass(frozen=True)
class Attribute:
    name: QName
    type: Simple
    required: bool


@dataclass(frozen=True)
class Element:
    """An element declaration (global, local, or the target of a reference)."""

    name: QName
    type: str  # key into Schemas.simple or Schemas.complex


@dataclass(frozen=True)
class Particle:
    """One node of a content model. `kind`: element, any, sequence or choice. `most` None: unbounded."""

    kind: str
    least: int
    most: int | None
    elements: tuple[Element, ...] = ()  # several: the members of a substitution group
    parts: tuple[Particle, ...] = ()


@dataclass
class Complex:
    """A complex type: merged attributes, and either a content model or simple content."""

    attributes: list[Attribute]
    content: Particle | None
    text: Simple | None
    mixed: bool


_INTEGERS: dict[str, tuple[int | None, int | None]] = {
    "integer": (None, None),
    "long": (-(1 << 63), (1 << 63) - 1),
    "int": (-(1 << 31), (1 << 31) - 1),
    "short": (-(1 << 15), (1 << 15) - 1),
    "byte": (-128, 127),
    "unsignedLong": (0, (1 << 64) - 1),
    "unsignedInt": (0, (1 << 32) - 1),
    "unsignedShort": (0, (1 << 16) - 1),
    "unsignedByte": (0, 255),
}
_STRINGS = ("string", "anyURI", "ID", "IDREF")


def _builtin(name: str) -> Simple:
    if name in _INTEGERS:
        low, high = _INTEGERS[name]
        return Simple("integer", low=low, high=high)
    if name in _STRINGS:
        return Simple("string")
    other = {"boolean": "boolean", "hexBinary": "hex", "base64Binary": "base64"}
    if name not in other:
        raise Unsupported(f"built-in type {name}")
    return Simple(other[name])


@dataclass
class Schemas:
    """All declarations of one set: the main schema and everything it imports."""

    simple: dict[str, Simple] = field(default_factory=dict)
    complex: dict[str, Complex] = field(default_factory=dict)
    roots: dict[QName, Element] = field(default_factory=dict)  # the global elements
    declared: dict[QName, set[str]] = field(default_factory=dict)  # every element qname -> its types
    attributes: dict[QName, set[Simple]] = field(default_factory=dict)  # every attribute qname -> its types


@dataclass
class _File:
    target: str
    prefixes: dict[str, str]
    element_qualified: bool
    attribute_qualified: bool


def _find(path: Path, top: Path) -> Path:
    """The imported file; by its name anywhere below `top` when the schemaLocation points to nothing."""
    if path.exists():
        return path
    found = sorted(top.rglob(path.name))
    if len(found) != 1:
        raise Unsupported(f"import {path.name}: {len(found)} candidates")
    return found[0]


def _load(path: Path) -> tuple[ET.Element, dict[str, str]]:
    prefixes: dict[str, str] = {}
    root: ET.Element | None = None
    for event, value in ET.iterparse(path, events=("start-ns", "start")):
        if event == "start-ns":
            prefix, uri = value
            if prefixes.setdefault(prefix, uri) != uri:
                raise Unsupported(f"{path.name}: prefix {prefix} bound twice")
        elif root is None:
            root = value
    if root is None:
        raise Unsupported(f"{path.name}: empty")
    return root, prefixes


class Reader:
    """Reads `main` and its imports. The result is in `schemas` after `read()`."""

    def __init__(self, main: Path, top: Path) -> None:
        self.main = main
        self.top = top
        self.schemas = Schemas()
        self._types: dict[QName, tuple[ET.Element, _File]] = {}
        self._elements: dict[QName, tuple[ET.Element, _File]] = {}
        self._heads: dict[QName, list[QName]] = {}
        self._done: set[Path] = set()

    def read(self) -> Schemas:
        self._collect(self.main.resolve())
        for name, (node, file) in self._elements.items():
            head = node.get("substitutionGroup")
            if head is not None:
                self._heads.setdefault(self._qname(head, file), []).append(name)
        for name in sorted(self._types):
            self._type(name)
        for name in sorted(self._elements):
            self.schemas.roots[name] = self._global(name)
        return self.schemas

    def _collect(self, path: Path) -> None:
        if path in self._done:
            return
        self._done.add(path)
        root, prefixes = _load(path)
        file = _File(
            root.get("targetNamespace", ""),
            prefixes,
            root.get("elementFormDefault") == "qualified",
            root.get("attributeFormDefault") == "qualified",
        )
        for node in root:
            kind = _tag(node)
            if kind == "import":
                self._collect(_find(path.parent / node.attrib["schemaLocation"], self.top).resolve())
            elif kind in ("complexType", "simpleType"):
                self._types[node.attrib["name"], file.target] = (node, file)
            elif kind == "element":
                self._elements[node.attrib["name"], file.target] = (node, file)
            elif kind != "annotation":
                raise Unsupported(f"{path.name}: {kind}")

    def _qname(self, text: str, file: _File) -> QName:
        prefix, _, local = text.rpartition(":")
        return local, file.prefixes.get(prefix, "")

    # -- types ---------------------------------------------------------------------------------------------------

    def _type(self, name: QName) -> str:
        """Reads a named type once; the key under which it is stored."""
        local, uri = name
        if uri == XS:
            key = f"xs:{local}"
            self.schemas.simple.setdefault(key, _builtin(local))
            return key
        key = f"{{{uri}}}{local}"
        if key not in self.schemas.simple and key not in self.schemas.complex:
            node, file = self._types[name]
            self._define(key, node, file)
        return key

    def _define(self, key: str, node: ET.Element, file: _File) -> None:
        if _tag(node) == "simpleType":
            self.schemas.simple[key] = self._simple(node, file)
            return
        entry = Complex([], None, None, False)
        self.schemas.complex[key] = entry  # before its content, which may refer to it
        self._complex(entry, node, file, key)

    def _simple(self, node: ET.Element, file: _File) -> Simple:
        (restriction,) = list(node)
        if _tag(restriction) != "restriction":
            raise Unsupported(_tag(restriction))
        base = self.schemas.simple[self._type(self._qname(restriction.attrib["base"], file))]
        values: list[str] = []
        low, high, least, most = base.low, base.high, base.min_length, base.max_length
        for facet in restriction:
            value = facet.attrib["value"]
            match _tag(facet):
                case "enumeration":
                    values.append(value)
                case "minInclusive":
                    low = int(value)
                case "maxInclusive":
                    high = int(value)
                case "minLength":
                    least = int(value)
                case "maxLength":
                    most = int(value)
                case "length":
                    least = most = int(value)
                case other:
                    raise Unsupported(f"facet {other}")
        if values:
            if base.base != "string":
                raise Unsupported(f"enumeration of {base.base}")
            return Simple("enum", tuple(values))
        return Simple(base.base, base.values, low, high, least, most)

    def _complex(self, entry: Complex, node: ET.Element, file: _File, key: str) -> None:
        entry.mixed = node.get("mixed") == "true"
        body = list(node)
        extension: ET.Element | None = None
        if body and _tag(body[0]) in ("complexContent", "simpleContent"):
            (extension,) = list(body[0])
            if _tag(extension) != "extension":
                raise Unsupported(f"{key}: {_tag(extension)}")
            base_key = self._type(self._qname(extension.attrib["base"], file))
            if base_key in self.schemas.simple:
                entry.text = self.schemas.simple[base_key]
            else:
                base = self.schemas.complex[base_key]
                entry.attributes.extend(base.attributes)
                entry.content, entry.text, entry.mixed = base.content, base.text, entry.mixed or base.mixed
            body = list(extension)
        own: Particle | None = None
        for child in body:
            kind = _tag(child)
            if kind == "attribute":
                entry.attributes.append(self._attribute(child, file))
            elif kind in ("sequence", "choice") and own is None:
                own = self._group(child, file, key)
            elif kind != "annotation":
                raise Unsupported(f"{key}: {kind}")
        if own is not None:
            entry.content = own if entry.content is None else Particle("sequence", 1, 1, parts=(entry.content, own))
        entry.attributes.sort(key=lambda a: a.name)

    def _attribute(self, node: ET.Element, file: _File) -> Attribute:
        if "ref" in node.attrib:
            raise Unsupported("attribute ref")
        form = node.get("form")
        qualified = file.attribute_qualified if form is None else form == "qualified"
        key = self._type(self._qname(node.attrib["type"], file))
        name = (node.attrib["name"], file.target if qualified else "")
        kind = self.schemas.simple[key]
        self.schemas.attributes.setdefault(name, set()).add(kind)
        return Attribute(name, kind, node.get("use") == "required")

    # -- content models ------------------------------------------------------------------------------------------

    def _group(self, node: ET.Element, file: _File, key: str) -> Particle:
        least, most = _occurs(node)
        parts: list[Particle] = []
        for child in node:
            match _tag(child):
                case "element":
                    parts.append(self._element_particle(child, file, key))
                case "any":
                    parts.append(Particle("any", *_occurs(child)))
                case "sequence" | "choice":
                    parts.append(self._group(child, file, key))
                case "annotation":
                    pass
                case other:
                    raise Unsupported(f"{key}: {other}")
        return Particle(_tag(node), least, most, parts=tuple(parts))

    def _element_particle(self, node: ET.Element, file: _File, key: str) -> Particle:
        least, most = _occurs(node)
        if "ref" in node.attrib:
            names = sorted(self._members(self._qname(node.attrib["ref"], file)))
            return Particle("element", least, most, tuple(self._global(n) for n in names))
        form = node.get("form")
        qualified = file.element_qualified if form is None else form == "qualified"
        name = (node.attrib["name"], file.target if qualified else "")
        return Particle("element", least, most, (self._declare(name, node, file, key),))

    def _members(self, head: QName) -> Iterator[QName]:
        """The head and its substitution group, transitively (the head also when it is abstract: EXI 8.5.4.1.6)."""
        yield head
        for member in self._heads.get(head, ()):
            yield from self._members(member)

    def _global(self, name: QName) -> Element:
        node, file = self._elements[name]
        return self._declare(name, node, file, "")

    def _declare(self, name: QName, node: ET.Element, file: _File, parent: str) -> Element:
        if node.get("nillable") or node.get("fixed") or node.get("default"):
            raise Unsupported(f"{name}: nillable, fixed or default")
        if "type" in node.attrib:
            key = self._type(self._qname(node.attrib["type"], file))
        else:
            inner = [child for child in node if _tag(child) != "annotation"]
            if len(inner) != 1:
                raise Unsupported(f"{name}: no type")
            key = f"{parent}/{{{name[1]}}}{name[0]}"
            if key not in self.schemas.simple and key not in self.schemas.complex:
                self._define(key, inner[0], file)
        self.schemas.declared.setdefault(name, set()).add(key)
        return Element(name, key)


def _tag(node: ET.Element) -> str:
    uri, _, local = node.tag[1:].partition("}")
    if uri != XS:
        raise Unsupported(node.tag)
    return local


def _occurs(node: ET.Element) -> tuple[int, int | None]:
    most = node.get("maxOccurs", "1")
    return int(node.get("minOccurs", "1")), None if most == "unbounded" else int(most)
