"""The environment `mcp`: any task of one turn, with the tools of a server that speaks the Model Context Protocol.

`command` starts the server. Every episode has a process of its own, which its first call starts and its end stops: what
one episode does to it, no other sees. Tools are what the server lists, with its names and JSON schemas. The last turn,
which calls nothing, is scored by the other gym (`gym`, `args`), exactly as it scores a response of its own.

*An episode is a function of its turns* as far as the server is one: one that asks the clock or the network answers a
replay otherwise, which is our fault and masks the episode. A call that the server refuses, with a result or with an
error of the protocol, is told to the model. One that takes longer than `call_seconds`, and one that ends the server,
cost the server and its state; the model is told so. A server that cannot be started has failed: that
masks the episode, and no control sample makes it the model's fault.

The server is trusted: it runs with the rights of the scoring worker. Left out: servers behind a URL, whose state is
shared by all episodes; resources and prompts; results that are no text, which are named and not shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from pydantic import ConfigDict, Field

from gyms.api import (
    Call,
    Environment,
    Episode,
    Gym,
    GymSettings,
    Needs,
    ServiceFailed,
    Services,
    Split,
    Task,
    Tool,
    Turn,
)
from gyms.extras import require
from gyms.one_turn import Attempt, load_one_turn
from gyms.sandbox.told import shortened

__all__ = ["Mcp", "McpSettings"]

MAX_QUESTIONS_A_CALL = 4
"""Questions to the server for one call: two to begin, the call, and a look at the tools where its answer is odd."""
_LOST = "The server was started again; what it kept is gone."


class McpSettings(GymSettings):
    """Whose tools, and whose tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    command: tuple[str, ...] = Field(min_length=1)
    """Program and arguments that start the server, which speaks over its standard input and output."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the server, beside PATH, HOME and the like."""
    tools: tuple[str, ...] = ()
    """Names of the tools that are offered; none: all that the server has."""
    gym: str = "arithmetic"
    """The gym whose tasks are asked and whose verifier scores the last turn: any of one turn that needs no judge."""
    args: dict[str, Any] = Field(default_factory=dict)
    """That gym's settings."""
    call_seconds: float = Field(default=30.0, gt=0.0, le=100.0)
    """Longest time that one question to the server may take, in seconds; at most what lets all calls of a turn end in
    time, each in a server that must be started for it."""
    output_chars: int = Field(default=4000, ge=200, le=100_000)
    """Most characters of one answer; of a longer one, the middle is left out."""


class Mcp(Environment):
    """Asks the tasks of another gym and offers the tools of a server; see the head of this file."""

    Settings = McpSettings
    needs = Needs(wall_seconds=3600.0, processes=True, network=True, writes=("/",))
    max_turns = 100
    settings: McpSettings
    components: Mapping[str, str] = {  # type: ignore[misc]
        "num_calls": "well-formed calls",
        "num_call_errors": "of these, calls that the server refused or did not survive",
    }
    """Beside those of the other gym."""
    baseline: float  # type: ignore[misc]
    minimum: float  # type: ignore[misc]

    def __init__(self, settings: McpSettings, services: Services) -> None:
        super().__init__(settings, services)
        require("mcp", user="the environment `mcp`")
        self._inner = load_one_turn(settings.gym, settings.args, services, has_sandbox=self.needs.sandbox)
        inner = self._inner.components
        self.components = {**inner, **type(self).components} if inner else {}  # none declared: any are allowed
        self.baseline, self.minimum = self._inner.baseline, self._inner.minimum
        self._tools: tuple[Tool, ...] | None = None

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._inner.tasks(split)

    def tools(self, task: Task) -> Sequence[Tool]:
        return self._known_tools()

    def start(self, task: Task, seed: int) -> Episode:
        return _Attempt(task, self._inner, self.settings, self._known_tools())

    def gold_turns(self, task: Task) -> Sequence[Turn] | None:
        """The other gym's gold response alone: which tools there are is the server's affair."""
        gold = self._inner.gold(task)
        return None if gold is None else [Turn(text=gold)]

    def gold(self, task: Task) -> str | None:
        return self._inner.gold(task)

    def attacks(self, task: Task) -> Mapping[str, str]:
        return self._inner.attacks(task)

    def fingerprint(self, task: Task) -> str:
        return self._inner.fingerprint(task)

    def _known_tools(self) -> tuple[Tool, ...]:
        if self._tools is None:
            server = _Server(self.settings)
            try:
                found = server.tools()
            finally:
                server.close()
            wanted = self.settings.tools
            if missing := [name for name in wanted if name not in {tool.name for tool in found}]:
                names = ", ".join(tool.name for tool in found)
                raise ValueError(f"tools: the server has no tool {missing[0]!r}; it has {names or 'none'}")
            self._tools = tuple(tool for tool in found if not wanted or tool.name in wanted)
        return self._tools


