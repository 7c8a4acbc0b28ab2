"""What decoding an EXI stream yields."""

from __future__ import annotations

from typing import Any

import msgspec

Content = dict[str, Any]
"""A decoded element by its name: attributes ``@Name``, text beside attributes ``#text``, an empty element ``{}``."""


class Decoded(msgspec.Struct, frozen=True):
    """One decoded EXI stream.

    `message` is the name of the message: the root element, or for din and iso2 the element in the Body (None when
    the Body is empty, which the schemas allow). `notes` are oddities that did not stop decoding, one line each.
    `trailing` counts the bytes after the end of the document. `variant` names the foreign grammar that was needed
    ("libcbv2g"), or is empty.
    """

    schema: str
    content: Content
    message: str | None
    notes: tuple[str, ...] = ()
    trailing: int = 0
    variant: str = ""
