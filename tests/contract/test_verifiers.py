"""`verifiers:<environment>` with the package's own environments: one turn, many, tools, and tools with a state."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("verifiers", reason="the package `verifiers` is not installed")

from gyms.adapters.verifiers import _HANDLED
from gyms.api import Call, Environment, Episode, Gym, Reply, ServiceFailed, Status, Task, Turn
from gyms.episodes.episode import unanswered
from gyms.load import load_gym

ENVIRONMENTS = '''
import asyncio
import json

import verifiers as vf
from datasets import Dataset

CLOSED = []


def rows(*questions):
    return Dataset.from_list([{"question": q, "answer": a} for q, a in questions])


class Guessing(vf.MultiTurnEnv):
    async def env_response(self, messages, state, **kwargs):
        said, secret = messages[-1].content.strip(), state["answer"]
        if said == "broken":
            raise vf.SandboxError("no box")
        if said == "unanswered":
            raise vf.Error("no sense")
        if said == "refused":
            raise ConnectionRefusedError("no port")
        if said == "late":
            self.mark_timed_out(state)
            state["final_env_response"] = [{"role": "user", "content": "too late"}]
            return []
        if said == secret:
            state["final_env_response"] = [{"role": "user", "content": "right"}]
            return []
        return [{"role": "user", "content": "no"}]

    @vf.cleanup
    async def closed(self, state):
        await asyncio.sleep(0.2)
        CLOSED.append(len(state["trajectory"]))


class Forgetful(Guessing):
    async def get_prompt_messages(self, state):
        found = await super().get_prompt_messages(state)
        return found if len(found) < 3 else [*state["prompt"], found[-1]]


async def add(a: int, b: int) -> int:
    """Adds two whole numbers.

    Args:
        a: the first.
        b: the second.
    """
    return a + b


class Counter(vf.StatefulToolEnv):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_tool(self.count, args_to_skip=["box"])

    async def setup_state(self, state):
        state["box"] = []

    def update_tool_args(self, tool_name, tool_args, messages, state, **kwargs):
        return {**tool_args, "box": state["box"]}

    async def count(self, step: int, box: list) -> str:
        """Counts on."""
        box.append(step)
        return str(sum(box))


def right(completion, answer):
    return float(completion[-1]["content"].strip() == answer)


def guessed(completion, answer):
    return float(any(m["role"] == "assistant" and m["content"].strip() == answer for m in completion))


async def brief(completion, **kwargs):
    return float(len(completion[-1]["content"]) < 10)


def odd(completion, answer):
    raise KeyError("no such thing")


def unknown(completion, answer):
    return float("nan")


def boundless(completion, answer):
    return float("inf")


async def boxed(completion, answer):
    raise vf.SandboxError("no box")


def counted(state, answer):
    return float(sum(state["box"]) == int(answer))


def load_environment(kind="one", **kwargs):
    data = rows(("3 + 4?", "7"), ("4 + 5?", "9"))
    facts = {"dataset": data, "eval_dataset": rows(("1 + 1?", "2"))}
    if kind == "one":
        return vf.SingleTurnEnv(**facts, rubric=vf.Rubric(funcs=[right, brief], weights=[3.0, 1.0]))
    if kind in ("odd", "unknown", "boundless", "boxed"):
        return vf.SingleTurnEnv(**facts, rubric=vf.Rubric(funcs=[globals()[kind]]))
    if kind == "hasty":
        return Guessing(**facts, max_turns=4, timeout_seconds=0.05, rubric=vf.Rubric(funcs=[guessed]))
    if kind == "many":
        return Guessing(**facts, max_turns=4, system_prompt="Guess.", rubric=vf.Rubric(funcs=[guessed]))
    if kind == "forgetful":
        return Forgetful(**facts, max_turns=4, rubric=vf.Rubric(funcs=[guessed]))
    if kind == "group":
        return vf.EnvGroup(envs=[load_environment("one"), load_environment("many")], env_names=["one", "many"])
    if kind == "told":
        tool = {"name": "add", "description": "This task's.", "parameters": {"type": "object", "properties": {}}}
        info = json.dumps({"tool_defs": [tool]})
        data = Dataset.from_list([{"question": "3 + 4?", "answer": "7", "info": info}])
        return vf.ToolEnv(**{**facts, "dataset": data}, tools=[add], rubric=vf.Rubric(funcs=[right]))
    if kind == "tools":
        return vf.ToolEnv(**facts, tools=[add], max_turns=5, rubric=vf.Rubric(funcs=[right]))
    return Counter(**facts, max_turns=5, rubric=vf.Rubric(funcs=[counted]))
'''


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verifiers")
    (folder / "k2rl_probe.py").write_text(ENVIRONMENTS)
    return folder


@pytest.fixture
def gym_of(module: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(module))
    return lambda kind: load_gym("v", "verifiers:k2rl_probe", {"env_args": {"kind": kind}})


def begun(gym: Gym) -> tuple[Task, Episode]:
    task = gym.tasks("train")[0]
    return task, gym.start(task, seed=0)


def call(number: int, tool: str, **arguments: object) -> Turn:
    return Turn(text="", calls=(Call(id=f"call_{number}", tool=tool, arguments=arguments),))


def texts(reply: Reply) -> list[str]:
    return [said["content"] for said in reply.messages]


def test_a_single_turn_is_scored_by_the_weighted_rubric(gym_of) -> None:
    gym = gym_of("one")
    assert isinstance(gym, Environment) and gym.max_turns == 1
    task = gym.tasks("train")[0]
    assert task.prompt == ({"role": "user", "content": "3 + 4?"},) and len(gym.tasks("heldout")) == 1
    assert gym.score(task, "7").value == 1.0 and gym.score(task, "8").value == 0.25
    found = gym.score(task, "it is eight, I think")
    assert found.value == 0.0 and found.components == {"right": 0.0, "brief": 0.0, "num_turns": 1.0}


def test_an_environment_answers_until_it_ends_the_episode(gym_of) -> None:
    gym = gym_of("many")
    task, episode = begun(gym)
    assert [said["role"] for said in task.prompt] == ["system", "user"]
    assert episode.score().status is Status.NO_ANSWER
    assert episode.step(Turn(text="5")) == Reply(messages=({"role": "user", "content": "no"},))
    assert episode.score().value == 0.0, "asked in its middle, it changes nothing"
    last = episode.step(Turn(text="7"))
    assert last.is_done and texts(last) == ["right"]
    assert episode.score().value == 1.0 and episode.score().components["num_turns"] == 2.0
    episode.close()


def test_its_own_limit_of_turns_ends_it(gym_of) -> None:
    gym = gym_of("many")
    _, episode = begun(gym)
    assert gym.max_turns == 4
    assert [episode.step(Turn(text="5")).is_done for _ in range(4)] == [False, False, False, True]
    assert episode.score().value == 0.0
    episode.close()


def test_tools_are_shown_called_and_answered_and_an_unreadable_call_is_told(gym_of) -> None:
    gym = gym_of("tools")
    task, episode = begun(gym)
    (add,) = gym.tools(task)
    assert add.name == "add" and add.parameters["required"] == ["a", "b"] and "Adds two" in add.description
    assert texts(episode.step(call(0, "add", a=3, b=4))) == ["7"]
    broken = Call(id="call_2", tool="no_such", arguments=None, problem="")
    both = Turn(text="", calls=(broken, Call(id="call_1", tool="add", arguments={"a": 1, "b": 1})))
    reply = episode.step(both)
    assert unanswered(both, reply) == "" and sorted(texts(reply))[0] == "2"
    assert "there is no tool 'no_such'" in texts(episode.step(Turn(text="", calls=(broken,))))[0]
    assert "missing" in texts(episode.step(call(3, "add", a=1)))[0]
    assert episode.step(Turn(text="7")) == Reply(is_done=True)
    found = episode.score()
    assert found.value == 1.0 and found.components["total_tool_calls"] == 3.0
    episode.close()


def test_tools_that_a_task_brings_as_text_are_shown(gym_of) -> None:
    gym = gym_of("told")
    task, episode = begun(gym)
    assert [tool.description for tool in gym.tools(task)] == ["This task's."]
    assert texts(episode.step(call(0, "add", a=3, b=4))) == ["7"]
    episode.close()


def test_a_group_of_environments_is_refused_before_anything_is_played(gym_of) -> None:
    with pytest.raises(ValueError, match=r"is a group of environments.*give each of them as a gym of its own"):
        gym_of("group")


def test_a_state_that_tools_work_on_is_the_episodes_own(gym_of) -> None:
    gym = gym_of("stateful")
    task, first = begun(gym)
    second = gym.start(gym.tasks("train")[1], seed=0)
    (count,) = gym.tools(task)
    assert list(count.parameters["properties"]) == ["step"]
    assert texts(first.step(call(0, "count", step=3))) == ["3"] and texts(second.step(call(0, "count", step=9))) == [
        "9"
    ]
    assert texts(first.step(call(1, "count", step=4))) == ["7"]
    assert [episode.step(Turn(text="done")).is_done for episode in (first, second)] == [True, True]
    assert [episode.score().value for episode in (first, second)] == [1.0, 1.0]
    first.close()
    second.close()


def test_faults_of_the_environment_or_its_rubric_raise_and_are_not_scored_zero(gym_of) -> None:
    odd = gym_of("odd")
    with pytest.raises(KeyError):
        odd.score(odd.tasks("train")[0], "7")
    for kind in ("unknown", "boundless"):
        gym = gym_of(kind)
        with pytest.raises(ValueError, match=f"the function {kind} gave (nan|inf), expected a finite number"):
            gym.score(gym.tasks("train")[0], "7")
    _, episode = begun(gym_of("many"))
    assert episode.step(Turn(text="unanswered")).is_done
    with pytest.raises(RuntimeError, match="no sense") as found:
        episode.score()
    assert not isinstance(found.value, ServiceFailed)
    episode.close()
    _, forgetful = begun(gym_of("forgetful"))
    with pytest.raises(ValueError, match="rewrites what was said before"):
        forgetful.step(Turn(text="5"))
    forgetful.close()


@pytest.mark.parametrize(("text", "told"), [("broken", "SandboxError"), ("late", "for the time that it took")])
def test_what_fails_below_an_environment_or_counts_our_time_is_no_fault_of_the_model(
    gym_of, text: str, told: str
) -> None:
    _, episode = begun(gym_of("many"))
    assert episode.step(Turn(text=text)).is_done
    with pytest.raises(ServiceFailed, match=told):
        episode.score()
    episode.close()


def test_a_connection_or_a_box_that_fails_is_a_service_that_failed(gym_of) -> None:
    _, episode = begun(gym_of("many"))
    with pytest.raises(ServiceFailed, match="ConnectionRefusedError: no port"):
        episode.step(Turn(text="refused"))
    episode.close()
    boxed = gym_of("boxed")
    with pytest.raises(ServiceFailed, match="no box"):
        boxed.score(boxed.tasks("train")[0], "7")


def test_the_time_that_the_policy_takes_does_not_end_an_episode(gym_of) -> None:
    _, episode = begun(gym_of("hasty"))
    time.sleep(0.5)  # ten times what its environment grants a rollout
    assert texts(episode.step(Turn(text="5"))) == ["no"]
    assert episode.step(Turn(text="7")).is_done and episode.score().value == 1.0
    episode.close()


def test_closing_in_the_middle_cleans_up_and_leaves_ctrl_c_to_the_run(gym_of) -> None:
    before = [signal.getsignal(number) for number in _HANDLED]
    _, episode = begun(gym_of("many"))
    assert [signal.getsignal(number) for number in _HANDLED] == before
    episode.step(Turn(text="5"))
    import k2rl_probe

    num = len(k2rl_probe.CLOSED)
    episode.close()
    assert k2rl_probe.CLOSED[num:] == [1]
