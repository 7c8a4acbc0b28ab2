"""Time order over sources, and deadlines: what is found may not depend on how blocks interleave on arrival."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugtap.analysis.order import Ordered, Timers

MS = 1_000_000
REORDER = 150 * MS


def run(arrivals: list[tuple[str, int]], sources: tuple[str, ...] = ("plc", "cp")) -> list[tuple[str, int]]:
    """Feed (source, t) in order of arrival; what comes out, in order."""
    order: Ordered[tuple[str, int]] = Ordered(sources, REORDER)
    out: list[tuple[str, int]] = []
    for source, t in arrivals:
        assert order.note(source, t) is None
        order.hold(source, t, (source, t))
        out += [value for _, value in order.ready()]
    return out + [value for _, value in order.rest()]


def test_one_source_waits_for_nothing() -> None:
    order: Ordered[int] = Ordered(("plc",), REORDER)
    order.note("plc", 5 * MS)
    order.hold("plc", 5 * MS, 1)
    assert [v for _, v in order.ready()] == [1]


def test_two_sources_come_out_by_time_whatever_the_arrival() -> None:
    early = run([("plc", 10 * MS), ("cp", 5 * MS), ("plc", 20 * MS), ("cp", 15 * MS)])
    late = run([("plc", 10 * MS), ("plc", 20 * MS), ("cp", 5 * MS), ("cp", 15 * MS)])
    assert early == late == [("cp", 5 * MS), ("plc", 10 * MS), ("cp", 15 * MS), ("plc", 20 * MS)]


def test_equal_times_follow_the_order_of_the_sources() -> None:
    assert run([("cp", 7), ("plc", 7)]) == run([("plc", 7), ("cp", 7)]) == [("plc", 7), ("cp", 7)]


def test_a_silent_source_holds_nobody_up_for_longer_than_reorder() -> None:
    order: Ordered[int] = Ordered(("plc", "cp"), REORDER)
    order.note("plc", 0)
    order.hold("plc", 0, 1)
    assert list(order.ready()) == []
    order.note("plc", REORDER + 1)
    assert [v for _, v in order.ready()] == [1]


def test_a_late_item_is_counted_and_goes_on() -> None:
    order: Ordered[int] = Ordered(("plc", "cp"), REORDER)
    order.note("plc", 400 * MS)
    order.hold("plc", 200 * MS, 1)
    list(order.ready())
    order.note("cp", 10 * MS)
    order.hold("cp", 10 * MS, 2)
    assert [v for _, v in order.ready()] == [2]
    assert order.late == 1


def test_a_clock_set_back_is_reported_not_followed() -> None:
    order: Ordered[int] = Ordered(("plc",), REORDER)
    order.note("plc", 5_000 * MS)
    assert order.note("plc", 4_999 * MS) is None, "a little disorder is normal"
    assert order.note("plc", 1_000 * MS) == 4_000 * MS


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 140)), min_size=1, max_size=40))
def test_delays_within_the_allowance_change_nothing(records: list[tuple[int, int]]) -> None:
    """Pilot records that arrive up to 140 ms after frames of the same time come out where they belong."""
    frames = [("plc", t * MS) for t in range(0, 2400, 10)]
    pilots = sorted({t for t, _ in records})
    delay = max(d for _, d in records)
    prompt = sorted([*frames, *(("cp", t * MS) for t in pilots)], key=lambda x: x[1])
    shifted = sorted([*((s, t, t) for s, t in frames), *(("cp", t * MS, (t + delay) * MS) for t in pilots)], key=lambda x: x[2])
    assert run(prompt) == run([(s, t) for s, t, _ in shifted])


def test_deadlines_run_in_order_at_their_own_time_and_can_set_others() -> None:
    timers = Timers()
    ran: list[tuple[str, int]] = []
    timers.set("b", 20, lambda t: ran.append(("b", t)))
    timers.set("a", 10, lambda t: (ran.append(("a", t)), timers.set("c", 15, lambda u: ran.append(("c", u))))[0])  # type: ignore[func-returns-value]
    timers.set("gone", 12, lambda t: ran.append(("gone", t)))
    timers.cancel("gone")
    list(timers.run_before(20))
    assert ran == [("a", 10), ("c", 15)], "a deadline at the watermark itself is not over yet"
    list(timers.run_before(21))
    assert ran[-1] == ("b", 20)
    assert timers.next() is None


def test_setting_a_deadline_again_replaces_it() -> None:
    timers = Timers()
    ran: list[int] = []
    timers.set("x", 10, ran.append)
    timers.set("x", 30, ran.append)
    list(timers.run_before(25))
    assert ran == []
    assert timers.next() == 30


def test_deadlines_inside_an_unwatched_stretch_are_dropped() -> None:
    timers = Timers()
    ran: list[int] = []
    for t in (5, 15, 25):
        timers.set(t, t, ran.append)
    assert timers.drop_between(10, 20) == 1
    list(timers.run_before(100))
    assert ran == [5, 25]


@given(st.lists(st.tuples(st.sampled_from(("set", "cancel", "run", "drop")), st.integers(0, 3), st.integers(0, 12)), max_size=60))
def test_deadlines_run_like_a_sorted_list(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is set, put off, brought forward, cancelled or dropped: each runs once, by time and then in the order of setting."""
    timers = Timers()
    model: dict[int, tuple[int, int]] = {}
    ran: list[tuple[int, int, int]] = []
    for number, (step, key, t) in enumerate(steps):
        if step == "set":
            timers.set(key, t, lambda due, key=key, number=number: ran.append((due, number, key)))  # type: ignore[misc]
            model[key] = (t, number)
        elif step == "cancel":
            timers.cancel(key)
            model.pop(key, None)
        elif step == "drop":
            gone = [k for k, (due, _) in model.items() if key < due < t]
            assert timers.drop_between(key, t) == len(gone)
            for k in gone:
                del model[k]
        else:
            ran.clear()
            list(timers.run_before(t))
            expected = sorted((due, n, k) for k, (due, n) in model.items() if due < t)
            assert ran == expected
            for _, _, k in expected:
                del model[k]
        assert timers.next() == min((due for due, _ in model.values()), default=None)
