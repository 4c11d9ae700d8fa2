"""The losses, against torch and against arithmetic by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.features import OUTSIDE, UNLABELLED
from training.losses import (
    decidedness,
    distillation_loss,
    hidden_loss,
    sentence_logits,
    soft_targets,
    task_loss,
)

KINDS = ["one", "several", "question-answering", "sentence-extraction"]
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
OWNER = torch.tensor([[-1, 0, 0, 1], [-1, 0, 0, -1]])


def outputs(seed: int, kind: str) -> Any:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, requires_grad=True)

    if kind == "question-answering":
        return SimpleNamespace(start_logits=random(2, 4), end_logits=random(2, 4))
    return SimpleNamespace(
        logits=random(2, 4, 1) if kind == "sentence-extraction" else random(2, 3)
    )


def batch_of(kind: str, teacher: Any) -> dict[str, Tensor]:
    batch = {f"teacher_{name}": tensor.detach() for name, tensor in vars(teacher).items()}
    batch["attention_mask"] = MASK
    if kind == "one":
        batch["targets"] = torch.tensor([2, 0])
    if kind == "several":
        batch["targets"] = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    if kind == "question-answering":
        batch |= {"starts": torch.tensor([1, 0]), "ends": torch.tensor([2, 0])}
    if kind == "sentence-extraction":
        batch["token_sentence"] = OWNER
        batch["sentence_labels"] = torch.tensor([[1.0, 0.0], [1.0, -1.0]])
    return batch


def job(kind: str) -> str:
    return "sequence-classification" if kind in ("one", "several") else kind


def loss_and_gradients(kind: str, student: Any, teacher: Any, temperature: float) -> Any:
    loss = distillation_loss(job(kind), student, batch_of(kind, teacher), temperature)
    return loss, torch.autograd.grad(loss, list(vars(student).values()))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_student_equal_to_its_teacher_is_not_moved(kind: str, temperature: float) -> None:
    _, gradients = loss_and_gradients(kind, outputs(1, kind), outputs(1, kind), temperature)
    assert all(gradient.abs().max() < 1e-6 for gradient in gradients)


@pytest.mark.parametrize("kind", ["one", "question-answering", "sentence-extraction"])
def test_the_distance_of_equals_is_zero_and_of_others_is_not(kind: str) -> None:
    equal, _ = loss_and_gradients(kind, outputs(1, kind), outputs(1, kind), 2.0)
    other, _ = loss_and_gradients(kind, outputs(1, kind), outputs(2, kind), 2.0)
    assert abs(equal.item()) < 1e-6 < 1e-2 < other.item()


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_down_the_distance_makes_it_smaller(kind: str) -> None:
    student, teacher = outputs(1, kind), outputs(2, kind)
    loss, gradients = loss_and_gradients(kind, student, teacher, 2.0)
    nearer = SimpleNamespace(
        **{
            name: (tensor - 0.1 * gradient).detach().requires_grad_()
            for (name, tensor), gradient in zip(vars(student).items(), gradients, strict=True)
        }
    )
    assert loss_and_gradients(kind, nearer, teacher, 2.0)[0] < loss


def test_soft_targets_are_kl_times_temperature_squared() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    p, q = functional.softmax(teacher / 4, -1), functional.softmax(student / 4, -1)
    by_hand = (p * (p / q).log()).sum() * 16
    assert torch.isclose(soft_targets(student, teacher, 4.0), by_hand, atol=1e-6)


def test_soft_targets_are_a_mean_over_rows() -> None:
    student, teacher = torch.randn(1, 5), torch.randn(1, 5)
    one, two = (soft_targets(student.repeat(n, 1), teacher.repeat(n, 1), 2.0) for n in (1, 2))
    assert torch.isclose(one, two, atol=1e-6)


def test_gradients_keep_their_size_at_high_temperatures() -> None:
    """What the factor T^2 is for (Hinton et al. 2015, section 2.1)."""
    teacher = torch.tensor([[2.0, 0.0, -1.0]])
    sizes = []
    for temperature in (10.0, 20.0):
        student = torch.zeros(1, 3, requires_grad=True)
        soft_targets(student, teacher, temperature).backward()
        assert student.grad is not None
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_several_labels_learn_softened_probabilities(temperature: float) -> None:
    student, teacher = outputs(1, "several"), outputs(2, "several")
    loss, _ = loss_and_gradients("several", student, teacher, temperature)
    p = torch.sigmoid(teacher.logits / temperature)
    q = torch.sigmoid(student.logits / temperature)
    by_hand = -(p * q.log() + (1 - p) * (1 - q).log()).mean() * temperature**2
    assert torch.isclose(loss, by_hand, atol=1e-5)


def test_sentences_learn_the_teachers_scores() -> None:
    student, teacher = outputs(1, "sentence-extraction"), outputs(2, "sentence-extraction")
    s, t = student.logits[..., 0], teacher.logits[..., 0]
    means = [
        (x[0, 1:3].mean() - y[0, 1:3].mean()) ** 2
        + (x[0, 3] - y[0, 3]) ** 2
        + (x[1, 1:3].mean() - y[1, 1:3].mean()) ** 2
        for x, y in [(s, t)]
    ]
    loss, _ = loss_and_gradients("sentence-extraction", student, teacher, 7.0)
    assert torch.isclose(loss, means[0] / 3, atol=1e-6)


def test_the_score_of_a_sentence_is_the_mean_over_its_tokens() -> None:
    logits = torch.tensor([[9.0, 1, 3, 5], [9, 2, 4, 9]]).unsqueeze(-1)
    batch = {"token_sentence": OWNER, "sentence_labels": torch.zeros(2, 2)}
    assert sentence_logits(logits, batch).tolist() == [[2.0, 5.0], [3.0, 0.0]]


# The task's own losses


def test_one_label_is_cross_entropy() -> None:
    out = outputs(1, "one")
    batch = batch_of("one", out)
    for smoothing in (0.0, 0.1):
        expected = functional.cross_entropy(out.logits, batch["targets"], label_smoothing=smoothing)
        assert task_loss("sequence-classification", out, batch, smoothing) == expected


def test_several_labels_are_binary_cross_entropy() -> None:
    out = outputs(1, "several")
    batch = batch_of("several", out)
    expected = functional.binary_cross_entropy_with_logits(out.logits, batch["targets"])
    assert task_loss("sequence-classification", out, batch) == expected


def test_start_and_end_count_half_each_over_real_tokens() -> None:
    out = outputs(1, "question-answering")
    batch = batch_of("question-answering", out)
    parts = []
    for logits, targets in ((out.start_logits, "starts"), (out.end_logits, "ends")):
        first = functional.cross_entropy(logits[:1], batch[targets][:1])
        second = functional.cross_entropy(logits[1:, :3], batch[targets][1:])
        parts += [first, second]
    expected = sum(parts) / 4
    assert torch.isclose(task_loss("question-answering", out, batch), expected, atol=1e-5)


def test_padded_sentences_do_not_count() -> None:
    out = outputs(1, "sentence-extraction")
    batch = batch_of("sentence-extraction", out)
    scores = sentence_logits(out.logits, batch)
    known = torch.stack([scores[0, 0], scores[0, 1], scores[1, 0]])
    expected = functional.binary_cross_entropy_with_logits(known, torch.tensor([1.0, 0, 1]))
    assert torch.isclose(task_loss("sentence-extraction", out, batch), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["question-answering", "sentence-extraction"])
def test_what_stands_at_padding_does_not_matter(kind: str) -> None:
    student, teacher = outputs(1, kind), outputs(2, kind)
    other_student, other_teacher = outputs(1, kind), outputs(2, kind)
    for disturbed in (other_student, other_teacher):
        for tensor in vars(disturbed).values():
            tensor.data[1, 3] += 50.0
    batch, other = batch_of(kind, teacher), batch_of(kind, other_teacher)
    assert task_loss(kind, student, batch) == task_loss(kind, other_student, other)
    for temperature in (1.0, 4.0):
        one = distillation_loss(kind, student, batch, temperature)
        assert one == distillation_loss(kind, other_student, other, temperature)
        assert torch.isfinite(one)


def test_hidden_distance_is_a_mean_over_real_tokens() -> None:
    student, teacher = torch.zeros(2, 4, 5), torch.ones(2, 4, 5) * 2
    teacher[1, 3] = 1000.0
    assert hidden_loss(student, teacher, {"attention_mask": MASK}).item() == pytest.approx(4.0)


# Texts outside of all classes


def test_undecided_is_what_texts_outside_should_leave_the_model() -> None:
    even, sure = torch.zeros(1, 4), torch.tensor([[9.0, 0, 0, 0]])
    assert decidedness(even).item() == pytest.approx(math.log(4))
    assert decidedness(even + 7).item() == pytest.approx(math.log(4))
    assert decidedness(sure) > decidedness(even)


def test_texts_outside_count_by_their_weight_and_never_as_a_class() -> None:
    logits = torch.tensor([[2.0, 0, 0], [0, 3.0, 0], [4.0, 0, 0]])
    made, targets = SimpleNamespace(logits=logits), torch.tensor([0, 1, OUTSIDE])
    inside = functional.cross_entropy(logits[:2], targets[:2])
    without = task_loss("sequence-classification", made, {"targets": targets})
    assert without.item() == pytest.approx(inside.item())
    found = task_loss("sequence-classification", made, {"targets": targets}, 0.0, 0.5)
    assert found.item() == pytest.approx((inside + 0.5 * decidedness(logits[2:])).item())


def test_a_batch_may_hold_texts_outside_alone() -> None:
    logits = torch.tensor([[4.0, 0, 0]], requires_grad=True)
    batch = {"targets": torch.tensor([OUTSIDE])}
    loss = task_loss("sequence-classification", SimpleNamespace(logits=logits), batch, 0.0, 1.0)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0  # the label that it was sure of loses


def test_rows_that_only_a_teacher_has_judged_count_for_the_soft_targets_alone() -> None:
    out, kind = outputs(1, "one"), "sequence-classification"
    batch = batch_of("one", outputs(2, "one"))
    batch["targets"] = torch.tensor([2, UNLABELLED])
    expected = functional.cross_entropy(out.logits[:1], batch["targets"][:1])
    assert torch.isclose(task_loss(kind, out, batch, out_of_scope_weight=1.0), expected)
    whole = distillation_loss(kind, out, batch, 2.0)
    assert torch.isclose(whole, soft_targets(out.logits, batch["teacher_logits"], 2.0))
    batch["targets"] = torch.full((2,), UNLABELLED)
    assert task_loss(kind, out, batch) == 0.0


def test_several_labels_of_rows_that_only_a_teacher_has_judged() -> None:
    out, kind = outputs(1, "several"), "sequence-classification"
    batch = batch_of("several", outputs(2, "several"))
    batch["targets"] = torch.stack([batch["targets"][0], torch.full((3,), float(UNLABELLED))])
    expected = functional.binary_cross_entropy_with_logits(out.logits[:1], batch["targets"][:1])
    assert torch.isclose(task_loss(kind, out, batch), expected)
    batch["targets"][0] = UNLABELLED
    assert task_loss(kind, out, batch) == 0.0


def test_a_teacher_of_fewer_classes_teaches_those() -> None:
    """Learning without forgetting (Li & Hoiem 2016): the new classes have nothing to be near to."""
    student = SimpleNamespace(logits=torch.randn(2, 5, requires_grad=True))
    teacher = torch.randn(2, 3)
    batch = {"targets": torch.tensor([4, 0]), "teacher_logits": teacher}
    loss = distillation_loss("sequence-classification", student, batch, 2.0)
    assert torch.isclose(loss, soft_targets(student.logits[:, :3], teacher, 2.0))
    (gradient,) = torch.autograd.grad(loss, student.logits)
    assert gradient[:, 3:].abs().max() == 0.0
