"""The simulators: what each tool does and refuses, by hand; and that none of them changes anything in place."""

from __future__ import annotations

import copy
import json
import random
import re
from collections import Counter
from typing import Any

import pytest

from gyms.episodes.arguments import check_tools, read_call
from gyms.episodes.random_turns import random_turns
from gyms.tools.bank import Bank
from gyms.tools.calendar import FIRST, LAST, STEP, Calendar, _clock, _free
from gyms.tools.dialect import DIALECTS, canonical, spelled, spelled_arguments
from gyms.tools.files import Files
from gyms.tools.gym import WORLDS
from gyms.tools.shop import COLOURS, Shop
from gyms.tools.travel import Travel
from gyms.tools.user import TOPICS
from gyms.tools.world import Result, State, World, distance

EVENT = {"title": "Book club", "day": "Monday", "start": 600, "minutes": 60, "guests": ["Ana"]}
CALENDAR = {"events": {"ev0": EVENT}, "next_id": 12}
BANK = {
    "accounts": {"checking": 1000, "savings": 250, "travel": 0, "household": 5},
    "payees": ["Ana", "Landlord"],
    "payments": [],
    "orders": {"so0": {"from_account": "checking", "payee": "Landlord", "cents": 90}},
    "next_id": 10,
}
SHOP = {
    "products": {
        "sku100": {"kind": "lamp", "colour": "red", "cents": 900, "stock": 3},
        "sku101": {"kind": "lamp", "colour": "blue", "cents": 800, "stock": 1},
    },
    "cart": {"sku100": 2},
    "orders": {
        "order0": {"items": {"sku101": 1}, "address": "12 Mill Lane", "status": "open"},
        "order1": {"items": {"sku100": 1}, "address": "12 Mill Lane", "status": "shipped"},
    },
}


def called(world: World, state: State, name: str, **arguments: Any) -> Result:
    """The result of a call that fits its schema and leaves the given state alone."""
    assert read_call(world.tools, call_id="c", tool=name, arguments=arguments).problem == ""
    before = copy.deepcopy(state)
    result = world.call(state, name, arguments)
    assert state == before
    return result


@pytest.mark.parametrize(
    ("name", "arguments", "text", "facts"),
    [
        ("move_event", {"event_id": "ev0", "day": "Friday", "start": "08:00"}, "moved", "Friday at 08:00 for 60"),
        ("move_event", {"event_id": "ev0", "day": "Monday", "start": "10:30"}, "moved", "Monday at 10:30 for 60"),
        ("move_event", {"event_id": "ev0", "day": "Monday", "start": "17:30"}, "Error: the day begins", ""),
        ("move_event", {"event_id": "ev9", "day": "Monday", "start": "10:00"}, "Error: there is no event 'ev9'", ""),
        ("cancel_event", {"event_id": "ev0"}, "cancelled", "nothing"),
        ("add_guest", {"event_id": "ev0", "guest": "Emil"}, "invited", "Emil is invited to Book club"),
        ("add_guest", {"event_id": "ev0", "guest": "Ana"}, "Error: Ana is invited already", ""),
        (
            "create_event",
            {"title": "X", "day": "Monday", "start": "11:00", "minutes": 30, "guests": []},
            '{"id": "ev12"}',
            "X is on Monday at 11:00 for 30 minutes",
        ),
        (
            "create_event",
            {"title": "X", "day": "Monday", "start": "10:59", "minutes": 30, "guests": []},
            "Error: Book club is there from 10:00 to 11:00.",
            "",
        ),
    ],
)
def test_the_calendar_does_what_is_asked_or_says_why_not(
    name: str, arguments: dict[str, Any], text: str, facts: str
) -> None:
    result = called(Calendar(), CALENDAR, name, **arguments)
    assert result.text.startswith(text)
    now = Calendar().facts(result.state)
    if not facts:
        assert result.state is CALENDAR
    elif facts == "nothing":
        assert not now
    else:
        assert any(facts in fact for fact in now - Calendar().facts(CALENDAR))


