"""A language model as judge: prompt, call, strict verdict, one retry, deadline.

`generate` is handed in, so this file knows no engine: the served policy, a frozen copy and an endpoint are different
functions. Each call of it carries one request, so that a deadline and a failure belong to one verdict; generators batch
by themselves. The number of calls in flight is bounded.

A reply that is no verdict is asked for once more with another seed, and where it was cut off with twice the tokens.
After that the pair is undecided. What is refused, too long or without room in the context is not retried: the second
answer would be the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from gyms.chat.checks import CHECKS
from gyms.critic.pool import critic_form
from gyms.critic.prompt import PROMPT_VERSION, PairPrompt, PromptStyle, default_labels
from gyms.critic.verdict import Outcome, UnreadableVerdict, Verdict, VerdictForm
from reward.judges.api import Comparison, Generate, JudgeCost, JudgeFailed, JudgeReply, JudgeRequest, NoReply, Pair
from reward.rubric import Rubric

__all__ = ["PromptSettings", "PromptedJudge", "outcome_of", "verdict_form"]

WINNER = "winner"
_BALANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """How a language model is asked.

    Example:
        PromptSettings(style="short", temperature=0.0, max_tokens=4)
    """

    style: PromptStyle = "full"
    """`full`: JSON verdict on every criterion. `short`, `bare`: one label; for small models. `quote`: the answer."""
    decides: Literal["weights", "judge"] = "weights"
    """`full` only. `weights`: each criterion is compared, their weights decide. `judge`: it names one winner."""
    labels: tuple[str, str] | None = None
    """What the answers are called. Default: A and B, in bare style 1 and 2."""
    allow_tie: bool = True
    """Whether a tie may be said of criteria. Which answer is right, where there is no rubric, is never a tie."""
    max_reason_chars: int = 0
    """`full` only: characters of a reason before the verdict; 0: none."""
    max_tokens: int = 256
    """Most tokens of a reply."""
    temperature: float = 0.0
    """Temperature of the judge's own sampling."""
    seed: int = 0
    """The run's seed."""
    deadline_seconds: float = 600.0
    """Longest that one call may take, queueing here excluded. Generous: a wall clock must not decide a reward."""
    max_in_flight: int = 64
    """Most calls at a time."""
    num_retries: int = 1
    """Further calls where a reply is no verdict."""
    max_question_chars: int = 6000
    """Longer questions are cut in the middle."""
    max_answer_chars: int = 6000
    """Longer answers are cut in the middle, or fail."""
    too_long: Literal["cut", "fail"] = "cut"
    """`cut`: show head and tail, and flag it. `fail`, and always in `quote`: no verdict, cause `too_long`."""
    special_tokens: tuple[str, ...] = ()
    """The judge's special tokens, broken up wherever a text holds one."""

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_in_flight", "max_question_chars", "max_answer_chars", "deadline_seconds"):
            if not getattr(self, name) > 0:  # nor NaN
                raise ValueError(f"judge.{name} must be above 0, got {getattr(self, name)!r}")
        if self.num_retries < 0 or self.temperature < 0.0:
            raise ValueError("judge.num_retries and judge.temperature must not be negative")


