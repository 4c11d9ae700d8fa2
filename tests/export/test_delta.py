"""The stored difference of two state dicts: what is kept, how exactly, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.delta import apply_delta, encode_delta
from services.errors import ArtifactError

seeds = st.integers(0, 2**32 - 1)


def matrix(rows: int, columns: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def restored(base: dict, tuned: dict, rank: int = 0) -> dict:
    return apply_delta(base, encode_delta(base, tuned, rank))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    scale=st.sampled_from([1e-5, 1e-3, 0.05, 1.0, 30.0]),
    seed=seeds,
)
def test_int8_errs_by_less_than_a_step_of_the_row(rows, columns, scale, seed):
    base = {"w": matrix(rows, columns, seed)}
    change = matrix(rows, columns, seed + 1, scale)
    found = restored(base, {"w": base["w"] + change})["w"]
    # Half a step, what float16 rounds off the scale of the row, and the sum's own float32.
    step = change.abs().amax(dim=1, keepdim=True) / 127
    bound = 0.5 * step + 127 * (step * 2**-11 + 2**-25) + 1e-6 * (1 + scale)
    assert ((found - base["w"] - change).abs() <= bound).all()


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(1, 4), scale=st.sampled_from([1e-3, 0.1, 1.0]), seed=seeds)
def test_low_rank_is_exact_up_to_int8_when_the_change_has_that_rank(rank, scale, seed):
    base = {"w": matrix(24, 16, seed)}
    change = scale * (matrix(24, rank, seed + 1) @ matrix(rank, 16, seed + 2))
    found = restored(base, {"w": base["w"] + change}, rank)["w"]
    error = torch.linalg.norm(found - base["w"] - change) / torch.linalg.norm(change)
    assert error < 0.03


def test_low_rank_keeps_the_largest_directions():
    base = {"w": torch.zeros(16, 16)}
    change = torch.diag(torch.tensor([8.0, 4.0, *[0.01] * 14]))
    found = restored(base, {"w": change}, rank=2)["w"]
    assert torch.diag(found)[:2].tolist() == pytest.approx([8.0, 4.0], rel=0.02)
    assert torch.diag(found)[2:].abs().max() < 0.01


def test_a_rank_as_large_as_the_matrix_is_plain_int8():
    base = {"w": torch.zeros(4, 8)}
    stored = encode_delta(base, {"w": matrix(4, 8, 1)}, rank=4)
    assert set(stored) == {"w.int8", "w.scale"}


def test_low_rank_is_smaller_than_int8():
    base = {"w": torch.zeros(64, 64)}
    tuned = {"w": matrix(64, 64, 3)}

    def size(rank: int) -> int:
        return sum(t.nbytes for t in encode_delta(base, tuned, rank).values())

    assert size(8) < 0.4 * size(0) < 0.4 * tuned["w"].nbytes


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_vectors_are_stored_as_float16_differences(seed):
    base = {"b": matrix(1, 9, seed)[0]}
    change = matrix(1, 9, seed + 1, 0.01)[0]
    stored = encode_delta(base, {"b": base["b"] + change})
    assert stored["b.add"].dtype == torch.float16
    assert torch.allclose(apply_delta(base, stored)["b"], base["b"] + change, atol=1e-5)


def test_what_the_base_lacks_is_stored_whole():
    base = {"encoder.w": torch.ones(2, 2)}
    head = matrix(3, 2, 5)
    tuned = {**base, "head.w": head, "head.b": torch.tensor([0.5, -1.0, 2.0])}
    stored = encode_delta(base, tuned)
    assert set(stored) == {"head.w.new", "head.b.new"}
    found = apply_delta(base, stored)
    assert torch.equal(found["head.b"], tuned["head.b"])
    assert torch.allclose(found["head.w"], head, rtol=1e-3)
    assert found["head.w"].dtype == torch.float32


def test_a_tensor_of_another_shape_is_new():
    stored = encode_delta({"head.w": torch.zeros(5, 2)}, {"head.w": torch.ones(3, 2)})
    assert apply_delta({"head.w": torch.zeros(5, 2)}, stored)["head.w"].shape == (3, 2)


def test_unchanged_tensors_are_not_stored_and_stay():
    base = {"same": matrix(3, 3, 1), "moved": matrix(3, 3, 2)}
    stored = encode_delta(base, {"same": base["same"].clone(), "moved": base["moved"] + 1})
    assert {key.split(".")[0] for key in stored} == {"moved"}
    assert torch.equal(apply_delta(base, stored)["same"], base["same"])


def test_the_base_is_not_touched():
    base = {"w": matrix(3, 3, 1)}
    before = base["w"].clone()
    restored(base, {"w": base["w"] + 1})["w"].add_(1)
    assert torch.equal(base["w"], before)


def test_tensors_of_more_than_two_axes_keep_their_shape():
    base = {"conv": torch.zeros(4, 3, 2)}
    tuned = {"conv": matrix(4, 6, 1).reshape(4, 3, 2)}
    for rank in (0, 2):
        assert restored(base, tuned, rank)["conv"].shape == (4, 3, 2)
    assert torch.allclose(restored(base, tuned)["conv"], tuned["conv"], atol=0.02)


def test_names_that_look_like_our_own_endings_survive():
    base = {"block.u.weight": torch.zeros(3, 3), "scale": torch.zeros(3)}
    tuned = {"block.u.weight": matrix(3, 3, 1), "scale": torch.ones(3)}
    found = restored(base, tuned, rank=1)
    assert set(found) == set(base)
    assert torch.equal(found["scale"], torch.ones(3))


def test_everything_stored_can_be_written_to_a_file(tmp_path):
    from safetensors.torch import load_file, save_file

    base = {"w": matrix(6, 4, 1), "b": torch.zeros(4)}
    tuned = {"w": (base["w"].T + 1).contiguous().T, "b": torch.ones(8)[::2], "new": base["w"].T}
    for rank in (0, 2):
        save_file(encode_delta(base, tuned, rank), tmp_path / "delta.safetensors")
        found = apply_delta(base, load_file(tmp_path / "delta.safetensors"))
        assert torch.allclose(found["w"], tuned["w"], atol=0.1)


def test_a_change_of_a_tensor_that_the_base_lacks_is_refused():
    stored = encode_delta({"w": torch.zeros(2, 2)}, {"w": torch.ones(2, 2)})
    with pytest.raises(ArtifactError, match="changes w, which the base does not have"):
        apply_delta({"other": torch.zeros(2, 2)}, stored)
