"""Calls across a wall: test code in one job, the submission in another, plain data between them.

The side with the tests holds proxies; the side with the submission answers. A reply is a plain value, or an error's
name and text, which the proxy raises as the built-in exception of that name, or as a class of that name where the
submission defines one. A generator crosses as the list of its values, up to a number.

Instances of the submission's own classes stay where they are and are named by number, but only where the tests use
classes (`allows_handles`): elsewhere a result that is not plain is an error. Such a handle has methods, a length, items
and a text; it raises in comparisons, truth and arithmetic: no object of the submission's takes part in a verdict
(`f(x) == 3`, `abs(f(x) - 3) < 1e-6`). With `allows_objects` it answers those too, and may lie.

With `allows_changes`, a reply also carries the lists, dicts and sets among the arguments that the call changed, and the
tests' own are changed likewise, at the outermost level.
"""

from __future__ import annotations

import builtins
import itertools
import json
import types
from collections.abc import Callable
from typing import Any, BinaryIO

from gyms.sandbox.inside import values

__all__ = ["Link", "Lost", "serve"]

_MAX_REPLY = 16 << 20
_MAX_ERROR = 300
_MAX_GENERATED = 10_000
"""Values of a generator that cross; more are cut off, as an endless one has them."""
_MUTABLE = (list, dict, set)
_HARMLESS = tuple(
    f"__{name}__"
    for name in ("call", "len", "iter", "next", "getitem", "setitem", "delitem", "str", "repr", "enter", "exit")
)
_DECIDING = tuple(
    f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "bool", "sub", "rsub", "abs", "float", "int")
)
_FORWARDED = tuple(
    f"__{name}__"
    for name in (
        *("call", "len", "iter", "next", "getitem", "setitem", "delitem", "contains", "str", "repr", "lt", "le", "gt"),
        *("ge", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "floordiv", "mod", "pow", "neg", "abs", "bool"),
        *("int", "float", "enter", "exit", "and", "or", "xor", "invert", "matmul"),
    )
)


class Lost(Exception):
    """The submission's process has ended, or answers garbage."""


def serve(names: dict[str, Any], requests: BinaryIO, report: Any) -> None:
    """Answer requests until the link closes; in the submission's process."""
    objects: list[Any] = []
    while line := requests.readline():
        request = json.loads(line)
        try:
            arguments = [_argument(a, objects) for a in request.get("a", ())]
            keywords = {name: _argument(a, objects) for name, a in request.get("k", {}).items()}
            result = _answer(request, names, objects, arguments, keywords)
            reply: dict[str, Any] = {}
            if type(result) in _GENERATED:
                result = list(itertools.islice(result, _MAX_GENERATED))
                reply = {"g": True}
            try:
                reply["v"] = values.encode(result)
            except TypeError:
                if not request["o"] or type(result).__module__ != "solution":
                    raise
                objects.append(result)
                reply = {"r": len(objects) - 1, "c": type(result).__name__}
            if request.get("m"):
                reply["m"] = _changed(request, arguments, keywords)
        except Exception as error:
            reply = {"e": _text(error), "t": type(error).__name__}
        report.send(reply)


_GENERATED = (
    *(types.GeneratorType, map, filter, zip, enumerate, reversed),
    *(type(iter(empty)) for empty in ([], (), {}, set(), "", range(0))),
)


def _changed(request: dict[str, Any], arguments: list[Any], keywords: dict[str, Any]) -> list[list[Any]]:
    """Place or name of each argument that differs from what was sent, with its value now."""
    pairs = [*zip(range(len(arguments)), request["a"], arguments, strict=True)]
    pairs += [(name, request["k"][name], value) for name, value in keywords.items()]
    found = []
    for place, sent, value in pairs:
        if "v" in sent and type(value) in _MUTABLE:
            now = values.encode(value)
            if now != sent["v"]:
                found.append([place, now])
    return found


def _answer(
    request: dict[str, Any], names: dict[str, Any], objects: list[Any], arguments: list[Any], keywords: dict[str, Any]
) -> Any:
    kind = request["kind"]
    if kind == "names":
        return [[name, _kind(value)] for name, value in names.items() if not name.startswith("_")]
    if kind == "value":
        return names[request["name"]]
    if kind == "call":
        name = request["name"]
        function = names[name] if name.isidentifier() else eval(name, names)  # `Solution().add`: the tests' own words
        return function(*arguments, **keywords)
    target = objects[request["id"]] if kind == "method" else names[request["class"]]
    if request["name"].startswith("__") and kind == "method":
        return getattr(type(target), request["name"])(target, *arguments, **keywords)
    found = getattr(target, request["name"])
    return found(*arguments, **keywords) if request["calls"] else ("callable", "") if callable(found) else ("", found)


