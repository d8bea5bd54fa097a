"""A second copy of an artefact, lent from process to process: the way a GPU's takes, up to the call of CUDA."""

from __future__ import annotations

import inspect
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import rebuild_cuda_tensor

from rollout.weights import device_copy
from rollout.weights.contract import WeightArtefact
from rollout.weights.device_copy import _COUNTER, _DEVICE, DeviceCopy, Lender, borrow, objection, word_sum
from rollout.weights.receiver import flat_bytes
from rollout.weights.sender import build_artefact

HOST = torch.device("cpu")
READER = """
import pickle, sys
from rollout.weights.device_copy import borrow
from rollout.weights.receiver import tensors
copy, artefact = pickle.load(open(sys.argv[1], "rb"))
for file in map(str.strip, sys.stdin):
    loan = borrow(copy, artefact.manifest, kind="cpu")
    found = None if loan is None else {name: tensor.clone() for name, tensor in tensors(artefact, loan.flat)}
    with open(file, "wb") as out:
        pickle.dump(found, out)
    print("read", flush=True)
"""
"""Another process, which this one has not started through torch: an engine's. It reads anew for each line on stdin."""


@pytest.fixture(autouse=True)
def names_in_shared_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A descriptor, which is torch's way by default, goes to children alone; an IPC handle and a name go anywhere."""
    monkeypatch.setenv("TMPDIR", "/tmp")  # the socket of torch's manager of names does not fit below a long one
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy("file_system")
    yield
    torch.multiprocessing.set_sharing_strategy(before)


def some_tensors() -> list[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        ("a.weight_packed", torch.randint(-(2**31), 2**31 - 1, (48, 40), generator=generator, dtype=torch.int32)),
        ("a.weight_scale", torch.rand(10, 48, generator=generator).to(torch.bfloat16).t()),
        ("a.weight_shape", torch.tensor([48, 320])),
        ("norm.weight", torch.randn(5, generator=generator).to(torch.bfloat16)),
        ("scalar", torch.tensor(2.5)),
    ]


def lent(version: int = 3) -> tuple[Lender, WeightArtefact, DeviceCopy]:
    lender = Lender()
    artefact = lender.publish(some_tensors(), version, HOST)
    assert lender.copy is not None
    return lender, artefact, lender.copy


@contextmanager
def read_elsewhere(
    copy: DeviceCopy, artefact: WeightArtefact, folder: Path
) -> Iterator[Callable[[], dict[str, torch.Tensor] | None]]:
    """What another process makes of a copy, at each call; None: it does not take it."""
    given, found = folder / "given", folder / "found"
    given.write_bytes(pickle.dumps((copy, artefact)))
    command = [sys.executable, "-c", READER, given]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None and reader.stdout is not None

        def read() -> dict[str, torch.Tensor] | None:
            print(found, file=reader.stdin, flush=True)
            assert reader.stdout.readline() == "read\n"
            return pickle.loads(found.read_bytes())

        yield read


def plain_sum(words: np.ndarray) -> int:
    """As the docstring of `word_sum` has it, in numbers of any length."""
    total = sum((2 * i + 1) * int(word) for i, word in enumerate(words)) % 2**64
    return total - 2**64 if total >= 2**63 else total


@pytest.mark.parametrize("num_words", [1, 7, 1000])
def test_the_sum_of_words_is_a_plain_sum_that_wraps_around(num_words: int) -> None:
    words = np.random.default_rng(num_words).integers(-(2**63), 2**63 - 1, num_words, dtype=np.int64)
    assert word_sum(torch.from_numpy(words).view(torch.uint8)) == plain_sum(words)


def test_words_behind_the_first_piece_count_with_their_place_in_the_whole() -> None:
    words = np.zeros((1 << 22) + 3, dtype=np.int64)
    words[[0, (1 << 22) - 1, 1 << 22, (1 << 22) + 2]] = (3, -5, 2**62, 11)
    wanted = (3 - 5 * (2**23 - 1) + 2**62 * (2**23 + 1) + 11 * (2**23 + 5)) % 2**64
    assert word_sum(torch.from_numpy(words).view(torch.uint8)) % 2**64 == wanted


