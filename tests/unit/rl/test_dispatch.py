"""Dispatch: siblings together, nobody idle beside who waits, the next group to whoever owes least."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rl.dispatch import Dispatch
from rollout.types import SampleRequest


def request(name: str, budget: int = 4) -> SampleRequest:
    return SampleRequest(id=name, prompt_ids=(1,), temperature=1.0, seed=0, budget=budget)


def test_equal_groups_that_come_at_once_are_dealt_out_in_turn() -> None:
    dispatch = Dispatch(3, max_requests=100)
    for group in range(7):
        for k in range(4):
            dispatch.ask(str(group), request(f"{group}/{k}"))
    assert [dispatch.engine_of[str(group)] for group in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_what_counts_is_tokens_that_may_still_come_not_requests() -> None:
    dispatch = Dispatch(2, max_requests=100)
    dispatch.ask("long", request("long/0", budget=1000))
    for i in range(9):
        dispatch.ask(f"short {i}", request(f"short {i}/0", budget=10))
    assert [dispatch.engine_of[f"short {i}"] for i in range(9)] == [1] * 9


def test_a_group_waits_until_an_engine_has_room_and_goes_to_the_one_that_was_done_early() -> None:
    dispatch = Dispatch(2, max_requests=2)
    sent = [dispatch.ask(group, request(f"{group}/{k}")) for group in "abcd" for k in range(2)]
    assert [engine for found in sent for engine, _ in found] == [0, 0, 1, 1]
    assert set(dispatch.engine_of) == {"a", "b"}
    assert dispatch.end("b", request("b/1")) == [(1, request("c/0")), (1, request("c/1"))]  # whole, in one go
    assert dispatch.end("b", request("b/0")) == []  # c fills it
    assert dispatch.ask("b", request("b/0/1")) == [(1, request("b/0/1"))]  # a later turn is never made to wait
    assert dispatch.end("a", request("a/0")) == [(0, request("d/0")), (0, request("d/1"))]


def test_a_group_that_was_given_up_while_it_waited_is_never_sent() -> None:
    dispatch = Dispatch(1, max_requests=1)
    dispatch.ask("a", request("a"))
    dispatch.ask("b", request("b"))
    assert dispatch.end("b", request("b")) == []
    assert dispatch.end("a", request("a")) == []


events = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([1, 10, 100])), max_size=60)


@given(events=events, num_engines=st.integers(1, 4), max_requests=st.integers(1, 5), data=st.data())
def test_every_request_is_sent_once_beside_its_siblings_and_none_waits_while_there_is_room(
    events: list[tuple[str, int]], num_engines: int, max_requests: int, data: st.DataObject
) -> None:
    dispatch = Dispatch(num_engines, max_requests=max_requests)
    sent: dict[str, int] = {}
    owed, waiting = [0] * num_engines, dict[str, tuple[str, SampleRequest]]()
    in_flight: dict[str, tuple[str, SampleRequest]] = {}

    def take(given: list[tuple[int, SampleRequest]]) -> None:
        for engine, one in given:
            assert one.id not in sent, "sent twice"
            group, _ = in_flight[one.id] = waiting.pop(one.id)
            sent[one.id] = engine
            owed[engine] += 1
            assert dispatch.engine_of[group] == engine
        assert not waiting or min(owed) >= max_requests, "an engine has room, and a group waits"

    for number, (group, budget) in enumerate(events):
        one = request(f"{group}/{number}", budget)
        waiting[one.id] = group, one
        take(dispatch.ask(group, one))
        if in_flight and data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(in_flight)))
            owed[sent[name]] -= 1
            take(dispatch.end(*in_flight.pop(name)))
    while in_flight:
        name = min(in_flight)
        owed[sent[name]] -= 1
        take(dispatch.end(*in_flight.pop(name)))
    assert not waiting and len(sent) == len(events)
    engines = Counter((name.split("/")[0], engine) for name, engine in sent.items())
    assert len({group for group, _ in engines}) == len(engines)