@pytest.mark.parametrize("minutes", [30, 60, 120])
def test_a_start_is_free_where_an_event_can_be_created(minutes: int) -> None:
    new = {"title": "New", "day": "Monday", "minutes": minutes, "guests": []}
    wanted = [
        start
        for start in range(FIRST, LAST, STEP)
        if called(Calendar(), CALENDAR, "create_event", start=_clock(start), **new).state != CALENDAR
    ]
    assert _free(CALENDAR["events"], "Monday", minutes) == wanted != _free(CALENDAR["events"], "Friday", minutes)


def test_the_calendar_lists_a_day_in_order() -> None:
    state = called(
        Calendar(), CALENDAR, "create_event", title="A", day="Monday", start="08:00", minutes=30, guests=["Emil", "Ana"]
    ).state
    assert json.loads(called(Calendar(), state, "list_events", day="Monday").text) == [
        {"title": "A", "day": "Monday", "start": "08:00", "minutes": 30, "guests": ["Ana", "Emil"], "id": "ev12"},
        {**EVENT, "start": "10:00", "id": "ev0"},
    ]
    assert called(Calendar(), state, "list_events", day="Friday").text == "[]"


@pytest.mark.parametrize(
    ("name", "arguments", "text", "change"),
    [
        (
            "move_money",
            {"from_account": "checking", "to_account": "travel", "cents": 1000},
            "moved",
            {"checking holds 0", "travel holds 1000"},
        ),
        (
            "move_money",
            {"from_account": "savings", "to_account": "travel", "cents": 251},
            "Error: savings holds 250",
            (),
        ),
        ("move_money", {"from_account": "travel", "to_account": "travel", "cents": 1}, "Error: both accounts", ()),
        (
            "pay",
            {"from_account": "checking", "payee": "Ana", "cents": 1, "purpose": "gift"},
            "paid",
            {"checking holds 999", "Ana was paid 1 from checking: gift"},
        ),
        (
            "pay",
            {"from_account": "checking", "payee": "Bo", "cents": 1, "purpose": "gift"},
            "Error: there is no pay",
            (),
        ),
        ("pay", {"from_account": "travel", "payee": "Ana", "cents": 1, "purpose": "gift"}, "Error: travel holds 0", ()),
        (
            "create_standing_order",
            {"from_account": "travel", "payee": "Ana", "cents": 7},
            '{"id": "so10"}',
            {"Ana gets 7 from travel monthly"},
        ),
        (
            "create_standing_order",
            {"from_account": "travel", "payee": "", "cents": 7},
            "Error: there is no payee ''",
            (),
        ),
        (
            "change_standing_order",
            {"order_id": "so0", "cents": 91},
            "changed",
            {"Landlord gets 91 from checking monthly"},
        ),
        ("change_standing_order", {"order_id": "so1", "cents": 91}, "Error: there is no standing order", ()),
        ("cancel_standing_order", {"order_id": "so0"}, "cancelled", ()),
        ("cancel_standing_order", {"order_id": "?"}, "Error: there is no standing order '?'", ()),
        ("list_accounts", {}, '{"checking": 1000, "savings": 250, "travel": 0, "household": 5}', ()),
        ("list_payees", {}, '["Ana", "Landlord"]', ()),
        (
            "list_standing_orders",
            {},
            '[{"id": "so0", "from_account": "checking", "payee": "Landlord", "cents": 90}]',
            (),
        ),
    ],
)
def test_the_bank_does_what_is_asked_or_says_why_not(
    name: str, arguments: dict[str, Any], text: str, change: set[str]
) -> None:
    result = called(Bank(), BANK, name, **arguments)
    assert result.text.startswith(text)
    assert set(Bank().facts(result.state) - Bank().facts(BANK)) == set(change)
    assert (result.state is BANK) == ((not change and name != "cancel_standing_order") or text.startswith("Error"))


