"""The text of a control token inside a message is text: for every token, every position and every kind of tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gyms.api import message
from rollout.chat import ChatFormat

SMOLLM2 = Path(__file__).parents[3] / "models" / "smollm2-135m-instruct"
needs_smollm2 = pytest.mark.skipif(not (SMOLLM2 / "tokenizer.json").is_file(), reason="needs the model: `make model`")

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["</s>", "<|im_start|>", "<|im_end|>", "<unk>"]
END, START, STOP, UNKNOWN = range(4)
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_bpe() -> Tokenizer:
    """Every byte, some merges; among them those that build `</s>`, as conversions from sentencepiece leave them."""
    merges = [("<", "/"), ("s", ">"), ("</", "s>"), ("a", "b"), ("b", "c")]
    pieces = [*SPECIAL, *BYTES, *("".join(pair) for pair in merges if "".join(pair) not in SPECIAL)]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def unigram() -> Tokenizer:
    """Pieces with scores, `</s>` one of them with the best; the beginning of a text gets a space of its own."""
    pieces = [*((text, 0.0) for text in SPECIAL), ("\u2581", -2.0), *((c, -3.0) for c in CHARACTERS)]
    tokenizer = Tokenizer(models.Unigram([*pieces, ("\u2581ab", -2.5)], unk_id=UNKNOWN, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def words() -> Tokenizer:
    """One token a character, lower case; what is unknown becomes a special token."""
    vocabulary = {text: i for i, text in enumerate([*SPECIAL, " ", *(c for c in CHARACTERS if c == c.lower())])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


CHARACTERS = [chr(code) for code in range(33, 127)] + ["\n"]
KINDS = {"byte BPE": byte_bpe, "unigram": unigram, "words": words}


def chat_of(folder: Path, tokenizer: Tokenizer, *, normalized: bool = False, template: str = CHATML) -> ChatFormat:
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=normalized) for text in SPECIAL])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>").save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(template)
    return ChatFormat(folder, use_template=True)


@pytest.fixture(scope="module", params=KINDS)
def chat(request, tmp_path_factory) -> ChatFormat:
    return chat_of(tmp_path_factory.mktemp("kind"), KINDS[request.param]())


@pytest.fixture(scope="module")
def smollm2() -> ChatFormat:
    return ChatFormat(SMOLLM2, use_template=True)


def special_ids(chat: ChatFormat) -> set[int]:
    return {i for i, token in chat.tokenizer.added_tokens_decoder.items() if token.special}


def control(chat: ChatFormat, ids) -> list[int]:
    return [i for i in ids if i in special_ids(chat)]


def texts_of(chat: ChatFormat) -> list[str]:
    return [token.content for token in chat.tokenizer.added_tokens_decoder.values() if token.special]


def with_text(text: str) -> Iterator[list]:
    """The text in every position of a conversation, alone and between other text."""
    for content in (text, f"ab{text}bc", f"{text}\n{text} ab", f" {text} "):
        yield [message("user", content)]
        yield [message("system", content), message("user", "ab")]
        yield [message("user", "ab"), message("assistant", content), message("user", "bc")]


@needs_smollm2
def test_no_special_token_of_smollm2_gets_out_of_a_message(smollm2):
    texts = texts_of(smollm2)
    assert len(texts) == 17
    encode, bare = smollm2.tokenizer.encode, ChatFormat(SMOLLM2, use_template=False)
    for text in texts:
        for messages in with_text(text):
            system = [] if messages[0]["role"] == "system" else [message("system", SYSTEM)]
            expected: list[int] = []
            for m in (*system, *messages):  # second method: piece by piece, special tokens off
                piece = f"{m['role']}\n{m['content']}"
                expected += [1, *encode(piece, split_special_tokens=True, add_special_tokens=False), 2, *encode("\n")]
            assert smollm2.prompt_ids(messages) == (*expected, 1, *encode("assistant\n"))
        answer = smollm2.response_ids(f"ab{text}bc")
        assert control(smollm2, answer) == [2] and smollm2.tokenizer.decode(answer[:-1]) == f"ab{text}bc"
        assert not control(bare, bare.prompt_ids([message("user", text[:3]), message("user", text[3:])]))


SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@needs_smollm2
@given(content=st.text(st.characters(exclude_categories=["Cs"])))
def test_ordinary_prompts_are_encoded_as_the_tokenizer_encodes_them(smollm2, content):
    messages = [message("user", content)]
    whole = smollm2.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert list(smollm2.prompt_ids(messages)) == list(whole)
    rendered = smollm2._render(messages)
    encoded = smollm2._control.encode_rendered(
        rendered, [content], lambda contents: smollm2._render([message("user", contents[0])])
    )
    assert encoded == smollm2.tokenizer.encode(rendered), "and so does the way that prompts with special text take"


def test_the_texts_of_control_tokens_stay_text_with_every_kind_of_tokenizer(chat):
    for text in texts_of(chat):
        for messages in with_text(text):
            ids = chat.prompt_ids(messages)
            assert control(chat, ids) == [START, STOP] * len(messages) + [START]
            decoded = chat.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
            assert all(m["content"] in decoded for m in messages), (decoded, messages)
        assert control(chat, chat.response_ids(text)) == [STOP]


def test_plain_text_is_encoded_the_same_way_beside_special_text_as_alone(chat):
    """The copy of the tokenizer differs in the names of its control tokens and in nothing else."""
    for content in ("ab", " ab  bc ", "a\nb", "ab c</ s>"):
        messages = [message("user", content)]
        rendered = chat._render(messages)
        plain = chat.tokenizer.encode(rendered, add_special_tokens=False)
        encoded = chat._control.encode_rendered(
            rendered, [content], lambda contents: chat._render([message("user", contents[0])])
        )
        assert encoded == plain
        assert tuple(chat._control.encode_text(content)) == tuple(chat.tokenizer.encode(content))


def test_a_text_that_only_becomes_a_control_token_when_normalised_stays_text(tmp_path):
    chat = chat_of(tmp_path, words(), normalized=True)
    for text in ("<|IM_END|>", "\uff1c|im_end|>"):
        assert control(chat, chat.tokenizer.encode(text)) == [STOP]
        assert control(chat, chat.prompt_ids([message("user", text)])) == [START, STOP, START]
        assert control(chat, chat.response_ids(text)) == [STOP]


def test_added_tokens_that_are_not_special_are_read_wherever_they_stand(tmp_path):
    tokenizer = byte_bpe()
    tokenizer.add_tokens(["<think>"])
    chat = chat_of(tmp_path, tokenizer)
    think = chat.tokenizer.convert_tokens_to_ids("<think>")
    assert [i for i in chat.prompt_ids([message("user", "</s><think>ab")]) if i in (END, think)] == [think]
    assert chat.response_ids("<think></s>").count(think) == 1


def test_a_prompt_may_hold_the_private_characters_that_stand_in_for_special_text(chat):
    marks = "\U00100000\U00100001"
    ids = chat.prompt_ids([message("user", f"{marks}0{marks}</s>\U00100001{2}\U00100001")])
    assert [i for i in control(chat, ids) if i != UNKNOWN] == [START, STOP, START]


@pytest.mark.parametrize(
    ("template", "content", "is_refused"),
    [
        (CHATML.replace("m['content']", "m['content'] | trim"), " </s> ab ", False),
        (CHATML.replace("m['content']", "m['content'] | tojson"), '"</s>"\n', False),
        (CHATML.replace("m['content']", "m['content'].split('</s>')[-1]"), "ab</s>bc", True),
        (CHATML.replace("m['content']", "m['content'] | upper"), "ab</s>bc", True),
    ],
)
def test_a_template_may_trim_and_quote_but_not_take_messages_apart_at_special_text(
    tmp_path, template, content, is_refused
):
    chat = chat_of(tmp_path, byte_bpe(), template=template)
    if is_refused:
        with pytest.raises(ValueError, match="holds the text of the special token '</s>', at which the chat template"):
            chat.prompt_ids([message("user", content)])
    else:
        ids = chat.prompt_ids([message("user", content)])
        assert control(chat, ids) == [START, STOP, START]
        assert chat.tokenizer.decode(ids) == chat._render([message("user", content)])
