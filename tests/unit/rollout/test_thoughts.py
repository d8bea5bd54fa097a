"""What counts of a response, by the marks of its model: as text, as special tokens, opened by the prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gyms.api import Tool, message
from rl.ptx import Conversation, PtxData, tokenise
from rollout.chat import ChatFormat
from rollout.thoughts import Thoughts
from rollout.types import FinishReason, Sample, Segment

TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
ASKS = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
CHANNELS = ["<|start|>", "<|channel|>", "<|message|>", "<|return|>", "<|call|>"]
SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|system|>", "[THINK]", "[/THINK]", *CHANNELS]
QWEN = TURNS + "{# <think></think> #}" + ASKS
DEEPSEEK = TURNS + ASKS.replace("assistant|>", "assistant|><think>\n")
MAGISTRAL = TURNS + "{# [THINK]{{ t }}[/THINK] #}" + ASKS
KIMI = TURNS + ASKS.replace("assistant|>", "assistant|>\u25c1think\u25b7")
GPT_OSS = TURNS + "{# <|channel|>analysis<|message|> <|channel|>final<|message|> #}" + ASKS
NO_THOUGHTS = TURNS + ASKS.replace("assistant|>", "assistant|><think>\n\n</think>\n\n")
ASKED = [message("user", "1+2?")]
EMOJI, HAN = "\U0001f600", "\u4e2d"
"""Characters of four and of three bytes."""
SMOLLM2 = Path(__file__).parents[3] / "models" / "smollm2-135m-instruct"
needs_smollm2 = pytest.mark.skipif(not (SMOLLM2 / "tokenizer.json").is_file(), reason="needs the model: `make model`")


def chat_of(folder: Path, template: str | None, **settings) -> ChatFormat:
    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ("<think>", "</think>")])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return ChatFormat(folder, use_template=template is not None, **settings)


def sampled(chat: ChatFormat, text: str, prompt=ASKED) -> Sample:
    """A response as an engine gives it: its text lacks special tokens."""
    ids = (*chat.tokenizer.encode(text, add_special_tokens=False), chat.end_token_id)
    segment = Segment(token_ids=ids, logprobs=(0.0,) * len(ids), weight_version=0, temperature=1.0)
    return Sample(
        id="s", prompt_ids=chat.prompt_ids(prompt), segments=(segment,), finish_reason=FinishReason.STOP,
        text=chat.decode(ids),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text", "answer"),
    [
        (QWEN, "<think>2?</think>\n3", "\n3"),
        (QWEN, "<think>2? so #### 3", None),
        (QWEN, "3", "3"),
        (QWEN, "as <thought> says, 3", "as <thought> says, 3"),
        (DEEPSEEK, "2?</think>3", "3"),
        (DEEPSEEK, "so it is 3", None),
        (DEEPSEEK, "<think>2?</think>3", "3"),
        (NO_THOUGHTS, "3", "3"),
        (KIMI, "2?\u25c1/think\u25b73", "3"),
        (KIMI, "3", None),
        (MAGISTRAL, "[THINK]2?[/THINK]3", "3"),
        (MAGISTRAL, "[THINK]2? so 3", None),
        (MAGISTRAL, "write <think>", "write <think>"),
        (GPT_OSS, "<|channel|>analysis<|message|>2?<|start|>assistant<|channel|>final<|message|>3", "3"),
        (GPT_OSS, "<|channel|>final<|message|>3<|start|>4", "34"),
        (GPT_OSS, "<|channel|>analysis<|message|>so it is 3", None),
        (GPT_OSS, "3", "3"),
        (TURNS + ASKS, "<think>2?</think>3", "3"),
        (TURNS + ASKS, "\u25c1think\u25b72?", None),
        (None, "[THINK]2?[/THINK]3", "3"),
    ],
)
def test_thoughts_are_cut_by_the_marks_of_the_model(tmp_path, template, text, answer):
    chat = chat_of(tmp_path, template)
    read = chat.read_response(sampled(chat, text))
    assert (read if read.is_closed else None) == answer
    assert read.whole == (text if "|>" in text or "THINK]" in text else chat.decode(sampled(chat, text).token_ids))


def test_a_config_may_name_other_marks_or_none(tmp_path):
    chat = chat_of(tmp_path, QWEN, thoughts=("<plan>", "</plan>"))
    assert chat.read_response(sampled(chat, "<plan>2</plan><think>3")) == "<think>3"
    chat = chat_of(tmp_path, QWEN, thoughts=())
    assert chat.read_response(sampled(chat, "<think>3")) == "<think>3"
    chat = chat_of(tmp_path, DEEPSEEK, thoughts=())
    assert chat.read_response(sampled(chat, "3")) == "3"


def test_a_bare_prompt_may_open_thoughts_and_a_user_who_speaks_of_them_does_not(tmp_path):
    chat = chat_of(tmp_path, None)
    opened = [message("user", "1+2?\nAssistant: <think> ")]
    assert not chat.read_response(sampled(chat, "3", opened)).is_closed
    assert chat.read_response(sampled(chat, "2?</think>3", opened)) == "3"
    chat = chat_of(tmp_path, QWEN)
    assert chat.read_response(sampled(chat, "3", [message("user", "What is <think>")])) == "3"


def test_a_turn_is_read_by_the_same_marks_and_a_call_in_thoughts_is_none(tmp_path):
    add = Tool(name="add", description="Adds.", parameters={"type": "object", "properties": {"a": {}}})
    call = '<tool_call>{"name": "add", "arguments": {"a": %d}}</tool_call>'
    chat = chat_of(tmp_path, DEEPSEEK, tool_format="hermes")
    turn = chat.read_turn(sampled(chat, f"{call % 1}</think>{call % 2}"), [add], number=0)
    assert [dict(found.arguments) for found in turn.calls] == [{"a": 2}]
    turn = chat.read_turn(sampled(chat, call % 1), [add], number=0)
    assert (turn.text, turn.calls) == ("", ())
    chat = chat_of(tmp_path, MAGISTRAL, tool_format="llama3_json")
    said = '[THINK]hm[/THINK]{"name": "add", "parameters": {"a": 3}}'
    assert [dict(found.arguments) for found in chat.read_turn(sampled(chat, said), [add], number=0).calls] == [{"a": 3}]


def test_curated_answers_close_the_thoughts_that_the_prompt_opens(tmp_path):
    conversation = Conversation([*ASKED, message("assistant", "3")])
    for template, expected in ((DEEPSEEK, "</think>\n\n3<|end|>"), (QWEN, "3<|end|>")):
        chat = chat_of(tmp_path, template)
        sample = tokenise(conversation, chat)
        assert chat.tokenizer.decode(sample.token_ids) == expected and all(sample.loss_mask)
        size = len(sample.prefix) + len(sample.token_ids)
        assert not PtxData([conversation], chat, max_tokens=size).problems([0])
        assert PtxData([conversation], chat, max_tokens=size - 1, rule="drop").problems([0])
    chat = chat_of(tmp_path, DEEPSEEK)
    own = tokenise([*ASKED, message("assistant", "2?</think>3")], chat)
    assert chat.tokenizer.decode(own.token_ids) == "2?</think>3<|end|>"


@pytest.mark.parametrize(
    ("template", "text", "stays"),
    [
        (QWEN, "<think>2?</think>\n\n3 and \u00e9", "3 and \u00e9"),
        (QWEN, "3", None),
        (QWEN, "<think>2? so 3", ""),
        (DEEPSEEK, "2?</think>3", "3"),
        (DEEPSEEK, "2?", ""),
        (MAGISTRAL, "[THINK]2?[/THINK]<|tool|>3", "<|tool|>3"),
        (QWEN, "<think>2?</think>", ""),
    ],
)
def test_what_stays_of_a_turn_without_its_thoughts_are_the_tokens_behind_them(tmp_path, template, text, stays):
    chat = chat_of(tmp_path, template)
    ids = sampled(chat, text).token_ids
    found = chat.thoughts.answer_ids(ids, begins_inside=template is DEEPSEEK)
    assert found == (None if stays is None else sampled(chat, stays).token_ids)
    assert found is None or found == ids[len(ids) - len(found) :], "they are the very tokens that were sampled"


def test_a_token_across_the_end_of_the_thoughts_is_cut_in_two(tmp_path):
    chat = chat_of(tmp_path, QWEN)
    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "\u010a\u010a", "\u010a\u010aA"]
    merges = [("\u010a", "\u010a"), ("\u010a\u010a", "A")]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ("<think>", "</think>")])
    thoughts = Thoughts(PreTrainedTokenizerFast(tokenizer_object=tokenizer), chat.thoughts.marks, ())
    ids = tokenizer.encode("<think>x</think>\n\nAbc").ids
    assert [tokenizer.id_to_token(i) for i in ids[-3:]] == ["\u010a\u010aA", "b", "c"]
    found = thoughts.answer_ids(ids, begins_inside=False)
    assert [tokenizer.id_to_token(i) for i in found or ()] == ["A", "b", "c"]


@pytest.mark.parametrize("first", [EMOJI, HAN, EMOJI * 3, f"{HAN}{EMOJI}"])
def test_an_answer_that_begins_with_a_character_of_several_tokens_stays_whole(tmp_path, first):
    """A token each for its bytes: inside of it, the tokens behind a place say as many characters as the answer has."""
    chat = chat_of(tmp_path, QWEN)
    for size in range(40):
        for thought in ("", "2?", f"2{EMOJI}{HAN}?" * 4):
            answer = f"{first}{'x' * size}"
            ids = sampled(chat, f"<think>{thought}</think>\n{answer}").token_ids
            assert chat.thoughts.answer_ids(ids, begins_inside=False) == sampled(chat, answer).token_ids


def test_what_is_cut_off_in_a_character_stays_as_it_was_sampled(tmp_path):
    chat = chat_of(tmp_path, QWEN)
    ids = sampled(chat, f"<think>2?</think>{EMOJI}").token_ids
    for num_cut in (1, 2, 3):
        found = chat.thoughts.answer_ids(ids[: -1 - num_cut], begins_inside=False)
        assert found == ids[-5 : -1 - num_cut], "some bytes of a character are no text, and the policy's all the same"


@needs_smollm2
@pytest.mark.parametrize("first", [EMOJI, "\U0001f9ff", "\u9f98"])
def test_the_answer_of_a_published_tokenizer_is_never_there_twice(first):
    chat = ChatFormat(SMOLLM2, use_template=True)
    assert len(chat.tokenizer.encode(first, add_special_tokens=False)) > 1, "one token shows nothing"
    for size in range(30):
        answer = first + " and so on" * size
        ids = sampled(chat, f"<think>2?</think>\n\n{answer}").token_ids
        found = chat.thoughts.answer_ids(ids, begins_inside=False)
        assert found is not None and chat.tokenizer.decode(found[:-1]) == answer
        assert found == ids[len(ids) - len(found) :]


@pytest.mark.parametrize("thought", ["x", EMOJI * 12, f"x{EMOJI * 9}x"])
@pytest.mark.parametrize("answer", [f" {EMOJI}{EMOJI}ok", f"{HAN}", " ok", f"o{EMOJI * 9}"])
def test_a_tokenizer_that_falls_back_to_bytes_is_cut_at_the_same_place(thought, answer):
    """SentencePiece's: a run of bytes that is cut inside of a character says none of its characters any more, and a
    space at the beginning of a text is not said."""
    pieces = ["<think>", "</think>", "\u2581", "x", "o", "k", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )

    def ids_of(text: str) -> list[int]:
        return [
            piece
            for sign in text.replace(" ", "\u2581")
            for piece in ([pieces.index(sign)] if sign in pieces else [6 + byte for byte in sign.encode()])
        ]

    thoughts = Thoughts(PreTrainedTokenizerFast(tokenizer_object=tokenizer), [("<think>", "</think>")], ())
    ids = [0, *ids_of(thought), 1, *ids_of(answer)]
    assert tokenizer.decode(ids, skip_special_tokens=False) == f"<think>{thought}</think>{answer}"
    assert thoughts.answer_ids(ids, begins_inside=False) == tuple(ids_of(answer))
