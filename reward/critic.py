"""The critic: siblings are compared in pairs by a rubric, and the comparisons become rewards (Kimi K2, section 3.2.2).

One call of `judge_group` per complete group, as soon as it is complete, so that judging overlaps generation. The steps:

1. Answers without content are worth 0 and the same answer given twice is one player: neither costs a call.
2. A schedule says who meets whom (critic_schedule.py). Every pair is judged in both orders; a win counts only if both
   orders agree on it, everything else is a tie, because judges prefer a position more often than they admit.
3. Bradley-Terry strengths become values in [0, 1] (ranking.py).

A failed comparison is no opinion. An answer with verdicts on too few of its comparisons is `judge_failed`: masked and
counted, never 0. The others are ranked by what is left, which the prior keeps finite. An answer that the judge takes
beside no other, for what stands in it, is worth 0 (provoked.py). A judge that fails costs its samples; an engine that
breaks raises through here to the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gyms.api import CaseResult, Score, Status, Task
from gyms.chat.checks import has_content
from gyms.critic.verdict import Outcome
from reward.calibration import CriticGate
from reward.critic_report import CriticReport, Match
from reward.critic_schedule import pairs_to_compare
from reward.judges.api import Compares, Comparison, Generate, JudgeCost, JudgeFailed, Pair
from reward.judges.prompted import PromptedJudge, PromptSettings
from reward.provoked import provokers, without
from reward.ranking import Game, fit_strengths, values_of
from reward.rubric import Rubric, rubric_for

__all__ = ["CriticSettings", "GroupCritic", "SelfCritic", "question_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticSettings:
    """How a group is judged.

    Example:
        CriticSettings(seed=0, num_opponents=3)
    """

    seed: int = 0
    """The run's seed: shuffles who meets whom."""
    num_opponents: int = 3
    """The call budget: opponents of each answer in groups of more than 4 different answers; at least 2."""
    prior: float = 0.1
    """Pull of all strengths towards each other, > 0; a lone win is worth 0.89 with 0.1 and 0.66 with 1."""
    min_decided_frac: float = 0.3
    """An answer needs verdicts on at least this fraction of its scheduled comparisons, and on one at the least. Few
    verdicts move it little: the prior holds it near one half."""
    group_seconds: float = 1800.0
    """Longest that one group may take, its wait for other groups' calls included; what is not done then has failed."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_decided_frac <= 1.0 or self.group_seconds <= 0.0 or self.num_opponents < 2:
            raise ValueError(
                f"judge: min_decided_frac must lie in [0, 1], group_seconds above 0 and num_opponents be at least 2; "
                f"got {self.min_decided_frac}, {self.group_seconds} and {self.num_opponents}"
            )


@dataclass(slots=True)
class _Player:
    """One different answer, and the siblings that gave it."""

    text: str
    siblings: list[int] = field(default_factory=list)


class GroupCritic:
    """Judges groups with any judge.

    Args:
        judge: compares two answers.
        gate: says whether verdicts count; while it is closed nothing is asked and every answer is masked, but for
            rubrics that code decides alone.
    """

    def __init__(self, judge: Compares, settings: CriticSettings, *, gate: CriticGate | None = None) -> None:
        self.judge = judge
        self.settings = settings
        self.gate = gate
        self._report = CriticReport()

    async def judge_group(
        self, request_id: str, task: Task, responses: Sequence[str | None], rubric: Rubric | None = None
    ) -> list[Score]:
        """Scores of a group's responses, in their order.

        Args:
            request_id: names the group (step and draw): with the seed it fixes schedule, fences and sampling.
            responses: the siblings' texts. None for one that never finished: it is `cancelled`, the others are judged.
            rubric: what to judge by; default: what the task names (`reward.rubric.rubric_for`).
        """
        start = time.monotonic()
        try:
            rubric = rubric or rubric_for(task)
        except ValueError as error:
            scores = [Score(status=Status.BAD_TASK, detail=str(error)[:500])] * len(responses)
        else:
            scores = await self._scores(request_id, task, responses, rubric, start)
        self._report.count_scores(scores)
        return scores

    def take_report(self) -> CriticReport:
        """Counters since the last call, the judge's cost among them; starts them anew."""
        report, self._report = self._report, CriticReport()
        report.cost, self.judge.cost = self.judge.cost, JudgeCost()
        return report

    async def _scores(
        self, request_id: str, task: Task, responses: Sequence[str | None], rubric: Rubric, start: float
    ) -> list[Score]:
        scores: list[Score | None] = [_without_judge(task, response) for response in responses]
        players = _players([None if score else text for score, text in zip(scores, responses, strict=True)])
        if players and rubric.asked and self.gate is not None and not self.gate.is_open:
            closed = Score(status=Status.JUDGE_FAILED, flags=frozenset({"gate_closed"}), detail=self.gate.reason)
            return [score or closed for score in scores]
        pairs = pairs_to_compare(
            len(players), num_opponents=self.settings.num_opponents, key=f"{self.settings.seed}/{request_id}"
        )
        texts, question = [player.text for player in players], question_of(task)
        until = start + self.settings.group_seconds
        matches = await self._matches(request_id, question, texts, pairs, rubric, until)
        barred = await provokers(
            lambda pairs: self._compared(pairs, until), texts, matches, key=request_id, question=question, rubric=rubric
        )
        seconds = time.monotonic() - start
        provenance = {"judge": self.judge.name, "rubric": rubric.label}
        for i, said in barred.items():
            zero = Score(
                status=Status.OK, value=0.0, flags=frozenset({"barred"}), detail=str(said)[:500], provenance=provenance
            )
            for sibling in players[i].siblings:
                scores[sibling] = zero
        players = [player for i, player in enumerate(players) if i not in barred]
        names = [f"#{player.siblings[0]}" for player in players]
        ranked = self._ranked(names, without(barred, matches), seconds=seconds, provenance=provenance)
        for player, score in zip(players, ranked, strict=True):
            for sibling in player.siblings:
                scores[sibling] = score
        return [score for score in scores if score is not None]

    async def _matches(
        self,
        request_id: str,
        question: str,
        texts: Sequence[str],
        pairs: Sequence[tuple[int, int]],
        rubric: Rubric,
        until: float,
    ) -> list[Match]:
        """What became of every scheduled pair, in the schedule's order."""

        def ordered(i: int, j: int, order: str) -> Pair:
            key = f"{request_id}/{min(i, j)}-{max(i, j)}/{order}"
            return Pair(key=key, question=question, first=texts[i], second=texts[j], rubric=rubric)

        both = [(ordered(i, j, "ab"), ordered(j, i, "ba")) for i, j in pairs]
        said = iter(await self._compared([pair for sides in both for pair in sides], until))
        matches = []
        for i, j in pairs:
            match = Match(
                first=i,
                second=j,
                forward=next(said),
                backward=next(said),
                num_chars=(len(texts[i]), len(texts[j])),
            )
            matches.append(match)
            self._report.count_match(match)
        return matches

    async def _compared(self, pairs: Sequence[Pair], until: float) -> list[Comparison | JudgeFailed]:
        """What the judge says of each, in their order; by a monotonic clock, what is not done then has failed."""
        jobs = [asyncio.ensure_future(_caught(self.judge, pair)) for pair in pairs]
        try:
            if jobs:
                seconds = max(0.0, until - time.monotonic())
                done, _ = await asyncio.wait(jobs, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
                for job in done:
                    job.result()  # what is not a judge's failure belongs to the caller
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
        return [_result(job) for job in jobs]

    def _ranked(
        self, names: Sequence[str], matches: Sequence[Match], *, seconds: float, provenance: dict[str, str]
    ) -> list[Score]:
        decided = [(match, outcome) for match in matches if (outcome := match.outcome) is not None]
        points = {Outcome.FIRST: 1.0, Outcome.SECOND: 0.0, Outcome.TIE: 0.5}
        games = [Game(first=m.first, second=m.second, first_score=points[outcome]) for m, outcome in decided]
        values = values_of(fit_strengths(len(names), games, prior=self.settings.prior)) if names else []
        scores = []
        for player, value in enumerate(values):
            own = [match for match in matches if player in (match.first, match.second)]
            num_decided = sum(match.outcome is not None for match in own)
            flags = frozenset().union(*(match.flags for match in own)) | ({"unopposed"} if not own else set())
            cases = tuple(_case(player, match, names) for match in own)
            common = {"flags": flags, "seconds": seconds, "provenance": provenance, "cases": cases}
            if not own and len(names) > 1:
                scores.append(Score(status=Status.JUDGE_FAILED, detail="its opponents were barred", **common))
            elif own and (not num_decided or num_decided < self.settings.min_decided_frac * len(own)):
                causes = sorted({cause for match in own for cause in match.failures})
                detail = f"{len(own) - num_decided} of {len(own)} comparisons have no verdict ({'; '.join(causes)})"
                scores.append(Score(status=Status.JUDGE_FAILED, detail=detail[:500], **common))
            else:
                parts = _record(player, own)
                scores.append(Score(status=Status.OK, value=value, components=parts, **common))
        return scores


class SelfCritic(GroupCritic):
    """The served policy judges its own siblings: a `GroupCritic` whose judge asks `generate`.

    Example:
        critic = SelfCritic(generate, CriticSettings(seed=0), prompt=PromptSettings(style="full"))
        scores = await critic.judge_group("s3/d12", task, [sample.text for sample in samples])
    """

    def __init__(
        self,
        generate: Generate,
        settings: CriticSettings,
        *,
        prompt: PromptSettings | None = None,
        gate: CriticGate | None = None,
        name: str = "policy",
    ) -> None:
        judge = PromptedJudge(generate, prompt or PromptSettings(seed=settings.seed), name=name)
        super().__init__(judge, settings, gate=gate)


def question_of(task: Task) -> str:
    """A task's prompt as a judge sees it: the user's text, or the whole conversation with its roles."""
    if len(task.prompt) == 1:
        return task.prompt[0]["content"]
    return "\n\n".join(f"{m['role']}: {m['content']}" for m in task.prompt)


def _without_judge(task: Task, response: str | None) -> Score | None:
    """The score of a response that needs no judge, or None."""
    if response is None:
        return Score(status=Status.CANCELLED, detail="the response never finished, so it could not be compared")
    flag = "" if has_content(response) else "contentless"
    if not flag and any(_normal(response) == _normal(m["content"]) for m in task.prompt):
        flag = "echo"
    return Score(status=Status.OK, value=0.0, flags=frozenset({flag})) if flag else None


def _players(responses: Sequence[str | None]) -> list[_Player]:
    """The different answers, in the order in which they first appear; equal up to white space is the same answer."""
    players: dict[str, _Player] = {}
    for sibling, response in enumerate(responses):
        if response is not None:
            players.setdefault(_normal(response), _Player(text=response)).siblings.append(sibling)
    return list(players.values())


async def _caught(judge: Compares, pair: Pair) -> Comparison | JudgeFailed:
    """Around one comparison: the judge's failure is a result, everything else is raised."""
    try:
        return await judge.compare(pair)
    except JudgeFailed as failure:
        return failure


def _result(job: asyncio.Task[Comparison | JudgeFailed]) -> Comparison | JudgeFailed:
    if job.cancelled():
        return JudgeFailed("timeout", "the group's judge.group_seconds ran out")
    return job.result()


def _record(player: int, matches: Sequence[Match]) -> dict[str, float]:
    """Fractions of the decided comparisons that were won and tied."""
    decided = [match for match in matches if match.outcome is not None]
    if not decided:
        return {}
    wins = sum(match.outcome is (Outcome.FIRST if player == match.first else Outcome.SECOND) for match in decided)
    ties = sum(match.outcome is Outcome.TIE for match in decided)
    return {"judge_wins": wins / len(decided), "judge_ties": ties / len(decided)}


def _case(player: int, match: Match, names: Sequence[str]) -> CaseResult:
    """An answer against one other, in both orders."""
    is_first = player == match.first
    name = f"against {names[match.second if is_first else match.first]}"
    if match.outcome is (Outcome.FIRST if is_first else Outcome.SECOND):
        return CaseResult(id=name, passed=True)
    if match.failures:
        return CaseResult(id=name, passed=False, reason=f"no verdict: {'; '.join(match.failures)}"[:500])
    tie = "tie: each order has another winner" if match.is_flip else "tie"
    return CaseResult(id=name, passed=False, reason=tie if match.outcome is Outcome.TIE else "lost")


def _normal(text: str) -> str:
    return " ".join(text.split())
