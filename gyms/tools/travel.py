"""Journeys: flights and hotels that are compared, booked, changed and cancelled; prices in whole cents."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from gyms.tools.world import Errand, Gap, Result, State, World, as_text, tool

__all__ = ["Travel"]

CITIES = ("Bergen", "Cork", "Lisbon", "Riga", "Turin")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
MAX_NIGHTS = 14
_CITY = {"type": "string", "enum": list(CITIES)}
_DAY = {"type": "string", "enum": list(DAYS)}
_FLIGHT = {"type": "string", "description": "the flight's id, as search_flights gives it"}
_BOOKING = {"type": "string", "description": "the booking's id, as list_bookings gives it"}


class Travel(World):
    """`{"flights": {id: {..}}, "hotels": {id: {..}}, "bookings": {id: {..}}, "next_id": n}`."""

    name = "travel"
    about = "You book journeys for somebody."
    topics = ("day", "nights", "stars")
    tools = (
        tool(
            "search_flights", "Lists the flights of a route with days, prices and free seats.", origin=_CITY, to=_CITY
        ),
        tool("search_hotels", "Lists the hotels of a city with stars and prices a night.", city=_CITY),
        tool("list_bookings", "Lists what is booked."),
        tool("book_flight", "Books a seat on a flight.", flight_id=_FLIGHT),
        tool(
            "book_hotel",
            "Books a room.",
            hotel_id={"type": "string", "description": "the hotel's id, as search_hotels gives it"},
            day=_DAY,
            nights={"type": "integer", "minimum": 1, "maximum": MAX_NIGHTS},
        ),
        tool(
            "change_flight",
            "Changes a booked flight to another of the same route.",
            booking_id=_BOOKING,
            flight_id=_FLIGHT,
        ),
        tool("cancel_booking", "Cancels a booking.", booking_id=_BOOKING),
    )

    def begin(self, draw: random.Random) -> State:
        routes = draw.sample([(a, b) for a in CITIES for b in CITIES if a != b], 5)
        flights: dict[str, Any] = {}
        for origin, to in routes:
            for day in draw.sample(DAYS, 3):
                flights[f"F{100 + len(flights)}"] = {
                    "origin": origin, "to": to, "day": day, "cents": draw.randint(4000, 40_000),
                    "seats": draw.choice((0, 1, 5, 9)),
                }  # fmt: skip
        hotels = {
            f"H{10 + number}": {"city": city, "stars": draw.randint(2, 5), "cents": draw.randint(5000, 30_000)}
            for number, city in enumerate([city for city in CITIES for _ in range(3)])
        }
        booked = draw.sample(sorted(flights), 3)
        bookings: dict[str, Any] = {f"B{n}": {"flight": name} for n, name in enumerate(booked)}
        hotel = draw.choice(sorted(hotels))
        bookings["B3"] = {"hotel": hotel, "day": draw.choice(DAYS), "nights": draw.randint(1, 4)}
        return {"flights": flights, "hotels": hotels, "bookings": bookings, "next_id": 10}

    def errand(self, draw: random.Random, state: State) -> Errand | None:
        return draw.choice((self._cheapest, self._on_a_day, self._room, self._changed, self._cancelled))(draw, state)

    def facts(self, state: State) -> Counter[str]:
        return Counter(
            f"a seat on {booking['flight']} is booked"
            if "flight" in booking
            else f"a room in {booking['hotel']} is booked from {booking['day']} for {booking['nights']} nights"
            for booking in state["bookings"].values()
        )

    def do_search_flights(self, state: State, origin: str, to: str) -> Result:
        shown = [
            {"id": name, "day": flight["day"], "cents": flight["cents"], "seats": _free(state, name)}
            for name, flight in _route(state, origin, to).items()
        ]
        return Result(state=state, text=as_text(shown))

    def do_search_hotels(self, state: State, city: str) -> Result:
        shown = [
            {"id": name, "stars": hotel["stars"], "cents": hotel["cents"]}
            for name, hotel in state["hotels"].items()
            if hotel["city"] == city
        ]
        return Result(state=state, text=as_text(shown))

    def do_list_bookings(self, state: State) -> Result:
        shown = []
        for name, booking in state["bookings"].items():
            if "flight" in booking:
                flight = state["flights"][booking["flight"]]
                place = {"flight_id": booking["flight"], **{key: flight[key] for key in ("origin", "to", "day")}}
            else:
                place = {"hotel_id": booking["hotel"], "city": state["hotels"][booking["hotel"]]["city"]}
                place |= {"day": booking["day"], "nights": booking["nights"]}
            shown.append({"id": name, **place})
        return Result(state=state, text=as_text(shown))

    def do_book_flight(self, state: State, flight_id: str) -> Result:
        if flight_id not in state["flights"]:
            return _unknown(state, "flight", flight_id, "search_flights")
        if not _free(state, flight_id):
            return Result(state=state, text=f"Error: {flight_id} has no free seat.")
        return _booked(state, {"flight": flight_id})

    def do_book_hotel(self, state: State, hotel_id: str, day: str, nights: int) -> Result:
        if hotel_id not in state["hotels"]:
            return _unknown(state, "hotel", hotel_id, "search_hotels")
        return _booked(state, {"hotel": hotel_id, "day": day, "nights": int(nights)})

    def do_change_flight(self, state: State, booking_id: str, flight_id: str) -> Result:
        booking = state["bookings"].get(booking_id)
        if booking is None:
            return _unknown(state, "booking", booking_id, "list_bookings")
        if flight_id not in state["flights"]:
            return _unknown(state, "flight", flight_id, "search_flights")
        if "flight" not in booking:
            return Result(state=state, text=f"Error: {booking_id} is no flight.")
        old, new = state["flights"][booking["flight"]], state["flights"][flight_id]
        if (old["origin"], old["to"]) != (new["origin"], new["to"]):
            return Result(state=state, text=f"Error: {flight_id} has another route.")
        if booking["flight"] == flight_id or not _free(state, flight_id):
            return Result(state=state, text=f"Error: {flight_id} is the booked flight, or has no free seat.")
        return Result(
            state={**state, "bookings": {**state["bookings"], booking_id: {"flight": flight_id}}}, text="changed"
        )

    def do_cancel_booking(self, state: State, booking_id: str) -> Result:
        if booking_id not in state["bookings"]:
            return _unknown(state, "booking", booking_id, "list_bookings")
        left = {name: booking for name, booking in state["bookings"].items() if name != booking_id}
        return Result(state={**state, "bookings": left}, text="cancelled")

    def _cheapest(self, draw: random.Random, state: State) -> Errand | None:
        """Among those with a free seat: prices must be compared."""
        flight = state["flights"][draw.choice(sorted(state["flights"]))]
        origin, to = flight["origin"], flight["to"]
        route = _route(state, origin, to)
        open_ones = sorted((known["cents"], name) for name, known in route.items() if _free(state, name))
        if len(open_ones) < 2 or open_ones[0][0] == open_ones[1][0] or _has_booked(state, origin, to):
            return None
        wish = f"Book the cheapest flight with a free seat from {origin} to {to}."
        return self._flight(origin, to, open_ones[0][1], wish)

    def _on_a_day(self, draw: random.Random, state: State) -> Errand | None:
        name = draw.choice(sorted(state["flights"]))
        flight = state["flights"][name]
        origin, to, day = flight["origin"], flight["to"], flight["day"]
        if not _free(state, name) or _has_booked(state, origin, to):
            return None
        gap = Gap("day", f"Book a flight from {origin} to {to}.", f"I fly on {day}.")
        has_choice = sum(_free(state, known) > 0 for known in _route(state, origin, to)) > 1
        gaps = (gap,) if has_choice else ()
        return self._flight(origin, to, name, f"Book the flight from {origin} to {to} on {day}.", *gaps)

    def _flight(self, origin: str, to: str, name: str, wish: str, *gaps: Gap) -> Errand:
        calls = (("search_flights", {"origin": origin, "to": to}), ("book_flight", {"flight_id": name}))
        return Errand(subject=f"{origin} to {to}", wish=wish, calls=calls, gaps=gaps)

    def _room(self, draw: random.Random, state: State) -> Errand | None:
        city, day, nights, stars = draw.choice(CITIES), draw.choice(DAYS), draw.randint(1, 4), draw.randint(3, 4)
        fitting = sorted(
            (hotel["cents"], name)
            for name, hotel in state["hotels"].items()
            if hotel["city"] == city and hotel["stars"] >= stars
        )
        if not fitting or (len(fitting) > 1 and fitting[0][0] == fitting[1][0]) or _has_room(state, city):
            return None
        in_city = [hotel for hotel in state["hotels"].values() if hotel["city"] == city]
        cheapest = min(in_city, key=lambda hotel: hotel["cents"])
        has_better = any(hotel["stars"] > cheapest["stars"] for hotel in in_city)
        room, time = f"Book a room in the cheapest hotel in {city}", f"{nights} night{'s' if nights > 1 else ''}"
        good = (Gap("stars", f"{room} that is good enough, from {day} for {time}.", f"At least {stars} stars."),)
        return Errand(
            subject=f"room in {city}",
            wish=f"{room} with at least {stars} stars, from {day} for {time}.",
            calls=(
                ("search_hotels", {"city": city}),
                ("book_hotel", {"hotel_id": fitting[0][1], "day": day, "nights": nights}),
            ),
            gaps=(
                Gap("day", f"{room} with at least {stars} stars, for {time}.", f"I arrive on {day}."),
                Gap("nights", f"{room} with at least {stars} stars, from {day}.", f"I stay for {time}."),
                *(good if has_better else ()),
            ),
        )

    def _changed(self, draw: random.Random, state: State) -> Errand | None:
        found = _one_booked(draw, state)
        if found is None:
            return None
        booking_id, flight = found
        origin, to = flight["origin"], flight["to"]
        others = [n for n, known in _route(state, origin, to).items() if known != flight and _free(state, n)]
        if not others:
            return None
        name = draw.choice(sorted(others))
        day, change = state["flights"][name]["day"], f"Change the booked flight from {origin} to {to} to"
        gap = Gap("day", f"{change} one on another day.", f"Change it to the one on {day}.")
        return Errand(
            subject=f"{origin} to {to}",
            wish=f"{change} the one on {day}.",
            calls=(
                ("list_bookings", {}),
                ("search_flights", {"origin": origin, "to": to}),
                ("change_flight", {"booking_id": booking_id, "flight_id": name}),
            ),
            gaps=(gap,) if len(others) > 1 else (),
        )

    def _cancelled(self, draw: random.Random, state: State) -> Errand | None:
        found = _one_booked(draw, state)
        if found is None:
            return None
        booking_id, flight = found
        return Errand(
            subject=f"{flight['origin']} to {flight['to']}",
            wish=f"Cancel the flight from {flight['origin']} to {flight['to']}.",
            calls=(("list_bookings", {}), ("cancel_booking", {"booking_id": booking_id})),
        )


def _route(state: State, origin: str, to: str) -> dict[str, Any]:
    return {name: f for name, f in state["flights"].items() if (f["origin"], f["to"]) == (origin, to)}


def _free(state: State, flight_id: str) -> int:
    """Seats that are left, those of the bookings taken off."""
    num_booked = sum(booking.get("flight") == flight_id for booking in state["bookings"].values())
    return max(0, state["flights"][flight_id]["seats"] - num_booked)


def _has_booked(state: State, origin: str, to: str) -> bool:
    route = _route(state, origin, to)
    return any(booking.get("flight") in route for booking in state["bookings"].values())


def _has_room(state: State, city: str) -> bool:
    rooms = [booking["hotel"] for booking in state["bookings"].values() if "hotel" in booking]
    return any(state["hotels"][name]["city"] == city for name in rooms)


def _one_booked(draw: random.Random, state: State) -> tuple[str, Any] | None:
    """A flight that is booked, the only one of its route."""
    booked = {name: state["flights"][b["flight"]] for name, b in state["bookings"].items() if "flight" in b}
    if not booked:
        return None
    name = draw.choice(sorted(booked))
    same = [f for f in booked.values() if (f["origin"], f["to"]) == (booked[name]["origin"], booked[name]["to"])]
    return (name, booked[name]) if len(same) == 1 else None


def _booked(state: State, booking: dict[str, Any]) -> Result:
    name = f"B{state['next_id']}"
    bookings = {**state["bookings"], name: booking}
    return Result(state={**state, "bookings": bookings, "next_id": state["next_id"] + 1}, text=as_text({"id": name}))


def _unknown(state: State, kind: str, name: str, source: str) -> Result:
    return Result(state=state, text=f"Error: there is no {kind} {name[:100]!r}; {source} gives the ids.")