def test_any_bit_that_flips_and_any_two_words_that_change_places_change_the_sum() -> None:
    flat = torch.from_numpy(np.random.default_rng(0).integers(0, 256, 512, dtype=np.uint8))
    right = word_sum(flat)
    for place in range(0, 512, 7):
        for bit in range(8):
            flat[place] ^= 1 << bit
            assert word_sum(flat) != right
            flat[place] ^= 1 << bit
    words = flat.view(torch.int64)
    for i in range(1, len(words)):
        words[[0, i]] = words[[i, 0]]
        assert word_sum(flat) != right
        words[[0, i]] = words[[i, 0]]
    assert word_sum(flat) == right


def test_an_artefact_that_has_a_copy_is_the_one_that_is_built_without() -> None:
    _, artefact, copy = lent()
    plain = build_artefact(some_tensors(), 3)
    assert artefact.manifest == plain.manifest and artefact.buffer.tobytes() == plain.buffer.tobytes()
    assert copy.checksum == plain_sum(plain.buffer.view(np.int64))


def test_another_process_reads_the_lenders_memory_and_finds_every_bit(tmp_path: Path) -> None:
    lender, artefact, copy = lent()
    with read_elsewhere(copy, artefact, tmp_path) as read:
        found = read()
        assert found is not None and list(found) == [name for name, _ in some_tensors()]
        for name, tensor in some_tensors():
            assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
        assert lender._flat is not None
        lender._flat[77] ^= 1  # it is the same memory, so this is damage on the way
        assert read() is None


def test_a_copy_is_taken_on_its_own_device_and_for_its_own_manifest_alone() -> None:
    _, artefact, copy = lent()
    assert objection(copy, artefact.manifest, device="cpu") is None
    assert objection(copy, artefact.manifest, device="GPU-1") == "the copy is on cpu, the engine on GPU-1"
    entries = list(artefact.manifest.entries)
    entries[1] = replace(entries[1], checksum=entries[1].checksum ^ 1)
    others = (
        replace(artefact.manifest, entries=tuple(entries)),
        replace(artefact.manifest, entries=artefact.manifest.entries[1:]),
        build_artefact(some_tensors(), 4).manifest,
    )
    for other in others:
        assert objection(copy, other, device="cpu") == "the copy is one of other weights"
        assert borrow(copy, other, kind="cpu") is None


def test_why_a_copy_is_not_taken_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    device_copy._told.clear()
    _, artefact, copy = lent()
    elsewhere = replace(copy, device="GPU-told-once")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert borrow(elsewhere, artefact.manifest, kind="cpu") is None
    assert [record.getMessage() for record in caplog.records] == [
        "packed weights come from host memory, not from the learner's device: the copy is on GPU-told-once, the engine "
        "on cpu"
    ]


def test_memory_that_cannot_be_opened_is_no_fault() -> None:
    _, artefact, copy = lent()
    gone = replace(copy, memory=copy.memory.replace(b"/torch_", b"/gone__"))
    assert gone.memory != copy.memory and borrow(gone, artefact.manifest, kind="cpu") is None


def test_a_loan_that_is_closed_keeps_nothing_and_the_next_version_takes_the_place_of_the_last() -> None:
    lender, artefact, copy = lent()
    loan = borrow(copy, artefact.manifest, kind="cpu")
    assert loan is not None and loan.flat is not None and torch.equal(loan.flat, flat_bytes(artefact))
    loan.close()
    assert loan.flat is None
    lender.publish(some_tensors(), 4, HOST)
    assert lender.copy is not None and lender.copy.memory != copy.memory
    lender.take_back()
    assert lender.copy is None


def test_what_is_used_of_torchs_own_lies_where_it_is_looked_for() -> None:
    """No CPU runs it: a torch that moves it must be seen here, and not on the first GPU."""
    names = list(inspect.signature(rebuild_cuda_tensor).parameters)
    assert names[_DEVICE] == "storage_device" and names[_COUNTER] == ["ref_counter_handle", "ref_counter_offset"]
    assert callable(torch.UntypedStorage._release_ipc_counter_cuda)
    assert callable(torch._C._accelerator_setAllocatorSettings)
