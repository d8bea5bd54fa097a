"""The run's critic: who judges, whether its verdicts count, and what verified groups teach it (docs/judge.md).

Three things hang together here, because they share the served policy and a checkpoint: the critic that judges complete
groups, the gate that a calibration opens or closes, and the pool of known pairs that verified groups fill. A run whose
gyms are all verifiable has none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from configs.schema import Config
from gyms.api import Environment, Score, Services, Task
from gyms.critic.gym import CriticGym, CriticGymSettings
from gyms.mixture import GymEntry
from reward.calibration import Calibration, VerifiedPair, calibrate
from reward.critic import GroupCritic
from reward.critic_config import build_critic, build_gate
from reward.judges.api import JudgeReply, JudgeRequest
from rl.batch import Group
from rl.collect import Policy
from rl.replies import reply_of
from rollout.chat import ChatFormat

__all__ = ["Judging", "calibration_pairs"]


class Judging:
    """Judges complete groups while `policy` serves.

    Args:
        config: the run's.
        gyms: those of the run; a `critic` gym among them shares its pool of known pairs.
        chat: the policy's template and tokenizer.

    Raises:
        ValueError: the judge's endpoint has no key, or the critic gym learns another style than the judge uses, or
            there is either of them while steps are drawn ahead.
    """

    def __init__(self, config: Config, gyms: Sequence[GymEntry], chat: ChatFormat) -> None:
        self.config = config
        self.judged = frozenset(entry.name for entry in gyms if entry.gym.needs.judge)
        self._by_name = {entry.name: entry.gym for entry in gyms}
        self._chat = chat
        self._policy: Policy | None = None
        own = [entry.gym for entry in gyms if isinstance(entry.gym, CriticGym)]
        if config.rollout.steps_ahead and (own or self.judged):
            raise ValueError(
                "rollout.steps_ahead = 1 does not go together with a judge or the critic gym: what a judge may say and "
                "what it learns, is settled between two steps; remove one of them"
            )
        if own and self.judged and own[0].settings.style != config.judge.style:
            raise ValueError(
                f'the critic gym learns the style "{own[0].settings.style}" and judge.style is "{config.judge.style}": '
                "what is learned there would not judge here; give both the same style"
            )
        self.critic_gym = own[0] if own else CriticGym(CriticGymSettings(style=config.judge.style), Services())
        if own:
            own[0].fits = self._can_be_asked
        self.gate = build_gate(config.judge.calibration)
        self.critic: GroupCritic = build_critic(
            config.judge,
            seed=config.seed,
            generate=self._generate,
            gate=self.gate,
            special_tokens=tuple(getattr(chat.tokenizer, "all_special_tokens", ())),
        )

    def is_due(self, step: int) -> bool:
        """Whether a calibration comes before this step's rollout."""
        every = self.config.judge.calibration.every
        return bool(self.judged) and (step == 0 or self.gate.step is None or (every > 0 and step % every == 0))

    async def calibrate(self, policy: Policy, step: int) -> Calibration:
        """Ask about held-out pairs whose right answer is known; opens or closes the gate."""
        pairs = calibration_pairs(self.critic_gym, self.config.judge.calibration.num_pairs)
        self._policy = policy
        found = await calibrate(self.critic.judge, pairs, key=f"calibration/{step}")
        self.gate.update(step, found)
        return found

    def serve(self, policy: Policy) -> None:
        """The policy that answers from now on; a phase hands in its own."""
        self._policy = policy

    async def judge_group(self, request_id: str, task: Task, responses: Sequence[str | None]) -> Sequence[Score]:
        """Scores of a complete group; None stands for a response that never finished."""
        return await self.critic.judge_group(request_id, task, responses)

    def learn_from(self, groups: Sequence[Group]) -> None:
        """Closed loop (Kimi K2, section 3.2.2): verified groups become known pairs of the critic gym."""
        for group in groups:
            gym = self._by_name[group.draw.gym]
            if gym.needs.judge or isinstance(gym, CriticGym | Environment):
                continue
            said = [self._chat.read_response(scored.sample) for scored in group.samples]
            self.critic_gym.add_group(
                group.draw.task,
                [str(text) for text in said],
                [
                    scored.reward.value
                    if text.is_closed and not (scored.reward.is_masked or scored.sample.is_truncated)
                    else None
                    for text, scored in zip(said, group.samples, strict=True)
                ],
                problem=f"{group.draw.gym}: {gym.fingerprint(group.draw.task)}",
                is_heldout=False,
            )

    def take_metrics(self) -> dict[str, float]:
        """`judge/...` metrics since the last call; empty where no gym is judged."""
        return {**self.critic.take_report().metrics(), **self.gate.metrics()} if self.judged else {}

    def forget_counts(self) -> None:
        """A step will be done again: what was counted in it would count twice."""
        self.critic.take_report()

    def state_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint: the gate and the pool."""
        return {"gate": self.gate.state_dict(), "pool": self.critic_gym.pool.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.gate.load_state_dict(state["gate"])
        self.critic_gym.pool.load_state_dict(state["pool"])

    def _can_be_asked(self, task: Task) -> bool:
        """Whether a pair's task is no longer than a prompt may be: what a run learns from must never end it."""
        (length,) = self._chat.prompt_lengths([task.prompt])
        return isinstance(length, int) and length <= self.config.rollout.max_prompt_tokens

    async def _generate(self, requests: Sequence[JudgeRequest]) -> Sequence[JudgeReply]:
        """The served policy as a judge: one request each (reward/judges/prompted.py)."""
        assert self._policy is not None, "the judge was asked while no engine serves"
        return [
            await reply_of(
                self._policy, self._chat, request, name=f"judge/{request.id}",
                context_length=self.config.model.context_length, shortened_by="judge.max_answer_chars",
            )
            for request in requests
        ]  # fmt: skip


def calibration_pairs(gym: CriticGym, num_pairs: int) -> list[VerifiedPair]:
    """Held-out pairs of a critic gym, spread evenly; its tasks come in twos, one for each order."""
    tasks = gym.tasks("heldout")
    num = min(num_pairs, len(tasks) // 2)
    chosen = [tasks[2 * (i * (len(tasks) // 2) // num)] for i in range(num)]
    return [
        VerifiedPair(id=t.data["id"], question=t.data["question"], right=t.data["right"], wrong=t.data["wrong"])
        for t in chosen
    ]