@pytest.mark.parametrize(
    ("name", "arguments", "text", "change"),
    [
        ("add_to_cart", {"sku": "sku100", "quantity": 1}, "3 in the cart", {"one sku100 is in the cart": 1}),
        ("add_to_cart", {"sku": "sku100", "quantity": 2}, "Error: 3 of sku100 are in stock, 4 would", {}),
        ("add_to_cart", {"sku": "sku9", "quantity": 1}, "Error: there is no product 'sku9'", {}),
        ("remove_from_cart", {"sku": "sku100", "quantity": 1}, "1 in the cart", {"one sku100 is in the cart": -1}),
        ("remove_from_cart", {"sku": "sku100", "quantity": 2}, "0 in the cart", {"one sku100 is in the cart": -2}),
        ("remove_from_cart", {"sku": "sku100", "quantity": 3}, "Error: 2 of 'sku100' are in the cart", {}),
        ("cancel_order", {"order_id": "order0"}, "changed", {"order0 is cancelled": 1, "order0 is open": -1}),
        ("cancel_order", {"order_id": "order1"}, "Error: order1 is shipped", {}),
        (
            "change_address",
            {"order_id": "order0", "address": "5 Garden Close"},
            "changed",
            {"order0 goes to 5 Garden Close": 1, "order0 goes to 12 Mill Lane": -1},
        ),
        ("change_address", {"order_id": "x", "address": "5 Garden Close"}, "Error: there is no order 'x'", {}),
        ("view_cart", {}, '[{"sku": "sku100", "kind": "lamp", "colour": "red", "cents": 900', {}),
        ("search_products", {"kind": "kettle"}, "[]", {}),
        ("list_orders", {}, '[{"id": "order0", "status": "open", "address": "12 Mill Lane"', {}),
    ],
)
def test_the_shop_does_what_is_asked_or_says_why_not(
    name: str, arguments: dict[str, Any], text: str, change: dict[str, int]
) -> None:
    result = called(Shop(), SHOP, name, **arguments)
    assert result.text.startswith(text)
    now, before = Shop().facts(result.state), Shop().facts(SHOP)
    now.subtract(before)
    assert {fact: count for fact, count in now.items() if count} == change


def test_what_was_created_in_another_order_is_the_same() -> None:
    def create(state: State, title: str, start: str) -> State:
        return called(
            Calendar(), state, "create_event", title=title, day="Friday", start=start, minutes=30, guests=[]
        ).state

    one = create(create(CALENDAR, "A", "09:00"), "B", "10:00")
    other = create(create(CALENDAR, "B", "10:00"), "A", "09:00")
    assert one != other and distance(Calendar().facts(one), Calendar().facts(other)) == 0
    assert distance(Calendar().facts(one), Calendar().facts(CALENDAR)) == 2


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_no_call_changes_a_state_in_place_or_leaves_the_plain_data(world: World) -> None:
    for seed in range(60):
        draw = random.Random(seed)
        state = world.begin(draw)
        for turn in random_turns(draw, world.tools, max_turns=12):
            for call in turn.calls:
                if call.arguments is not None:
                    before = json.dumps(state)
                    behind = world.call(state, call.tool, call.arguments).state
                    assert json.dumps(state) == before
                    state = behind
        assert json.loads(json.dumps(state)) == state


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_an_errands_calls_fit_their_tools_and_none_is_refused(world: World) -> None:
    kinds = set()
    for seed in range(300):
        draw = random.Random(seed)
        state = world.begin(draw)
        errand = world.errand(draw, state)
        if errand is None:
            continue
        for name, arguments in errand.calls:
            result = called(world, state, name, **arguments)
            assert not result.text.startswith("Error"), (errand, result.text)
            state = result.state
        kinds.add(errand.calls[-1][0])
    assert kinds == {
        tool.name for tool in world.tools if not tool.name.startswith(("find", "list", "read", "search", "view"))
    }


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_gap_leaves_something_out_of_its_wish_and_tells_all_of_that(world: World) -> None:
    topics = set()
    for seed in range(400):
        draw = random.Random(seed)
        errand = world.errand(draw, world.begin(draw))
        for gap in errand.gaps if errand else ():
            given = [value for _, arguments in errand.calls for value in arguments.values()]
            values = {*COLOURS, *(word for value in given for word in _words(str(value)))}
            wish, open_wish, told = _words(errand.wish), _words(gap.wish), _words(gap.told)
            means = {word for word in wish if word in values or word[0].isupper() or word[0].isdigit()}
            assert means <= {*open_wish, *told}, (errand, gap)
            lacks = Counter(wish) - Counter(open_wish)
            assert (set(lacks) & means) or ("every" in lacks and "all" in told), (errand, gap)
            topics.add(gap.topic)
    assert topics == set(world.topics) <= set(TOPICS)