class PromptedJudge:
    """A judge that asks `generate`.

    Example:
        judge = PromptedJudge(generate, PromptSettings(), name="policy")
        comparison = await judge.compare(pair)
    """

    def __init__(
        self,
        generate: Generate,
        settings: PromptSettings,
        *,
        name: str = "policy",
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.settings = settings
        self._close = close
        self._generate = generate
        self._name = name
        self._gate: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None
        self.cost = JudgeCost()

    @property
    def name(self) -> str:
        """Model, prompt version and settings."""
        facts = hashlib.blake2b(repr(self.settings).encode("utf-8", "replace"), digest_size=6).hexdigest()
        return f"{self._name}/prompt{PROMPT_VERSION}/{facts}"

    async def compare(self, pair: Pair) -> Comparison:
        """One verdict on the pair in its order."""
        settings = self.settings
        if pair.first.split() == pair.second.split():
            return Comparison(outcome=Outcome.TIE, flags=frozenset({"identical"}))
        by_code = code_verdict(pair)
        if pair.rubric and (not pair.rubric.asked or any(by_code.broken_by.values())):
            return replace(_comparison(by_code, pair.rubric, is_cut=False), is_by_code=True)
        prompt = PairPrompt(
            key=f"{settings.seed}/{pair.key}",
            question=pair.question,
            first=pair.first,
            second=pair.second,
            criteria=tuple(criterion.line for criterion in pair.rubric.asked) if pair.rubric else (),
            style=settings.style,
            max_question_chars=settings.max_question_chars,
            max_answer_chars=settings.max_answer_chars,
            special_tokens=settings.special_tokens,
        )
        try:
            if prompt.is_cut and (settings.too_long == "fail" or settings.style == "quote"):
                raise JudgeFailed("too_long", "a text is longer than judge.max_answer_chars or max_question_chars")
            verdict = await self._verdict(pair, prompt)
        except JudgeFailed as failure:
            self.cost.failures[failure.cause] += 1
            raise
        return _comparison(merged(by_code, verdict), pair.rubric, is_cut=prompt.is_cut)

    async def aclose(self) -> None:
        """Close what the generator holds open."""
        if self._close is not None:
            await self._close()

    async def _verdict(self, pair: Pair, prompt: PairPrompt) -> Verdict:
        if prompt.labels[0] == prompt.labels[1]:  # `quote` alone: the answers are the labels, and look alike
            return Verdict(better={WINNER: Outcome.TIE})
        form = _form_for(prompt, pair.rubric, self.settings)
        max_tokens = self.settings.max_tokens
        messages = prompt.messages(form)
        failure = JudgeFailed("unreadable", "no reply")
        for attempt in range(1 + self.settings.num_retries):
            request = JudgeRequest(
                id=f"{pair.key}/{attempt}",
                messages=messages,
                max_tokens=max_tokens,
                temperature=self.settings.temperature if attempt == 0 else max(self.settings.temperature, 0.5),
                seed=_seed(self.settings.seed, pair.key, attempt),
                schema=form.schema(),
                choices=() if form.is_json else form.choices,
            )
            self.cost.num_retries += attempt > 0
            try:
                reply = await self._call(request)
                if reply.is_truncated:
                    max_tokens *= 2
                    raise JudgeFailed("truncated", f"the reply was cut off after {request.max_tokens} tokens")
                return form.parse(reply.text)
            except UnreadableVerdict as error:
                failure = JudgeFailed("unreadable", str(error))
            except NoReply as error:
                if attempt and error.cause == "no_room":
                    break  # the first try had room: what is told is why there was a second
                failure = JudgeFailed(error.cause, error.detail)
                if error.cause in ("refused", "no_room"):
                    break
        raise failure

    async def _call(self, request: JudgeRequest) -> JudgeReply:
        async with self._semaphore():
            start = time.monotonic()
            self.cost.num_calls += 1
            deadline = asyncio.timeout(self.settings.deadline_seconds)
            try:
                async with deadline:
                    replies = await self._generate([request])
            except TimeoutError:
                if not deadline.expired():
                    raise  # the generator's own: a lost engine is not a late verdict
                raise JudgeFailed(
                    "timeout", f"no reply within judge.deadline_seconds = {self.settings.deadline_seconds:g}"
                ) from None
            finally:
                self.cost.seconds += time.monotonic() - start
        if len(replies) != 1:
            raise RuntimeError(f"the judge's generator gave {len(replies)} replies to one request")
        self.cost.num_prompt_tokens += replies[0].num_prompt_tokens
        self.cost.num_tokens += replies[0].num_tokens
        return replies[0]

    def _semaphore(self) -> asyncio.Semaphore:
        """One per event loop: a semaphore belongs to the loop in which it was first waited for."""
        loop = asyncio.get_running_loop()
        if self._gate is None or self._gate[0] is not loop:
            self._gate = (loop, asyncio.Semaphore(self.settings.max_in_flight))
        return self._gate[1]


def _form_for(prompt: PairPrompt, rubric: Rubric | None, settings: PromptSettings) -> VerdictForm:
    try:
        form = verdict_form(rubric, settings, labels=prompt.labels)
        for label in form.labels if settings.style == "quote" else ():
            form.parse(label)
        return form
    except ValueError as error:  # an answer is nothing as it is shown, the word for a tie, or a mark of thoughts
        raise JudgeFailed("unquotable", f"an answer cannot be named by repeating it: {error}") from None


def verdict_form(
    rubric: Rubric | None, settings: PromptSettings, *, labels: tuple[str, str] | None = None
) -> VerdictForm:
    """What a verdict on a pair must hold. One label where the style is short, bare or quote.

    Without a rubric it is the form of the critic gym: what a critic was trained on is what it is calibrated on.

    Args:
        labels: what the answers are called where the settings do not say it.
    """
    labels = settings.labels or labels or default_labels(settings.style)
    if rubric is None:
        return critic_form(settings.style, labels)
    if settings.style != "full":
        return VerdictForm(labels=labels, allow_tie=settings.allow_tie, is_json=False)
    asked = rubric.asked
    compared = tuple(criterion.id for criterion in asked if not criterion.mandatory)
    if settings.decides == "judge" or not compared:
        compared = (WINNER,)
    return VerdictForm(
        compared=compared,
        mandatory=tuple(criterion.id for criterion in asked if criterion.mandatory),
        labels=labels,
        allow_tie=settings.allow_tie,
        max_reason_chars=settings.max_reason_chars,
    )


def outcome_of(verdict: Verdict, rubric: Rubric | None) -> Outcome:
    """Who wins: whoever alone keeps all mandatory criteria (both break one: a tie), else the heavier comparisons.

    Where the judge named one winner, that counts as all the criteria together that it weighed.
    """
    broken = {side for breakers in verdict.broken_by.values() for side in breakers}
    if broken:
        if len(broken) == 2:
            return Outcome.TIE
        return Outcome.SECOND if Outcome.FIRST in broken else Outcome.FIRST
    criteria = rubric.criteria if rubric else ()
    weights = {criterion.id: criterion.weight for criterion in criteria}
    weights[WINNER] = sum(c.weight for c in criteria if not c.mandatory and not c.check) or 1.0
    signs = {Outcome.FIRST: 1.0, Outcome.SECOND: -1.0, Outcome.TIE: 0.0}
    balance = sum(weights[key] * signs[outcome] for key, outcome in verdict.better.items())
    if abs(balance) < _BALANCE:
        return Outcome.TIE
    return Outcome.FIRST if balance > 0 else Outcome.SECOND


def code_verdict(pair: Pair) -> Verdict:
    """What code says of the criteria that name a check."""
    better: dict[str, Outcome] = {}
    broken_by: dict[str, frozenset[Outcome]] = {}
    for criterion in pair.rubric.checked if pair.rubric else ():
        check = CHECKS[criterion.check]
        holds = {Outcome.FIRST: check(pair.first), Outcome.SECOND: check(pair.second)}
        if criterion.mandatory:
            broken_by[criterion.id] = frozenset(side for side, is_kept in holds.items() if not is_kept)
        elif holds[Outcome.FIRST] == holds[Outcome.SECOND]:
            better[criterion.id] = Outcome.TIE
        else:
            better[criterion.id] = Outcome.FIRST if holds[Outcome.FIRST] else Outcome.SECOND
    return Verdict(better=better, broken_by=broken_by)


def merged(one: Verdict, other: Verdict) -> Verdict:
    """Both verdicts together; they speak of different criteria."""
    return Verdict(better={**one.better, **other.better}, broken_by={**one.broken_by, **other.broken_by})


def _comparison(verdict: Verdict, rubric: Rubric | None, *, is_cut: bool) -> Comparison:
    flags = {"cut"} if is_cut else set()
    if any(verdict.broken_by.values()):
        flags.add("mandatory")
    return Comparison(outcome=outcome_of(verdict, rubric), flags=frozenset(flags))


def _seed(*key: int | str) -> int:
    text = "/".join(map(str, ("judge", *key)))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little") >> 1
