"""A web shop: a catalogue with stock, a cart, and orders that were placed earlier. Prices in whole cents."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from gyms.tools.world import Errand, Gap, Result, State, World, as_text, tool

__all__ = ["Shop"]

KINDS = ("kettle", "lamp", "backpack", "notebook", "headset", "blanket")
COLOURS = ("red", "blue", "green", "black", "white")
ADDRESSES = ("12 Mill Lane", "3 Harbour Road", "88 Station Street", "5 Garden Close")
MAX_QUANTITY = 9
_SKU = {"type": "string", "description": "the product's sku, as search_products gives it"}
_QUANTITY = {"type": "integer", "minimum": 1, "maximum": MAX_QUANTITY}
_ORDER = {"type": "string", "description": "the order's id, as list_orders gives it"}


class Shop(World):
    """`{"products": {sku: {kind, colour, cents, stock}}, "cart": {sku: n}, "orders": {id: {..}}}`."""

    name = "shop"
    about = "You shop for somebody in a web shop. An order can be changed while its status is open."
    topics = ("address", "colour", "quantity")
    tools = (
        tool(
            "search_products",
            "Finds products of a kind, with price in cents and what is in stock.",
            kind={"type": "string", "enum": list(KINDS)},
        ),
        tool("view_cart", "Shows what is in the cart."),
        tool("add_to_cart", "Puts a product into the cart.", sku=_SKU, quantity=_QUANTITY),
        tool("remove_from_cart", "Takes some of a product out of the cart.", sku=_SKU, quantity=_QUANTITY),
        tool("list_orders", "Lists the orders that were placed."),
        tool("cancel_order", "Cancels an open order.", order_id=_ORDER),
        tool(
            "change_address",
            "Sends an open order to another address.",
            order_id=_ORDER,
            address={"type": "string", "enum": list(ADDRESSES)},
        ),
    )

    def begin(self, draw: random.Random) -> State:
        looks = draw.sample([(kind, colour) for kind in KINDS for colour in COLOURS], 14)
        products = {
            f"sku{100 + number}": {
                "kind": kind,
                "colour": colour,
                "cents": draw.randint(500, 9999),
                "stock": draw.randint(0, MAX_QUANTITY),
            }
            for number, (kind, colour) in enumerate(looks)
        }
        sold = draw.sample(sorted(products), 5)
        orders = {
            f"order{number}": {
                "items": {sku: draw.randint(1, 3)},
                "address": draw.choice(ADDRESSES),
                "status": draw.choice(("open", "open", "shipped")),
            }
            for number, sku in enumerate(sold[:3])
        }
        return {"products": products, "cart": {sku: draw.randint(1, 4) for sku in sold[3:]}, "orders": orders}

    def errand(self, draw: random.Random, state: State) -> Errand | None:
        return draw.choice((self._cheapest, self._added, self._removed, self._cancelled, self._sent))(draw, state)

    def facts(self, state: State) -> Counter[str]:
        facts: Counter[str] = Counter()
        for sku, number in state["cart"].items():
            facts[f"one {sku} is in the cart"] = number
        for order_id, order in state["orders"].items():
            facts[f"{order_id} is {order['status']}"] = 1
            facts[f"{order_id} goes to {order['address']}"] = 1
        return facts

    def do_search_products(self, state: State, kind: str) -> Result:
        found = [{"sku": sku, **product} for sku, product in state["products"].items() if product["kind"] == kind]
        return Result(state=state, text=as_text(found))

    def do_view_cart(self, state: State) -> Result:
        shown = [{"sku": sku, **state["products"][sku], "quantity": n} for sku, n in state["cart"].items()]
        return Result(state=state, text=as_text(shown))

    def do_add_to_cart(self, state: State, sku: str, quantity: int) -> Result:
        if sku not in state["products"]:
            return Result(
                state=state, text=f"Error: there is no product {sku[:100]!r}; search_products gives the skus."
            )
        wanted, stock = state["cart"].get(sku, 0) + int(quantity), state["products"][sku]["stock"]
        if wanted > stock:
            return Result(state=state, text=f"Error: {stock} of {sku} are in stock, {wanted} would be in the cart.")
        return Result(state={**state, "cart": {**state["cart"], sku: wanted}}, text=f"{wanted} in the cart")

    def do_remove_from_cart(self, state: State, sku: str, quantity: int) -> Result:
        there = state["cart"].get(sku, 0)
        if quantity > there:
            return Result(state=state, text=f"Error: {there} of {sku[:100]!r} are in the cart.")
        left = {name: number for name, number in state["cart"].items() if name != sku}
        if there > quantity:
            left = {**state["cart"], sku: there - int(quantity)}
        return Result(state={**state, "cart": left}, text=f"{there - int(quantity)} in the cart")

    def do_list_orders(self, state: State) -> Result:
        shown = [
            {
                "id": order_id,
                "status": order["status"],
                "address": order["address"],
                "items": [{"sku": sku, **_look(state, sku), "quantity": n} for sku, n in order["items"].items()],
            }
            for order_id, order in state["orders"].items()
        ]
        return Result(state=state, text=as_text(shown))

    def do_cancel_order(self, state: State, order_id: str) -> Result:
        return self._changed(state, order_id, {"status": "cancelled"})

    def do_change_address(self, state: State, order_id: str, address: str) -> Result:
        return self._changed(state, order_id, {"address": address})

    def _changed(self, state: State, order_id: str, change: dict[str, Any]) -> Result:
        if order_id not in state["orders"]:
            return Result(state=state, text=f"Error: there is no order {order_id[:100]!r}; list_orders gives the ids.")
        order = state["orders"][order_id]
        if order["status"] != "open":
            return Result(state=state, text=f"Error: {order_id} is {order['status']}; only open orders can be changed.")
        return Result(state={**state, "orders": {**state["orders"], order_id: {**order, **change}}}, text="changed")

    def _cheapest(self, draw: random.Random, state: State) -> Errand | None:
        """Of a kind, among those of which enough is in stock: prices must be compared."""
        kind, quantity = draw.choice(KINDS), draw.randint(1, 3)
        fitting = sorted(
            (product["cents"], sku)
            for sku, product in state["products"].items()
            if product["kind"] == kind and product["stock"] >= quantity
        )
        of_kind = [sku for sku, product in state["products"].items() if product["kind"] == kind]
        if len(fitting) < 2 or fitting[0][0] == fitting[1][0] or any(sku in state["cart"] for sku in of_kind):
            return None
        sku = fitting[0][1]
        unsaid = f"Put some of the cheapest {kind} of which as many as I want are in stock into the cart."
        some = Gap("quantity", unsaid, f"I want {quantity}.")
        return self._add(
            sku,
            kind,
            quantity,
            f"Put {quantity} of the cheapest {kind} of which at least {quantity} are in stock into the cart.",
            *((some,) if max(state["products"][known]["stock"] for known in of_kind) > 1 else ()),
        )

    def _added(self, draw: random.Random, state: State) -> Errand | None:
        sku, quantity = draw.choice(sorted(state["products"])), draw.randint(1, 3)
        product = state["products"][sku]
        if state["cart"].get(sku, 0) + quantity > product["stock"]:
            return None
        thing = f"{product['colour']} {product['kind']}"
        more = " more" if sku in state["cart"] else ""
        left = {name: known["stock"] - state["cart"].get(name, 0) for name, known in state["products"].items()}
        alike = [
            name
            for name, known in state["products"].items()
            if known["kind"] == product["kind"]
            and (name in state["cart"]) == (sku in state["cart"])
            and left[name] >= quantity
        ]
        some = Gap("quantity", f"Put some{more} of the {thing} into the cart.", f"I want {quantity}{more}.")
        a_kind = f"Put {quantity}{more} of a {product['kind']} into the cart."
        which = Gap("colour", a_kind, f"I want the {product['colour']} one.")
        return self._add(
            sku,
            product["kind"],
            quantity,
            f"Put {quantity}{more} of the {thing} into the cart.",
            *((some,) if left[sku] > 1 else ()),
            *((which,) if len(alike) > 1 else ()),
        )

    def _add(self, sku: str, kind: str, quantity: int, wish: str, *gaps: Gap) -> Errand:
        calls = (("search_products", {"kind": kind}), ("add_to_cart", {"sku": sku, "quantity": quantity}))
        return Errand(subject=sku, wish=wish, calls=calls, gaps=gaps)

    def _removed(self, draw: random.Random, state: State) -> Errand | None:
        if not state["cart"]:
            return None
        sku = draw.choice(sorted(state["cart"]))
        there, product = state["cart"][sku], state["products"][sku]
        quantity = draw.randint(1, there)
        thing, which = f"{product['colour']} {product['kind']}", "every" if quantity == there else str(quantity)
        all_or = "all that are there" if quantity == there else str(quantity)
        gap = Gap("quantity", f"Take some of the {thing} out of the cart.", f"Take out {all_or}.")
        return Errand(
            subject=sku,
            wish=f"Take {which} {thing} out of the cart.",
            calls=(("view_cart", {}), ("remove_from_cart", {"sku": sku, "quantity": quantity})),
            gaps=(gap,) if there > 1 else (),
        )

    def _cancelled(self, draw: random.Random, state: State) -> Errand | None:
        found = self._open_order(draw, state)
        if found is None:
            return None
        order_id, thing = found
        return Errand(
            subject=order_id,
            wish=f"Cancel the order of the {thing}.",
            calls=(("list_orders", {}), ("cancel_order", {"order_id": order_id})),
        )

    def _sent(self, draw: random.Random, state: State) -> Errand | None:
        found = self._open_order(draw, state)
        if found is None:
            return None
        order_id, thing = found
        address = draw.choice(sorted(set(ADDRESSES) - {state["orders"][order_id]["address"]}))
        return Errand(
            subject=order_id,
            wish=f"Have the order of the {thing} sent to {address}.",
            calls=(("list_orders", {}), ("change_address", {"order_id": order_id, "address": address})),
            gaps=(Gap("address", f"Have the order of the {thing} sent to another address.", f"Send it to {address}."),),
        )

    def _open_order(self, draw: random.Random, state: State) -> tuple[str, str] | None:
        """An order that can be changed, and what it holds."""
        known = sorted(order_id for order_id, order in state["orders"].items() if order["status"] == "open")
        if not known:
            return None
        order_id = draw.choice(known)
        (sku,) = state["orders"][order_id]["items"]
        return order_id, " ".join(_look(state, sku).values())


def _look(state: State, sku: str) -> dict[str, str]:
    product = state["products"][sku]
    return {"colour": product["colour"], "kind": product["kind"]}
