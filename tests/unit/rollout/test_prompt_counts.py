"""Prefilled tokens and preemptions, read off a scheduler's steps."""

from __future__ import annotations

from types import SimpleNamespace

from rollout.engine.counts import PromptCounts


class Steps:
    """A scheduler that plays steps: what each computes, and who is preempted before it."""

    def __init__(self, prompts: dict[str, int], steps: list[tuple[dict[str, int], set[str]]]) -> None:
        self.requests = {
            name: SimpleNamespace(num_prompt_tokens=n, num_computed_tokens=0) for name, n in prompts.items()
        }
        self._steps = iter(steps)

    def schedule(self) -> SimpleNamespace:
        scheduled, preempted = next(self._steps)
        for name in preempted:
            self.requests[name].num_computed_tokens = 0
        for name, num_tokens in scheduled.items():
            self.requests[name].num_computed_tokens += num_tokens
        return SimpleNamespace(num_scheduled_tokens=scheduled, preempted_req_ids=preempted)


def test_pieces_of_a_prompt_are_counted_and_what_is_cached_or_decoded_is_not() -> None:
    steps = Steps(
        {"long": 100, "cached": 50},
        [({"long": 64}, set()), ({"long": 36, "cached": 2}, set()), ({"long": 1, "cached": 1}, set())],
    )
    steps.requests["cached"].num_computed_tokens = 48  # vLLM's prefix cache had them
    counts = PromptCounts(steps)
    for _ in range(3):
        steps.schedule()
    assert (counts.num_prefilled_tokens, counts.num_preemptions) == (102, 0)


def test_a_preempted_prompt_is_computed_again_and_counted_again() -> None:
    steps = Steps({"a": 10}, [({"a": 10}, set()), ({}, {"a"}), ({"a": 12}, set())])  # two of the twelve were decoded
    counts = PromptCounts(steps)
    for _ in range(3):
        steps.schedule()
    assert (counts.num_prefilled_tokens, counts.num_preemptions) == (20, 1)