def test_nothing_is_left_out_that_the_state_decides() -> None:
    """Counted by trying: where a flight, a colour or a number is left out, another one would have worked."""
    num_seen: Counter[str] = Counter()
    for seed in range(1500):
        draw = random.Random(seed)
        for world in (Travel(), Shop()):
            state = world.begin(draw)
            errand = world.errand(draw, state)
            for gap in errand.gaps if errand else ():
                name, given = errand.calls[-1]
                changes: list[dict[str, Any]] = []
                if gap.topic == "day" and "flight_id" in given:
                    changes = [{"flight_id": flight} for flight in state["flights"]]
                    route = _route_of(state, given["flight_id"])
                    changes = [change for change in changes if _route_of(state, change["flight_id"]) == route]
                elif gap.topic == "quantity" and "cheapest" not in errand.wish:
                    changes = [{"quantity": number} for number in range(1, 10)]
                elif gap.topic == "colour":
                    kind, is_in = state["products"][given["sku"]]["kind"], given["sku"] in state["cart"]
                    same = [sku for sku, known in state["products"].items() if known["kind"] == kind]
                    changes = [{"sku": sku} for sku in same if (sku in state["cart"]) == is_in]
                else:
                    continue
                results = [world.call(state, name, {**given, **change}).text for change in changes]
                assert sum(not text.startswith("Error") for text in results) > 1, (errand, gap)
                num_seen[gap.topic] += 1
    assert set(num_seen) == {"colour", "day", "quantity"} and min(num_seen.values()) > 20


def _route_of(state: State, flight_id: str) -> tuple[str, str]:
    flight = state["flights"][flight_id]
    return flight["origin"], flight["to"]


def _words(text: str) -> list[str]:
    return re.findall(r"[\w.:]*\w", text)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_dialect_spells_every_tool_and_is_read_back(world: World, dialect: str) -> None:
    said = [spelled(tool, world.tools, dialect) for tool in world.tools]
    check_tools(said)
    for tool, own in zip(said, world.tools, strict=True):
        arguments = dict.fromkeys(own.parameters["properties"], 1)
        assert list(tool.parameters["properties"]) == list(spelled_arguments(arguments, dialect))
        assert canonical(tool.name, spelled_arguments(arguments, dialect), world.tools, dialect) == (
            own.name,
            arguments,
        )


def test_descriptions_name_tools_as_their_dialect_does() -> None:
    (move,) = [spelled(tool, Calendar.tools, "camel") for tool in Calendar.tools if tool.name == "move_event"]
    assert move.name == "moveEvent"
    assert move.parameters["properties"]["eventId"]["description"] == "the event's id, as listEvents gives it"
    assert move.parameters["required"] == ["eventId", "day", "start"]


FILES = {"files": {"drafts/plan.txt": ["About iris.", "See page 4."], "work/ideas.txt": ["About kelp."]}}