class _Attempt(Attempt):
    """One attempt: its server, where a call has started one."""

    def __init__(self, task: Task, inner: Gym, settings: McpSettings, tools: Sequence[Tool]) -> None:
        super().__init__(task, inner, tools)
        self._settings = settings
        self._server: _Server | None = None

    def run(self, call: Call) -> str:
        assert call.arguments is not None
        if self._server is None:
            self._server = _Server(self._settings)
        try:
            text, is_error = self._server.call(call.tool, call.arguments)
        except Exception as error:  # what an MCP client raises is as open as what servers do
            self._server.close()
            self._server, is_error = None, True
            text = f"Error: {self._end_of(error)}. {_LOST}"
        self.num_errors += is_error
        return shortened(text, self._settings.output_chars)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def _end_of(self, error: Exception) -> str:
        """What became of a call, for the model."""
        from mcp_types import REQUEST_TIMEOUT

        is_slow = getattr(error, "code", None) == REQUEST_TIMEOUT
        seconds = self._settings.call_seconds
        return f"the call took over {seconds:g} s" if is_slow else f"the call failed ({type(error).__name__})"


class _Server:
    """A server's process and the session with it, on an event loop in a thread of its own."""

    def __init__(self, settings: McpSettings) -> None:
        import anyio.from_thread
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client

        program, *arguments = settings.command
        parameters = StdioServerParameters(
            command=program,
            args=arguments,
            env=dict(settings.environment),
            encoding_error_handler="replace",  # else a byte that is no UTF-8 ends the session
        )
        self._stack = ExitStack()
        with ExitStack() as stack:
            silence = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123 - a device
            self._portal = stack.enter_context(anyio.from_thread.start_blocking_portal())
            transport = stdio_client(parameters, errlog=silence)
            client = Client(transport, read_timeout_seconds=settings.call_seconds)
            try:
                self._client = stack.enter_context(self._portal.wrap_async_context_manager(client))
            except Exception as error:  # of processes, pipes and what the server says first
                raise ServiceFailed(
                    f"command = {list(settings.command)}: the server does not start: {type(error).__name__}: {error}"
                ) from error
            self._stack = stack.pop_all()

    def tools(self) -> list[Tool]:
        """All pages of what the server lists."""
        found: list[Tool] = []
        cursor: str | None = None
        while True:
            page = self._portal.call(lambda: self._client.list_tools(cursor=cursor))  # noqa: B023 - called at once
            found += [
                Tool(name=tool.name, description=tool.description or "", parameters=tool.input_schema)
                for tool in page.tools
            ]
            cursor = page.next_cursor
            if cursor is None:
                return found

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """What a tool says, and whether that is an error."""
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        try:
            result = self._portal.call(lambda: self._client.call_tool(name, dict(arguments)))
        except MCPError as error:
            if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                raise
            return f"Error: {error.message}", True  # the server's word for a call that it refuses
        parts = [part.text if part.type == "text" else f"({part.type}, not shown)" for part in result.content]
        text = "\n".join(parts) or "(no output)"
        return (f"Error: {text}" if result.is_error else text), bool(result.is_error)

    def close(self) -> None:
        """Stop the process and the thread; again is fine. What broke the session was told by the call that it broke."""
        with suppress(Exception):
            self._stack.close()
