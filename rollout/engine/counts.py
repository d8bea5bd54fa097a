"""How much an engine prefilled and preempted, where no KV connector of ours counts it: read off the scheduler's steps.

A sibling that finds its prompt in vLLM's prefix cache is scheduled for the rest alone, so what is scheduled is what is
computed.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PromptCounts"]


class PromptCounts:
    """Counts while a scheduler works.

    Args:
        scheduler: vLLM's, in this process; its `schedule` is wrapped.
    """

    def __init__(self, scheduler: Any) -> None:
        self.num_prefilled_tokens = 0
        """Prompt tokens computed since the start; cached ones are not."""
        self.num_preemptions = 0
        """How often a request lost its blocks to others since the start."""
        self._schedule, self._requests = scheduler.schedule, scheduler.requests
        scheduler.schedule = self._counted

    def _counted(self, *args: Any, **kwargs: Any) -> Any:
        output = self._schedule(*args, **kwargs)
        self.num_preemptions += len(output.preempted_req_ids or ())
        for request_id, num_tokens in output.num_scheduled_tokens.items():
            request = self._requests[request_id]
            # vLLM has moved `num_computed_tokens` past this step's tokens by now
            left = request.num_prompt_tokens - (request.num_computed_tokens - num_tokens)
            self.num_prefilled_tokens += max(min(num_tokens, left), 0)
        return output
