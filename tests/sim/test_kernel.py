"""Virtual time: order, scripts, mailboxes, and that the same seed gives the same run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugtap.sim.kernel import MS, SECOND, Mailbox, Script, World


@given(st.lists(st.integers(0, 10 * SECOND), max_size=50))
def test_events_happen_in_order_of_time_and_then_of_asking(times: list[int]) -> None:
    world = World(0, 1)
    seen: list[tuple[int, int]] = []
    for number, time in enumerate(times):
        world.at(time, lambda n=number: seen.append((world.now, n)))  # type: ignore[misc]
    world.advance(20 * SECOND)
    assert seen == sorted((time, number) for number, time in enumerate(times))
    assert world.now == 20 * SECOND
    assert world.next_time() is None


def test_a_cancelled_timer_never_fires() -> None:
    world = World(0, 1)
    seen: list[int] = []
    timer = world.at(5, lambda: seen.append(1))
    world.at(3, timer.cancel)
    world.advance(10)
    assert seen == []


def test_a_script_sleeps_and_waits_for_mail_or_a_timeout() -> None:
    world = World(1000, 1)
    box: Mailbox[str] = Mailbox()
    log: list[tuple[int, str | None]] = []

    def script() -> Script[None]:
        yield 10 * MS
        log.append((world.now, "slept"))
        for timeout in (5 * MS, 5 * MS, None):
            mail = yield box.get(timeout)
            log.append((world.now, mail))

    world.spawn(script(), "script")
    world.at(1000 + 12 * MS, lambda: box.put("mail"))
    world.at(1000 + 40 * MS, lambda: box.put("late"))
    world.advance(SECOND)
    start = 1000 + 10 * MS
    assert log == [(start, "slept"), (1000 + 12 * MS, "mail"), (1000 + 17 * MS, None), (1000 + 40 * MS, "late")]


def test_a_killed_script_stops_and_leaves_its_mailbox_to_others() -> None:
    world = World(0, 1)
    box: Mailbox[int] = Mailbox()
    got: list[int] = []
    ended: list[str] = []

    def script(name: str) -> Script[None]:
        try:
            got.append((yield box.get()))
        finally:
            ended.append(name)

    first = world.spawn(script("first"), "first")
    world.advance(1)
    first.kill()
    world.spawn(script("second"), "second")
    world.advance(2)
    box.put(7)
    world.advance(3)
    assert (got, ended) == ([7], ["first", "second"])


def test_each_part_has_dice_of_its_own() -> None:
    one, same, other = World(0, 5), World(0, 5), World(0, 6)
    assert one.chance("a").random() == same.chance("a").random()
    assert one.chance("a").random() != one.chance("b").random()
    assert one.chance("a").random() != other.chance("a").random()
