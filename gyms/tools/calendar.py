"""A calendar of one working week: events with guests, which never overlap."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gyms.tools.world import Errand, Gap, Result, State, World, as_text, tool

__all__ = ["Calendar"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
TITLES = (
    "Budget review",
    "Design workshop",
    "Hiring panel",
    "Team lunch",
    "Security audit",
    "Roadmap planning",
    "Customer call",
    "Code walkthrough",
    "Safety training",
    "Press briefing",
    "Data clinic",
    "Book club",
)
GUESTS = ("Ana", "Boris", "Chen", "Dora", "Emil", "Farah", "Goran", "Hana")
FIRST, LAST = 8 * 60, 18 * 60
"""Begin and end of a day, in minutes from midnight."""
STEP = 30
_LENGTHS = (30, 60, 90, 120)
_DAY = {"type": "string", "enum": list(DAYS)}
_START = {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$", "description": "24-hour clock, such as 14:30"}
_ID = {"type": "string", "description": "the event's id, as list_events gives it"}
_MINUTES = {"type": "integer", "minimum": 15, "maximum": 480}
_TITLE = {"type": "string", "minLength": 1, "maxLength": 100}
_GUEST = {"type": "string", "enum": list(GUESTS)}


class Calendar(World):
    """`{"events": {id: {title, day, start, minutes, guests}}, "next_id": n}`; `start` in minutes from midnight."""

    name = "calendar"
    about = f"You keep somebody's calendar. Days begin at {FIRST // 60:02}:00 and end at {LAST // 60:02}:00."
    topics = ("day", "guests", "length", "time")
    tools = (
        tool("list_events", "Lists the events of a day, in order.", day=_DAY),
        tool(
            "create_event",
            "Puts a new event into the calendar.",
            title=_TITLE,
            day=_DAY,
            start=_START,
            minutes=_MINUTES,
            guests={"type": "array", "items": _GUEST, "uniqueItems": True},
        ),
        tool("move_event", "Moves an event to another time; its length stays.", event_id=_ID, day=_DAY, start=_START),
        tool("cancel_event", "Takes an event out of the calendar.", event_id=_ID),
        tool("add_guest", "Invites a guest to an event.", event_id=_ID, guest=_GUEST),
    )

    def begin(self, draw: random.Random) -> State:
        events: dict[str, Any] = {}
        for number, title in enumerate(draw.sample(TITLES, 6)):
            day, minutes = draw.choice(DAYS), draw.choice(_LENGTHS)
            starts = _free(events, day, minutes)
            if starts:
                guests = draw.sample(GUESTS, draw.randint(0, 3))
                events[f"ev{number}"] = _event(title, day, draw.choice(starts), minutes, guests)
        return {"events": events, "next_id": len(TITLES)}

    def errand(self, draw: random.Random, state: State) -> Errand | None:
        kind = draw.choice((self._moved, self._followed, self._cancelled, self._created, self._invited))
        event_id = draw.choice(sorted(state["events"])) if state["events"] else ""
        return kind(draw, state, event_id) if event_id else None

    def facts(self, state: State) -> Counter[str]:
        return Counter(
            fact
            for event in state["events"].values()
            for fact in (
                f"{event['title']} is on {event['day']} at {_clock(event['start'])} for {event['minutes']} minutes",
                *(f"{guest} is invited to {event['title']}" for guest in event["guests"]),
            )
        )

    def do_list_events(self, state: State, day: str) -> Result:
        found = sorted(
            ((event_id, event) for event_id, event in state["events"].items() if event["day"] == day),
            key=lambda entry: entry[1]["start"],
        )
        return Result(
            state=state,
            text=as_text([{**event, "id": event_id, "start": _clock(event["start"])} for event_id, event in found]),
        )

    def do_create_event(
        self, state: State, title: str, day: str, start: str, minutes: int, guests: Sequence[str]
    ) -> Result:
        begin, length = _minutes(start), int(minutes)
        if problem := _problem(state["events"], day, begin, length):
            return Result(state=state, text=problem)
        event_id = f"ev{state['next_id']}"
        events = {**state["events"], event_id: _event(title, day, begin, length, guests)}
        return Result(state={"events": events, "next_id": state["next_id"] + 1}, text=as_text({"id": event_id}))

    def do_move_event(self, state: State, event_id: str, day: str, start: str) -> Result:
        if event_id not in state["events"]:
            return _missing(state, event_id)
        event, begin = state["events"][event_id], _minutes(start)
        others = {known: other for known, other in state["events"].items() if known != event_id}
        if problem := _problem(others, day, begin, event["minutes"]):
            return Result(state=state, text=problem)
        return _with(state, event_id, {**event, "day": day, "start": begin}, "moved")

    def do_cancel_event(self, state: State, event_id: str) -> Result:
        if event_id not in state["events"]:
            return _missing(state, event_id)
        events = {known: event for known, event in state["events"].items() if known != event_id}
        return Result(state={**state, "events": events}, text="cancelled")

    def do_add_guest(self, state: State, event_id: str, guest: str) -> Result:
        if event_id not in state["events"]:
            return _missing(state, event_id)
        event = state["events"][event_id]
        if guest in event["guests"]:
            return Result(state=state, text=f"Error: {guest} is invited already.")
        return _with(state, event_id, {**event, "guests": sorted([*event["guests"], guest])}, "invited")

    def _moved(self, draw: random.Random, state: State, event_id: str) -> Errand | None:
        event, day = state["events"][event_id], draw.choice(DAYS)
        starts = _free(state["events"], day, event["minutes"])
        if not starts:
            return None
        found = self._move_to(event_id, event, day, draw.choice(starts), "Move {title} {old} to {day} at {start}.")
        start, moved = found.calls[-1][1]["start"], f"Move {event['title']} from {event['day']}"
        gaps = [Gap("time", f"{moved} to {day}.", f"It should begin at {start}.")] if len(starts) > 1 else []
        free = [other for other in DAYS if _minutes(start) in _free(state["events"], other, event["minutes"])]
        if day != event["day"] and len(set(free) - {event["day"]}) > 1:
            told, shown_by = f"It should be on {day}.", (event["title"], day)
            gaps.append(Gap("day", f"{moved} to another day, at {start}.", told, shown_by))
        return replace(found, gaps=tuple(gaps))

    def _followed(self, draw: random.Random, state: State, event_id: str) -> Errand | None:
        """Right behind another event: its end must be found out."""
        event, other = state["events"][event_id], state["events"][draw.choice(sorted(state["events"]))]
        start = other["start"] + other["minutes"]
        if event is other or start not in _free(state["events"], other["day"], event["minutes"]):
            return None
        wish = f"Move {{title}} {{old}} to {{day}}, so that it begins when {other['title']} ends."
        found = self._move_to(event_id, event, other["day"], start, wish)
        look = ("list_events", {"day": other["day"]})
        return Errand(subject=found.subject, wish=found.wish, calls=(found.calls[0], look, *found.calls[1:]))

    def _move_to(self, event_id: str, event: Any, day: str, start: int, wish: str) -> Errand:
        told = wish.format(title=event["title"], old=f"from {event['day']}", day=day, start=_clock(start))
        return Errand(
            subject=event["title"],
            wish=told,
            calls=(
                ("list_events", {"day": event["day"]}),
                ("move_event", {"event_id": event_id, "day": day, "start": _clock(start)}),
            ),
        )

    def _cancelled(self, draw: random.Random, state: State, event_id: str) -> Errand:
        event = state["events"][event_id]
        return Errand(
            subject=event["title"],
            wish=f"Cancel {event['title']} on {event['day']}.",
            calls=(("list_events", {"day": event["day"]}), ("cancel_event", {"event_id": event_id})),
        )

    def _created(self, draw: random.Random, state: State, event_id: str) -> Errand | None:
        unused = sorted(set(TITLES) - {event["title"] for event in state["events"].values()})
        day, minutes, guests = draw.choice(DAYS), draw.choice(_LENGTHS), draw.sample(GUESTS, draw.randint(1, 2))
        starts = _free(state["events"], day, minutes)
        if not starts or not unused:
            return None
        title, start = draw.choice(unused), _clock(draw.choice(starts))
        whom, put = " and ".join(guests), f"Put {title} on {day}"
        arguments = {"title": title, "day": day, "start": start, "minutes": minutes, "guests": guests}
        lengths = [length for length in _LENGTHS if _minutes(start) in _free(state["events"], day, length)]
        times = (Gap("time", f"{put} for {minutes} minutes, with {whom} as guests.", f"It is at {start}."),)
        takes = (Gap("length", f"{put} at {start}, with {whom} as guests.", f"It takes {minutes} minutes."),)
        return Errand(
            subject=title,
            wish=f"{put} at {start} for {minutes} minutes, with {whom} as guests.",
            calls=(("create_event", arguments),),
            gaps=(
                *(times if len(starts) > 1 else ()),
                *(takes if len(lengths) > 1 else ()),
                Gap("guests", f"{put} at {start} for {minutes} minutes, with guests.", f"Invite {whom}, nobody else."),
            ),
        )

    def _invited(self, draw: random.Random, state: State, event_id: str) -> Errand | None:
        event = state["events"][event_id]
        absent = sorted(set(GUESTS) - set(event["guests"]))
        if not absent:
            return None
        guest = draw.choice(absent)
        gap = Gap("guests", f"Invite one more guest to {event['title']} on {event['day']}.", f"Invite {guest}.")
        return Errand(
            subject=event["title"],
            wish=f"Invite {guest} to {event['title']} on {event['day']}.",
            calls=(
                ("list_events", {"day": event["day"]}),
                ("add_guest", {"event_id": event_id, "guest": guest}),
            ),
            gaps=(gap,) if len(absent) > 1 else (),
        )


def _event(title: str, day: str, start: int, minutes: int, guests: Sequence[str]) -> dict[str, Any]:
    return {"title": title, "day": day, "start": start, "minutes": minutes, "guests": sorted(guests)}


def _with(state: State, event_id: str, event: dict[str, Any], text: str) -> Result:
    return Result(state={**state, "events": {**state["events"], event_id: event}}, text=text)


def _missing(state: State, event_id: str) -> Result:
    return Result(state=state, text=f"Error: there is no event {event_id[:100]!r}; list_events gives the ids.")


def _free(events: Any, day: str, minutes: int) -> list[int]:
    """Starts at which an event of this length fits: where `_problem` would say nothing, without the words."""
    taken = [(event["start"], event["start"] + event["minutes"]) for event in events.values() if event["day"] == day]
    starts = range(FIRST, LAST - minutes + 1, STEP)
    return [start for start in starts if all(start >= end or begin >= start + minutes for begin, end in taken)]


def _problem(events: Any, day: str, start: int, minutes: int) -> str:
    if start < FIRST or start + minutes > LAST:
        return f"Error: the day begins at {_clock(FIRST)} and ends at {_clock(LAST)}."
    for event in events.values():
        if event["day"] == day and start < event["start"] + event["minutes"] and event["start"] < start + minutes:
            end = _clock(event["start"] + event["minutes"])
            return f"Error: {event['title']} is there from {_clock(event['start'])} to {end}."
    return ""


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return 60 * int(hours) + int(minutes)