def _kind(value: Any) -> str:
    """`class`, `function`, `value`, or `error` with the names of an exception's classes, the nearest first."""
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == "solution":
        return "error " + " ".join(part.__name__ for part in value.__mro__)
    return "class" if isinstance(value, type) else "function" if callable(value) else "value"


def _argument(encoded: dict[str, Any], objects: list[Any]) -> Any:
    return objects[encoded["r"]] if "r" in encoded else values.decode(encoded["v"])


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_MAX_ERROR]
    except BaseException:
        return ""


class Link:
    """The tests' end: asks, and builds the proxies that ask."""

    def __init__(
        self, replies: BinaryIO, requests: BinaryIO, *, allows_handles: bool, allows_objects: bool, allows_changes: bool
    ) -> None:
        self._replies = replies
        self._requests = requests
        self._allows_handles = allows_handles or allows_objects
        self._allows_objects = allows_objects
        self._allows_changes = allows_changes
        self._classes: dict[str, type] = {}
        self._errors: dict[str, type[Exception]] = {}
        self.num_calls = 0
        self.failure = ""
        """Why the submission could not be loaded; empty where it was."""

    def wait_until_loaded(self) -> None:
        """Read the first reply: whether the submission could be loaded at all."""
        try:
            first = self._read()
        except Lost:
            self.failure = "import: it ended while it was loaded"
            return
        if "e" in first:
            kind = "syntax" if first.get("k") == "syntax" else "import"
            self.failure = f"{kind}: {str(first['e'])[:_MAX_ERROR]}"

    def ask(self, changes: list[Any] | None = None, **request: Any) -> Any:
        """One request and its reply, as a value or a proxy; raises what the submission raised.

        `changes` receives what the reply says of arguments.
        """
        self.num_calls += request["kind"] in ("call", "method")
        try:
            self._requests.write(json.dumps({"o": self._allows_handles, **request}).encode() + b"\n")
            self._requests.flush()
        except OSError:
            raise Lost("the submission's process has ended") from None
        reply = self._read()
        if "e" in reply:
            raise self._error(reply)
        if changes is not None and type(reply.get("m")) is list:
            changes += reply["m"]
        if "r" in reply and self._allows_handles and type(reply["r"]) is int and type(reply.get("c")) is str:
            return self.remote_class(reply["c"]).of(reply["r"])  # type: ignore[attr-defined]
        try:
            found = values.decode(reply["v"])
            return iter(found) if reply.get("g") is True and type(found) is list else found
        except (KeyError, ValueError):
            raise Lost("the submission's process answered garbage") from None

    def _read(self) -> dict[str, Any]:
        line = self._replies.readline(_MAX_REPLY)
        if not line.endswith(b"\n"):
            raise Lost("the submission's process has ended")
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            raise Lost("the submission's process answered garbage") from None
        if type(reply) is not dict:
            raise Lost("the submission's process answered garbage")
        return reply

    def _error(self, reply: dict[str, Any]) -> Exception:
        name, text = (str(reply.get(key))[:_MAX_ERROR] for key in ("t", "e"))  # cut again: it may not have been `_text`
        kind = self._errors.get(name) or getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError:
            try:
                return kind(text)
            except TypeError:  # UnicodeDecodeError and its like need more than a text
                return RuntimeError(f"{name}: {text}")
        return RuntimeError(f"{name}: {text}")

    def encode(self, argument: Any) -> dict[str, Any]:
        """An argument on its way over."""
        number = argument.__dict__.get("_remote_id") if isinstance(argument, _Remote) else None
        return {"v": values.encode(argument)} if number is None else {"r": number}

    def function(self, name: str) -> Callable[..., Any]:
        """A function of the submission's, as the tests call it."""

        def proxy(*arguments: Any, **keywords: Any) -> Any:
            sent = self.sent(arguments, keywords)
            if not self._allows_changes:
                return self.ask(kind="call", name=name, **sent)
            reply: list[Any] = []
            result = self.ask(kind="call", name=name, m=True, changes=reply, **sent)
            _change(arguments, keywords, reply)
            return result

        proxy.__name__ = proxy.__qualname__ = name
        return proxy

    def sent(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        """Arguments as a request carries them."""
        return {"a": [self.encode(a) for a in arguments], "k": {k: self.encode(v) for k, v in keywords.items()}}

    def remote_class(self, name: str) -> type:
        """A class of the submission's, as the tests use it."""
        if name not in self._classes:
            specials = _FORWARDED if self._allows_objects else _HARMLESS
            members: dict[str, Any] = {"_link": self, **{special: _forwarder(special) for special in specials}}
            if not self._allows_objects:
                members |= {special: _refuser(special) for special in _DECIDING}
                members["__hash__"] = _Remote.__hash__
            self._classes[name] = type(name, (_Remote,), members)
        return self._classes[name]

    def exported(self) -> dict[str, Any]:
        """Everything public of the submission, as proxies and plain values."""
        found: dict[str, Any] = {}
        for name, kind in self.ask(kind="names"):
            if kind.startswith("error "):
                found[name] = self._error_class(kind.split()[1:])
            elif kind == "class" and self._allows_handles:
                found[name] = self.remote_class(name)
            elif kind == "value":
                try:
                    found[name] = self.ask(kind="value", name=name)
                except (TypeError, RuntimeError):
                    continue  # a module, say: the tests import their own
            else:
                found[name] = self.function(name)
        return found

    def _error_class(self, names: list[str]) -> type[Exception]:
        """An exception of the submission's, as the tests expect it: of the same name and bases."""
        base: type[Exception] = Exception
        for name in reversed(names[:20]):
            known = getattr(builtins, name, None)
            if isinstance(known, type) and issubclass(known, Exception) and known is not AssertionError:
                base = known
            elif name.isidentifier() and not hasattr(builtins, name):
                base = self._errors.setdefault(name, type(name, (base,), {}))
        return base


def _change(arguments: tuple[Any, ...], keywords: dict[str, Any], changes: list[Any]) -> None:
    """Give the tests' own containers the content that the submission left in them."""
    for change in changes:
        if type(change) is not list or len(change) != 2:
            raise Lost("the submission's process answered garbage")
        place, now = change
        target: Any = None
        if type(place) is int and 0 <= place < len(arguments):
            target = arguments[place]
        elif type(place) is str:
            target = keywords.get(place)
        try:
            content = values.decode(now)
        except ValueError:
            raise Lost("the submission's process answered garbage") from None
        if type(target) not in _MUTABLE or type(content) is not type(target):
            raise Lost("the submission's process answered garbage")
        if type(target) is list:
            target[:] = content
        else:
            target.clear()
            target.update(content)


class _Remote:
    """An instance that lives in the submission's process."""

    _link: Link

    def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
        return cls._link.ask(kind="call", name=cls.__name__, **cls._link.sent(arguments, keywords))

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        pass  # the instance was made on the other side

    @classmethod
    def of(cls, number: int) -> Any:
        made = object.__new__(cls)
        made.__dict__["_remote_id"] = number
        return made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        link, number = self._link, self.__dict__["_remote_id"]
        what, value = link.ask(kind="method", id=number, name=name, calls=False, a=[], k={})
        if what != "callable":
            return value

        def method(*arguments: Any, **keywords: Any) -> Any:
            sent = link.sent(arguments, keywords)
            return link.ask(kind="method", id=number, name=name, calls=True, **sent)

        return method

    def __setattr__(self, name: str, value: Any) -> None:
        sent = self._link.sent((name, value), {})
        self._link.ask(kind="method", id=self.__dict__["_remote_id"], name="__setattr__", calls=True, **sent)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Remote):
            return False  # whatever the submission says: an object of its own is no plain value
        sent = self._link.sent((other,), {})
        return self._link.ask(kind="method", id=self.__dict__["_remote_id"], name="__eq__", calls=True, **sent) is True

    def __hash__(self) -> int:
        return hash(self.__dict__["_remote_id"])


def _forwarder(name: str) -> Callable[..., Any]:
    def forward(self: _Remote, *arguments: Any) -> Any:
        link = self._link
        try:
            return link.ask(
                kind="method", id=self.__dict__["_remote_id"], name=name, calls=True, **link.sent(arguments, {})
            )
        except AttributeError:
            if name == "__bool__":
                return True
            if name in ("__str__", "__repr__"):
                return f"<{type(self).__name__}>"
            raise TypeError(f"{type(self).__name__} has no {name}") from None

    return forward


def _refuser(name: str) -> Callable[..., Any]:
    def refuse(self: _Remote, *arguments: Any) -> Any:
        raise TypeError(f"an object of the submission's decides no test ({name})")

    return refuse
