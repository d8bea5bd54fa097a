"""A bank: accounts, payees, payments and standing orders, in whole cents."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from gyms.tools.world import Errand, Gap, Result, State, World, as_text, tool

__all__ = ["Bank"]

ACCOUNTS = ("checking", "savings", "travel", "household")
PAYEES = ("Ana", "City Gas", "Green Grocer", "Landlord", "Library", "Mobile Phone", "Tennis Club", "Tram Company")
PURPOSES = ("rent", "bill", "gift", "fees", "ticket", "refund")
_ACCOUNT = {"type": "string", "enum": list(ACCOUNTS)}
_CENTS = {"type": "integer", "minimum": 1, "maximum": 10**9, "description": "an amount in cents: 12.50 is 1250"}
_PAYEE = {"type": "string", "description": "the payee's name, as list_payees gives it"}
_ORDER = {"type": "string", "description": "the order's id, as list_standing_orders gives it"}


class Bank(World):
    """`{"accounts": {name: cents}, "payees": [..], "payments": [..], "orders": {id: {..}}, "next_id": n}`."""

    name = "bank"
    about = "You handle somebody's bank accounts. No account may fall below zero."
    max_errands = 7  # one moves money between accounts or out of them, the others are about six payees
    topics = ("account", "amount", "purpose")
    tools = (
        tool("list_accounts", "Lists the accounts with their balances in cents."),
        tool("list_payees", "Lists the payees that money can be sent to."),
        tool(
            "move_money",
            "Moves money between two accounts.",
            from_account=_ACCOUNT,
            to_account=_ACCOUNT,
            cents=_CENTS,
        ),
        tool(
            "pay",
            "Pays a payee from an account.",
            from_account=_ACCOUNT,
            payee=_PAYEE,
            cents=_CENTS,
            purpose={"type": "string", "enum": list(PURPOSES)},
        ),
        tool("list_standing_orders", "Lists what is paid every month."),
        tool(
            "create_standing_order",
            "Pays a payee every month from an account.",
            from_account=_ACCOUNT,
            payee=_PAYEE,
            cents=_CENTS,
        ),
        tool("change_standing_order", "Changes the amount of a standing order.", order_id=_ORDER, cents=_CENTS),
        tool("cancel_standing_order", "Ends a standing order.", order_id=_ORDER),
    )

    def begin(self, draw: random.Random) -> State:
        payees = sorted(draw.sample(PAYEES, 6))
        orders = {
            f"so{number}": {"from_account": draw.choice(ACCOUNTS), "payee": payee, "cents": _amount(draw, 200)}
            for number, payee in enumerate(draw.sample(payees, 3))
        }
        accounts = {account: _amount(draw, 5000) for account in ACCOUNTS}
        return {"accounts": accounts, "payees": payees, "payments": [], "orders": orders, "next_id": 10}

    def errand(self, draw: random.Random, state: State) -> Errand | None:
        return draw.choice((self._moved, self._filled, self._paid, self._ordered, self._changed, self._ended))(
            draw, state
        )

    def facts(self, state: State) -> Counter[str]:
        return Counter(
            [
                *(f"{account} holds {cents}" for account, cents in state["accounts"].items()),
                *(
                    f"{p['payee']} was paid {p['cents']} from {p['from_account']}: {p['purpose']}"
                    for p in state["payments"]
                ),
                *(f"{o['payee']} gets {o['cents']} from {o['from_account']} monthly" for o in state["orders"].values()),
            ]
        )

    def do_list_accounts(self, state: State) -> Result:
        return Result(state=state, text=as_text(state["accounts"]))

    def do_list_payees(self, state: State) -> Result:
        return Result(state=state, text=as_text(state["payees"]))

    def do_move_money(self, state: State, from_account: str, to_account: str, cents: int) -> Result:
        if from_account == to_account:
            return Result(state=state, text="Error: both accounts are the same.")
        taken = _taken(state, from_account, int(cents))
        if isinstance(taken, str):
            return Result(state=state, text=taken)
        accounts = {**taken, to_account: taken[to_account] + int(cents)}
        return Result(state={**state, "accounts": accounts}, text="moved")

    def do_pay(self, state: State, from_account: str, payee: str, cents: int, purpose: str) -> Result:
        if payee not in state["payees"]:
            return _unknown(state, payee)
        taken = _taken(state, from_account, int(cents))
        if isinstance(taken, str):
            return Result(state=state, text=taken)
        payment = {"from_account": from_account, "payee": payee, "cents": int(cents), "purpose": purpose}
        return Result(state={**state, "accounts": taken, "payments": [*state["payments"], payment]}, text="paid")

    def do_list_standing_orders(self, state: State) -> Result:
        return Result(state=state, text=as_text([{"id": name, **order} for name, order in state["orders"].items()]))

    def do_create_standing_order(self, state: State, from_account: str, payee: str, cents: int) -> Result:
        if payee not in state["payees"]:
            return _unknown(state, payee)
        order_id = f"so{state['next_id']}"
        order = {"from_account": from_account, "payee": payee, "cents": int(cents)}
        orders = {**state["orders"], order_id: order}
        return Result(
            state={**state, "orders": orders, "next_id": state["next_id"] + 1}, text=as_text({"id": order_id})
        )

    def do_change_standing_order(self, state: State, order_id: str, cents: int) -> Result:
        if order_id not in state["orders"]:
            return _missing(state, order_id)
        order = {**state["orders"][order_id], "cents": int(cents)}
        return Result(state={**state, "orders": {**state["orders"], order_id: order}}, text="changed")

    def do_cancel_standing_order(self, state: State, order_id: str) -> Result:
        if order_id not in state["orders"]:
            return _missing(state, order_id)
        orders = {name: order for name, order in state["orders"].items() if name != order_id}
        return Result(state={**state, "orders": orders}, text="cancelled")

    def _moved(self, draw: random.Random, state: State) -> Errand | None:
        giver, taker = draw.sample(ACCOUNTS, 2)
        cents = _amount(draw, 500)
        if cents > state["accounts"][giver]:
            return None
        arguments = {"from_account": giver, "to_account": taker, "cents": cents}
        givers = (Gap("account", f"Move {_money(cents)} to {taker}.", f"Take it from {giver}."),)
        return Errand(
            subject="accounts",
            wish=f"Move {_money(cents)} from {giver} to {taker}.",
            calls=(("move_money", arguments),),
            gaps=(
                Gap("amount", f"Move money from {giver} to {taker}.", f"Move {_money(cents)}."),
                *(givers if len(_holding(state, cents) - {taker}) > 1 else ()),
            ),
        )

    def _filled(self, draw: random.Random, state: State) -> Errand | None:
        """To an amount that is named: what must be moved depends on what is there."""
        giver, taker = draw.sample(ACCOUNTS, 2)
        wanted = state["accounts"][taker] // 10_000 * 10_000 + 10_000 * draw.randint(1, 5)
        cents = wanted - state["accounts"][taker]
        if cents > state["accounts"][giver]:
            return None
        arguments = {"from_account": giver, "to_account": taker, "cents": cents}
        return Errand(
            subject="accounts",
            wish=f"Move just enough from {giver} to {taker} that {taker} holds exactly {_money(wanted)}.",
            calls=(("list_accounts", {}), ("move_money", arguments)),
            gaps=(
                Gap(
                    "amount",
                    f"Move just enough from {giver} to {taker} that {taker} holds what I want it to hold.",
                    f"Then {taker} should hold exactly {_money(wanted)}.",
                ),
            ),
        )

    def _paid(self, draw: random.Random, state: State) -> Errand | None:
        giver, payee, purpose = draw.choice(ACCOUNTS), draw.choice(state["payees"]), draw.choice(PURPOSES)
        cents = _amount(draw, 100)
        if cents > state["accounts"][giver]:
            return None
        arguments = {"from_account": giver, "payee": payee, "cents": cents, "purpose": purpose}
        unsaid = f"Pay {payee} {_money(cents)}, with the purpose {purpose!r}."
        givers = (Gap("account", unsaid, f"Pay it from {giver}."),)
        return Errand(
            subject="accounts",
            wish=f"Pay {payee} {_money(cents)} from {giver}, with the purpose {purpose!r}.",
            calls=(("pay", arguments),),
            gaps=(
                Gap("amount", f"Pay {payee} from {giver}, with the purpose {purpose!r}.", f"Pay {_money(cents)}."),
                *(givers if len(_holding(state, cents)) > 1 else ()),
                Gap("purpose", f"Pay {payee} {_money(cents)} from {giver}.", f"The purpose is {purpose!r}."),
            ),
        )

    def _ordered(self, draw: random.Random, state: State) -> Errand | None:
        free = sorted(set(state["payees"]) - {order["payee"] for order in state["orders"].values()})
        if not free:
            return None
        giver, payee, cents = draw.choice(ACCOUNTS), draw.choice(free), _amount(draw, 200)
        return Errand(
            subject=payee,
            wish=f"Have {payee} paid {_money(cents)} every month from {giver}.",
            calls=(("create_standing_order", {"from_account": giver, "payee": payee, "cents": cents}),),
            gaps=(
                Gap("amount", f"Have {payee} paid every month from {giver}.", f"{payee} should get {_money(cents)}."),
                Gap("account", f"Have {payee} paid {_money(cents)} every month.", f"It is paid from {giver}."),
            ),
        )

    def _changed(self, draw: random.Random, state: State) -> Errand | None:
        if not state["orders"]:
            return None
        order_id = draw.choice(sorted(state["orders"]))
        order, more = state["orders"][order_id], 100 * draw.randint(1, 50)
        return Errand(
            subject=order["payee"],
            wish=f"Raise what {order['payee']} gets every month by {_money(more)}.",
            calls=(
                ("list_standing_orders", {}),
                ("change_standing_order", {"order_id": order_id, "cents": order["cents"] + more}),
            ),
            gaps=(Gap("amount", f"Raise what {order['payee']} gets every month.", f"Raise it by {_money(more)}."),),
        )

    def _ended(self, draw: random.Random, state: State) -> Errand | None:
        if not state["orders"]:
            return None
        order_id = draw.choice(sorted(state["orders"]))
        payee = state["orders"][order_id]["payee"]
        return Errand(
            subject=payee,
            wish=f"End the standing order to {payee}.",
            calls=(("list_standing_orders", {}), ("cancel_standing_order", {"order_id": order_id})),
        )


def _holding(state: State, cents: int) -> set[str]:
    """The accounts that hold so much."""
    return {account for account, balance in state["accounts"].items() if balance >= cents}


def _taken(state: State, account: str, cents: int) -> dict[str, Any] | str:
    """The balances behind a withdrawal, or why there is none."""
    balance = state["accounts"][account]
    if cents > balance:
        return f"Error: {account} holds {balance} cents only."
    return {**state["accounts"], account: balance - cents}


def _unknown(state: State, payee: str) -> Result:
    return Result(state=state, text=f"Error: there is no payee {payee[:100]!r}; list_payees gives the names.")


def _missing(state: State, order_id: str) -> Result:
    text = f"Error: there is no standing order {order_id[:100]!r}; list_standing_orders gives the ids."
    return Result(state=state, text=text)


def _amount(draw: random.Random, most: int) -> int:
    """Cents, mostly not round."""
    return draw.randint(100, 100 * most)


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"
