"""The charger's ISO 15118-20 answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim.kernel import Script
from plugtap.sim.tcp import Connection
from plugtap.sim.v2g import Content

if TYPE_CHECKING:
    from plugtap.sim.evse_serve import Server


class Serve20:
    """Bound to a server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def one(self, connection: Connection, name: str, body: Content) -> Script[None]:
        """Answer one request."""
        yield 0
