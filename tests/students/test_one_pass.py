"""Label and rationale read in one decoder pass."""

import pytest
import torch
from tiny import annotated, tiny_t5

from dsbs.objectives import StepByStep
from dsbs.students.collator import Collator, tokenize
from dsbs.students.model import Batch, StudentModel


def batch_of(student: StudentModel, with_rationale: set[int]) -> Batch:
    data = annotated(8, with_rationale)
    targets = [StepByStep(alpha=0.3).targets(example, annotation) for example, annotation in data]
    return Collator(student)(tokenize(student, [example.input for example, _ in data], targets, 64, 64)[0])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_t5_that_reads_both_at_once_says_what_two_passes_say(attention: str) -> None:
    student = tiny_t5(num_layers=2)
    student.model.set_attn_implementation(attention)
    batch = batch_of(student, {0, 3, 6})
    once = student(batch["inputs"], batch["targets"])
    twice = StudentModel.forward(student, batch["inputs"], batch["targets"])
    assert list(once) == list(twice) == ["label", "rationale"]
    gradients = []
    for logits in (once, twice):
        student.zero_grad()
        total = torch.zeros(())
        for kind, target in batch["targets"].items():
            known = target["labels"].ne(-100)
            torch.testing.assert_close(once[kind][known], twice[kind][known], atol=1e-5, rtol=1e-5)
            total = total + logits[kind][known].square().mean()
        total.backward()
        gradients.append({name: weight.grad.clone() for name, weight in student.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-5, rtol=1e-4, msg=name)


def test_two_targets_of_one_kind_are_read_apart() -> None:
    student = tiny_t5()
    batch = batch_of(student, {0, 3, 6})
    target = batch["targets"]["rationale"]
    target |= {"rows": torch.tensor([0, 0, 6]), "once": False}
    once = student(batch["inputs"], batch["targets"])
    twice = StudentModel.forward(student, batch["inputs"], batch["targets"])
    torch.testing.assert_close(once["rationale"], twice["rationale"])