@pytest.mark.parametrize(
    ("name", "arguments", "text", "facts"),
    [
        ("list_files", {"folder": "drafts"}, '[{"path": "drafts/plan.txt", "lines": 2}]', None),
        ("read_file", {"path": "drafts/plan.txt"}, "About iris.\nSee page 4.", None),
        ("read_file", {"path": "plan.txt"}, "Error: there is no file 'plan.txt'", None),
        ("find_text", {"text": "kelp"}, '["work/ideas.txt"]', None),
        (
            "move_file",
            {"path": "work/ideas.txt", "new_path": "work/x.txt"},
            "moved",
            {'work/x.txt holds ["About kelp."]'},
        ),
        (
            "move_file",
            {"path": "work/ideas.txt", "new_path": "drafts/plan.txt"},
            "Error: drafts/plan.txt is there",
            None,
        ),
        ("move_file", {"path": "work/ideas.txt", "new_path": "home/x.txt"}, "Error: expected one of the folders", None),
        (
            "append_line",
            {"path": "work/ideas.txt", "line": "B"},
            "added",
            {'work/ideas.txt holds ["About kelp.", "B"]'},
        ),
        ("delete_file", {"path": "work/ideas.txt"}, "deleted", set()),
    ],
)
def test_files_are_moved_extended_and_deleted(name, arguments, text: str, facts: set[str] | None) -> None:
    result = called(Files(), FILES, name, **arguments)
    assert result.text.startswith(text)
    assert (result.state is FILES) == (facts is None)
    assert set(Files().facts(result.state) - Files().facts(FILES)) == (facts or set())


TRAVEL = {
    "flights": {
        "F1": {"origin": "Cork", "to": "Riga", "day": "Monday", "cents": 900, "seats": 1},
        "F2": {"origin": "Cork", "to": "Riga", "day": "Friday", "cents": 800, "seats": 1},
        "F3": {"origin": "Riga", "to": "Cork", "day": "Friday", "cents": 700, "seats": 0},
    },
    "hotels": {"H1": {"city": "Riga", "stars": 3, "cents": 5000}},
    "bookings": {"B0": {"flight": "F1"}, "B1": {"hotel": "H1", "day": "Monday", "nights": 2}},
    "next_id": 10,
}


@pytest.mark.parametrize(
    ("name", "arguments", "text", "facts"),
    [
        (
            "search_flights",
            {"origin": "Cork", "to": "Riga"},
            '[{"id": "F1", "day": "Monday", "cents": 900, "seats": 0}',
            None,
        ),
        ("search_hotels", {"city": "Riga"}, '[{"id": "H1", "stars": 3, "cents": 5000}]', None),
        ("book_flight", {"flight_id": "F2"}, '{"id": "B10"}', {"a seat on F2 is booked"}),
        ("book_flight", {"flight_id": "F1"}, "Error: F1 has no free seat", None),
        ("book_flight", {"flight_id": "F9"}, "Error: there is no flight 'F9'", None),
        (
            "book_hotel",
            {"hotel_id": "H1", "day": "Friday", "nights": 3},
            '{"id": "B10"}',
            {"a room in H1 is booked from Friday for 3 nights"},
        ),
        ("change_flight", {"booking_id": "B0", "flight_id": "F2"}, "changed", {"a seat on F2 is booked"}),
        ("change_flight", {"booking_id": "B0", "flight_id": "F3"}, "Error: F3 has another route", None),
        ("change_flight", {"booking_id": "B1", "flight_id": "F2"}, "Error: B1 is no flight", None),
        ("cancel_booking", {"booking_id": "B0"}, "cancelled", set()),
        ("cancel_booking", {"booking_id": "B9"}, "Error: there is no booking 'B9'", None),
    ],
)
def test_journeys_are_booked_changed_and_cancelled(name, arguments, text: str, facts: set[str] | None) -> None:
    result = called(Travel(), TRAVEL, name, **arguments)
    assert result.text.startswith(text)
    assert (result.state is TRAVEL) == (facts is None)
    assert set(Travel().facts(result.state) - Travel().facts(TRAVEL)) == (facts or set())


def test_bookings_are_listed_with_where_they_lead() -> None:
    assert json.loads(called(Travel(), TRAVEL, "list_bookings").text) == [
        {"id": "B0", "flight_id": "F1", "origin": "Cork", "to": "Riga", "day": "Monday"},
        {"id": "B1", "hotel_id": "H1", "city": "Riga", "day": "Monday", "nights": 2},
    ]
