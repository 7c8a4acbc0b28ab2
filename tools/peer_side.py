"""One side of the simulators in the package iso15118, run by tools/peer_pair inside that package's own environment.

usage: peer_side.py secc | peer_side.py evcc CONFIG

The package's own entry points do all the work; settings come by its environment variables. Some things are added, and
none changes the bytes of a message:

- its EXI codec, a Java program, is used a few times before the session: a cold one takes longer for a message than
  the 0.25 s that the simulated EV waits in the charge loop;
- TLS secrets are written to $SSLKEYLOGFILE, which the package itself does not look at;
- with $PEER_GO it waits after that until the file of this name exists: both sides get ready at the same time, and the
  EV asks when the SECC listens;
- with $PEER_PATIENCE it waits at least so many seconds for the next message, for machines too busy to be in time;
- $PEER_SLOW, like ``CurrentDemandRes:0.5``, makes the codec need so many seconds more for one kind of message.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

ROUNDS = 8
SESSION_SETUP = '{"V2G_Message": {"Header": {"SessionID": "00"}, "Body": {"SessionSetupReq": {"EVCCID": "020000000001"}}}}'


def prepared(codec_class: Any, slow: str, go: str) -> Any:
    """A class like `codec_class` whose instances have been used, and `go` exists, when they are handed out."""
    from iso15118.shared.messages.enums import Namespace

    name, _, seconds = slow.partition(":")

    class Prepared(codec_class):
        def __init__(self) -> None:
            super().__init__()
            for _ in range(ROUNDS):
                for namespace in (Namespace.DIN_MSG_DEF, Namespace.ISO_V2_MSG_DEF):
                    self.decode(self.encode(SESSION_SETUP, namespace), namespace)
            while go and not os.path.exists(go):
                time.sleep(0.05)

        def encode(self, message: str, namespace: str) -> bytes:
            if name and f'"{name}"' in message:
                time.sleep(float(seconds))
            return super().encode(message, namespace)

    return Prepared


def be_patient(state_class: Any, seconds: float) -> None:
    """Raises the message time-outs below `seconds`."""
    create = state_class.create_next_message

    def create_next_message(self: Any, next_state: Any, next_msg: Any, next_msg_timeout: float, *rest: Any, **named: Any) -> Any:
        return create(self, next_state, next_msg, max(next_msg_timeout, seconds), *rest, **named)

    state_class.create_next_message = create_next_message


def log_keys(module: Any, path: str) -> None:
    """Makes the TLS contexts of a transport module write their secrets to `path`."""
    make = module.get_ssl_context

    def context(server_side: bool) -> Any:
        made = make(server_side)
        if made is not None:
            made.keylog_filename = path
        return made

    module.get_ssl_context = context


def run() -> None:
    side = sys.argv.pop(1)
    if side == "secc":
        from iso15118.secc import main
        from iso15118.secc.transport import tcp_server as transport
    else:
        from iso15118.evcc import main
        from iso15118.evcc.transport import tcp_client as transport
    main.ExificientEXICodec = prepared(main.ExificientEXICodec, os.environ.get("PEER_SLOW", ""), os.environ.get("PEER_GO", ""))
    if patience := float(os.environ.get("PEER_PATIENCE", "0")):
        from iso15118.shared.states import State

        be_patient(State, patience)
    if path := os.environ.get("SSLKEYLOGFILE"):
        log_keys(transport, path)
    main.run()


if __name__ == "__main__":
    run()
