"""How a check is written.

A check is a class with `meta` and methods marked with `@on`. One object of it lives for each session. It reads events (protocols.events)
and notices (sessions.notices) and talks through `self.ctx`::

    @register
    class NoNegotiationWithSchema(Check):
        meta = Meta(id="sap-failed-nonegotiation-with-schemaid", ...)

        @on(V2gMessage, "supportedAppProtocolRes")
        def response(self, ev: V2gMessage) -> None:
            self.arm()
            if ev.body.get("ResponseCode") == "Failed_NoNegotiation" and "SchemaID" in ev.body:
                self.fire(ev, "…", values={"SchemaID": Value(ev.body["SchemaID"])})

No I/O, no clock: `self.now` is the time of the event or deadline being handled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.protocols.events import Event

if TYPE_CHECKING:
    from plugtap.sessions.session import Session

F = TypeVar("F", bound=Callable[..., None])


Guard = Callable[["Session", Any], Any]


class Handles(NamedTuple):
    """One mark of a handler: what it is called for."""

    kind: type[Event]
    names: tuple[str, ...]
    only: Guard | None
    quiet: tuple[str, ...]
    once: bool


def on(kind: type[Event], *names: str, only: Guard | None = None, quiet: tuple[str, ...] = (), once: bool = False) -> Callable[[F], F]:
    """Mark a method as handler of an event type.

    `names` narrow it: V2gMessage.message (``*Req`` and ``*Res``: all requests, all responses), Exchange.name, Mme.name, Tcp.kind,
    PhaseEntered.phase. `only` narrows it further: ``only(session, event)`` is asked once an event for all handlers that share it, and where
    it says no they are not called. `quiet` is what such a handler would have counted then (``("armed", "evaluated")``); it must have done
    nothing else. A check that waits for something takes its guards away for a while: Check.wake. `once`: the first such event of a session is enough.
    """

    def mark(method: F) -> F:
        handlers = getattr(method, "handles", [])
        handlers.append(Handles(kind, names, only, quiet, once))
        method.handles = handlers  # type: ignore[attr-defined]
        return method

    return mark


class Waiting(Protocol):
    """A check that waits for the dialogue's next step (checks/asked.py)."""

    meta: ClassVar[Meta]

    def step(self, ev: Event) -> None: ...


class Deadline(Protocol):
    """A deadline of a check (analysis/order.py)."""

    t: int | None  # None: not set

    def set(self, t: int) -> None: ...
    def clear(self) -> None: ...


class Context(Protocol):
    """What the engine gives each check object (see checks/engine.py)."""

    session: Session
    now: int
    waiting: list[Waiting]
    awake: int

    def bit(self, meta: Meta) -> int: ...
    def limit(self, meta: Meta, name: str) -> float: ...
    def row(self, meta: Meta) -> dict[str, int]: ...
    def deadline(self, check: Check, call: Callable[[int], None]) -> Deadline: ...
    def emit(self, check: Check, **facts: Any) -> None: ...
    def repeat(self, check: Check, key: str, ev: Event) -> bool: ...
    def amend(self, check: Check, key: str, facts: dict[str, Any]) -> None: ...


class Check:
    """Base of all checks."""

    meta: ClassVar[Meta]
    session: Session  # the one this object watches

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.session = ctx.session
        # Asked for at every message of a charge loop: kept here instead of looked up.
        self._row = ctx.row(self.meta)
        self._limits: dict[str, float] = {}
        self._deadlines: dict[str, Deadline] = {}
        self.start()

    def start(self) -> None:
        """Set up per-session state; called once."""

    # -- reading -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Time of what is being handled, ns."""
        return self.ctx.now

    def limit(self, name: str) -> float:
        """A threshold of meta.limits, as the site has set it."""
        value = self._limits.get(name)
        if value is None:
            value = self._limits[name] = self.ctx.limit(self.meta, name)
        return value

    # -- sleeping ----------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """From now on call the handlers whatever their guards say: there is something this check waits for."""
        self.ctx.awake |= self.ctx.bit(self.meta)

    def sleep(self) -> None:
        """Leave it to the guards again (the state in which a check begins)."""
        if self.ctx.awake:
            self.ctx.awake &= ~self.ctx.bit(self.meta)

    # -- counting and firing -----------------------------------------------------------------------------------

    def arm(self) -> None:
        """The check's precondition is present: it could fire from now on."""
        self._row["armed"] += 1

    def evaluated(self) -> None:
        """The condition was looked at with all it needs."""
        self._row["evaluated"] += 1

    def fire(
        self,
        evidence: Event | Sequence[Event] | None,
        detail: str,
        *,
        values: dict[str, Value] | None = None,
        key: str = "",
        since: int | None = None,
        t: int | None = None,
        frames: Sequence[int] = (),
        side: str | None = None,
        certainty: str | None = None,
        severity: str | None = None,
        effect: str | None = None,
        cause: str | None = None,
        fix: str | None = None,
    ) -> None:
        """Say that the condition holds. Findings with the same `key` are one finding whose count rises.

        `since`: when the observation began (ns): a loss after it triggers the gap policy. `t`: the finding's time (a deadline's own;
        default now).
        """
        events = [evidence] if isinstance(evidence, Event) else list(evidence or ())
        self.ctx.emit(
            self, key=key, detail=detail, values=values or {}, since=since, t=self.now if t is None else t,
            frames=tuple(dict.fromkeys([*frames, *(e.frame for e in events if e.frame)])), side=side, certainty=certainty,
            severity=severity, effect=effect, cause=cause, fix=fix,
        )  # fmt: skip

    def repeat(self, ev: Event, key: str = "") -> bool:
        """Count a finding of this `key` once more, if there is one: what it says stays as it was first said, so that nothing need be worded
        for each frame of a long stretch. False: say it with `fire`. Not for findings whose gap policy depends on `since`.
        """
        return self.ctx.repeat(self, key, ev)

    def amend(self, key: str = "", **facts: Any) -> None:
        """What a finding of this `key` said has turned out otherwise: change ``severity``, ``effect``, ``detail`` … of it. Nothing without one."""
        self.ctx.amend(self, key, facts)

    # -- time --------------------------------------------------------------------------------------------------

    def deadline(self, call: Callable[[int], None]) -> Deadline:
        """A deadline to set, put off and clear many times: `call(t)` runs when silence until its time `t` is proven. Made in `start`."""
        return self.ctx.deadline(self, call)

    def at(self, t: int, call: Callable[[int], None], key: str = "") -> None:
        """Call `call(t)` at time `t` unless cancelled; the same key replaces. Fires only when silence until `t` is proven."""
        self.cancel(key)
        deadline = self._deadlines[key] = self.ctx.deadline(self, call)
        deadline.set(t)

    def cancel(self, key: str = "") -> None:
        """Take a deadline back."""
        deadline = self._deadlines.pop(key, None)
        if deadline is not None:
            deadline.clear()
