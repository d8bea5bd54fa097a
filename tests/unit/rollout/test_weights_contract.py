"""The wire: what the sender builds, the receiver hands out unchanged; anything else is refused before it is used."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from rollout.weights.contract import ALIGNMENT, DTYPES, TensorSpec, WeightArtefact, WeightsRefused
from rollout.weights.receiver import expected_from_folder, tensors, validate
from rollout.weights.sender import build_artefact


def some_tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight_packed": torch.randint(-(2**31), 2**31 - 1, (3, 4), generator=generator, dtype=torch.int32),
        "a.weight_scale": torch.rand(3, 1, generator=generator).to(torch.bfloat16),
        "a.weight_shape": torch.tensor([3, 32]),
        "norm.weight": torch.randn(5, generator=generator).to(torch.bfloat16),
    }


def expected_of(named):
    return {n: TensorSpec(dtype=str(t.dtype).removeprefix("torch."), shape=tuple(t.shape)) for n, t in named.items()}


def with_entry(artefact, index, **changes):
    entries = list(artefact.manifest.entries)
    entries[index] = replace(entries[index], **changes)
    return replace(artefact, manifest=replace(artefact.manifest, entries=tuple(entries)))


def with_bytes(artefact, offset, values, *, is_checksum_fixed=False):
    """A copy of the artefact with some bytes overwritten."""
    buffer = artefact.buffer.copy()
    buffer[offset : offset + len(values)] = values
    artefact = replace(artefact, buffer=buffer)
    if is_checksum_fixed:
        for i, entry in enumerate(artefact.manifest.entries):
            checksum = xxhash.xxh3_64_intdigest(buffer[entry.offset : entry.offset + entry.nbytes])
            artefact = with_entry(artefact, i, checksum=checksum)
    return artefact


@st.composite
def named_tensors(draw):
    named = {}
    for i in range(draw(st.integers(0, 6))):
        dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
        shape = draw(st.lists(st.integers(1, 7), max_size=3))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
        tensor = torch.randint(0, 100, shape, generator=generator).to(dtype)
        named[f"t{i}"] = tensor.transpose(0, -1) if tensor.ndim > 1 and draw(st.booleans()) else tensor
    return named


@settings(deadline=None)
@given(named_tensors(), st.integers(0, 10))
def test_tensors_arrive_as_they_were_sent(named, version):
    artefact = build_artefact(named.items(), version)
    validate(artefact, expected_of(named))
    received = dict(tensors(artefact))
    assert list(received) == list(named) and artefact.manifest.version == version
    for name, tensor in named.items():
        assert received[name].dtype == tensor.dtype and torch.equal(received[name], tensor)
    assert all(entry.offset % ALIGNMENT == 0 for entry in artefact.manifest.entries)


def test_the_layout_by_hand():
    artefact = build_artefact([("a", torch.ones(3, dtype=torch.int32)), ("b", torch.ones(40, dtype=torch.bfloat16))], 1)
    (a, b) = artefact.manifest.entries
    assert (a.offset, a.nbytes, a.shape, a.dtype) == (0, 12, (3,), "int32")
    assert (b.offset, b.nbytes, b.shape, b.dtype) == (64, 80, (40,), "bfloat16")
    assert artefact.manifest.total_bytes == len(artefact.buffer) == 192
    assert artefact.buffer[:12].tolist() == [1, 0, 0, 0] * 3 and not artefact.buffer[12:64].any()
    assert artefact.buffer[64:66].tolist() == [0x80, 0x3F]
    assert a.checksum == xxhash.xxh3_64_intdigest(bytes([1, 0, 0, 0] * 3))


def test_the_same_tensors_give_the_same_bytes():
    first, second = (build_artefact(some_tensors().items(), 3) for _ in range(2))
    assert first.manifest == second.manifest and np.array_equal(first.buffer, second.buffer)


def test_the_buffer_is_read_only_and_owns_its_bytes():
    named = some_tensors()
    artefact = build_artefact(named.items(), 1)
    named["norm.weight"].zero_()
    assert dict(tensors(artefact))["norm.weight"].any()
    with pytest.raises(ValueError, match="read-only"):
        artefact.buffer[0] = 1


def test_the_tensors_are_views_of_the_buffer_and_outlive_the_artefact():
    artefact = build_artefact(some_tensors().items(), 1)
    start = artefact.buffer.ctypes.data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        received = dict(tensors(artefact))
    for entry in artefact.manifest.entries:
        assert received[entry.name].data_ptr() == start + entry.offset
    del artefact
    assert torch.equal(received["a.weight_packed"], some_tensors()["a.weight_packed"])


def test_pickle_hands_the_bytes_over_out_of_band():
    artefact = build_artefact(some_tensors().items(), 1)
    buffers = []
    data = pickle.dumps(artefact, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 1 and memoryview(buffers[0]).nbytes == artefact.manifest.total_bytes
    received = pickle.loads(data, buffers=buffers)
    assert isinstance(received, WeightArtefact) and not received.buffer.flags.writeable
    assert received.buffer.ctypes.data == artefact.buffer.ctypes.data
    validate(received, expected_of(some_tensors()))


def test_what_cannot_travel_is_refused_by_the_sender():
    with pytest.raises(ValueError, match="two tensors are named 'a'"):
        build_artefact([("a", torch.ones(1)), ("a", torch.ones(1))], 1)
    with pytest.raises(ValueError, match=r"a is empty: \(0, 3\)"):
        build_artefact([("a", torch.ones(0, 3))], 1)
    with pytest.raises(ValueError, match=r"a is torch\.complex64"):
        build_artefact([("a", torch.ones(1, dtype=torch.complex64))], 1)


def test_missing_extra_and_repeated_tensors_are_refused_by_name():
    named = some_tensors()
    expected = expected_of(named)
    without = build_artefact([item for item in named.items() if item[0] != "a.weight_scale"], 7)
    with pytest.raises(WeightsRefused, match=r"version 7: missing.*1 tensors: a\.weight_scale"):
        validate(without, expected)
    with pytest.raises(WeightsRefused, match=r"version 7: unknown to the engine, 1 tensors: b\.weight"):
        validate(build_artefact((named | {"b.weight": torch.ones(2)}).items(), 7), expected)
    whole = build_artefact(named.items(), 7)
    entries = (*whole.manifest.entries, whole.manifest.entries[0])
    twice = replace(whole, manifest=replace(whole.manifest, entries=entries))
    with pytest.raises(WeightsRefused, match=r"there twice, 1 tensors: a\.weight_packed"):
        validate(twice, expected)


def test_a_long_list_of_names_is_counted_and_cut():
    named = {f"t{i}": torch.ones(1) for i in range(9)}
    with pytest.raises(WeightsRefused, match=r"9 tensors: t0, t1, t2, t3, t4, and 4 more"):
        validate(build_artefact([], 1), expected_of(named))


def test_wrong_shapes_and_dtypes_are_refused_with_what_was_wanted():
    named = some_tensors()
    artefact = build_artefact(named.items(), 7)
    transposed = named | {"a.weight_packed": named["a.weight_packed"].T}
    with pytest.raises(WeightsRefused, match=r"a wrong shape.*a\.weight_packed is \(3, 4\), want \(4, 3\)"):
        validate(artefact, expected_of(transposed))
    half = named | {"norm.weight": named["norm.weight"].half()}
    with pytest.raises(WeightsRefused, match=r"a wrong dtype.*norm\.weight is bfloat16, want float16"):
        validate(artefact, expected_of(half))


@settings(deadline=None)
@given(st.integers(0, 3), st.data())
def test_one_flipped_bit_in_any_tensor_is_refused(index, data):
    artefact = build_artefact(some_tensors().items(), 7)
    entry = artefact.manifest.entries[index]
    offset = entry.offset + data.draw(st.integers(0, entry.nbytes - 1))
    flipped = artefact.buffer[offset] ^ (1 << data.draw(st.integers(0, 7)))
    with pytest.raises(WeightsRefused, match=f"version 7: a wrong checksum.*1 tensors: {entry.name}"):
        validate(with_bytes(artefact, offset, [flipped]), expected_of(some_tensors()))


@pytest.mark.parametrize("bad_bytes", [[0xC0, 0x7F], [0x80, 0x7F], [0x80, 0xFF]], ids=["nan", "inf", "-inf"])
@pytest.mark.parametrize(("name", "index"), [("a.weight_scale", 1), ("norm.weight", 3)])
def test_nan_and_infinity_are_refused_even_with_a_right_checksum(bad_bytes, name, index):
    artefact = build_artefact(some_tensors().items(), 7)
    offset = artefact.manifest.entries[index].offset + 4
    damaged = with_bytes(artefact, offset, bad_bytes, is_checksum_fixed=True)
    with pytest.raises(WeightsRefused, match=rf"NaN or infinity, 1 tensors: {name}"):
        validate(damaged, expected_of(some_tensors()))


def test_a_layout_that_does_not_fit_the_buffer_is_refused():
    artefact = build_artefact(some_tensors().items(), 7)
    expected = expected_of(some_tensors())
    with pytest.raises(WeightsRefused, match=r"overlapping bytes, 2 tensors: a\.weight_packed, a\.weight_scale"):
        validate(with_entry(artefact, 1, offset=32), expected)
    with pytest.raises(WeightsRefused, match=r"outside the buffer.*norm\.weight"):
        validate(with_entry(artefact, 3, offset=artefact.manifest.total_bytes), expected)
    with pytest.raises(WeightsRefused, match=r"outside the buffer or not aligned.*norm\.weight"):
        validate(with_entry(artefact, 3, offset=artefact.manifest.entries[3].offset + 1), expected)
    with pytest.raises(WeightsRefused, match=r"overlapping|outside"):
        validate(with_entry(artefact, 0, offset=-64), expected)
    with pytest.raises(WeightsRefused, match=r"does not fit the shape.*a\.weight_shape"):
        validate(with_entry(artefact, 2, nbytes=8), expected)
    with pytest.raises(WeightsRefused, match=r"version 7: the buffer is uint8 \(192,\).*256 bytes"):
        validate(replace(artefact, buffer=artefact.buffer[:192]), expected)


def test_only_a_newer_version_is_taken_unless_a_repeat_is_asked_for():
    artefact = build_artefact(some_tensors().items(), 7)
    expected = expected_of(some_tensors())
    validate(artefact, expected, current_version=None)
    validate(artefact, expected, current_version=6)
    for served in (7, 8):
        with pytest.raises(WeightsRefused, match=f"version 7 is not newer than version {served}"):
            validate(artefact, expected, current_version=served)
        validate(artefact, expected, current_version=served, is_repeat_allowed=True)


def test_a_refusal_is_a_value_error_that_survives_pickling():
    assert issubclass(WeightsRefused, ValueError)
    assert str(pickle.loads(pickle.dumps(WeightsRefused("version 3")))) == "version 3"


def test_the_expectation_is_read_from_the_headers_of_a_folder(tmp_path):
    named = some_tensors()
    names = list(named)
    save_file({name: named[name] for name in names[:2]}, tmp_path / "model-1.safetensors", metadata={"format": "pt"})
    save_file({name: named[name] for name in names[2:]}, tmp_path / "model-2.safetensors")
    assert expected_from_folder(tmp_path) == expected_of(named)
    validate(build_artefact(named.items(), 1), expected_from_folder(tmp_path))


def test_a_folder_without_weights_or_with_unknown_dtypes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no \*\.safetensors"):
        expected_from_folder(tmp_path)
    save_file({"a": torch.ones(2, dtype=torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="a is F8_E4M3; want"):
        expected_from_folder(tmp_path)
