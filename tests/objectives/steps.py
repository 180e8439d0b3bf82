"""Steps of an objective, without a trainer."""

from typing import Any

import torch
from tiny import annotated, byte_tokenizer, causal_model, tiny_t5

from dsbs.core.records import Annotation, Example
from dsbs.objectives import Objective
from dsbs.students.collator import Collator, Row, tokenize
from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.model import StudentModel

Data = list[tuple[Example, Annotation | None]]


def tiny_llama(prefix_on: str = "target", seed: int = 0) -> StudentModel:
    """Return a decoder of two layers; seeds differ in their weights alone."""
    tokenizer = byte_tokenizer()
    model = causal_model("llama", len(tokenizer))
    if seed:
        torch.manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)
    return DecoderOnlyModel(model, tokenizer, prefix_on)


BUILDS: dict[str, Any] = {"t5": tiny_t5, "llama": tiny_llama}


def some_data(count: int = 5) -> Data:
    """Return examples, some of them with a rationale."""
    return list(annotated(count, {0, 2, 3}))


def rows_of(student: StudentModel, objective: Objective, data: Data) -> list[Row]:
    """Return the rows of an objective that was prepared."""
    targets = [objective.targets(example, annotation) for example, annotation in data]
    return tokenize(student, [example.input for example, _ in data], targets, 64, 64, objective.readers)[0]


def loss_of_rows(
    student: StudentModel, objective: Objective, rows: list[Row], cut: int = 100
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of a step in batches of so many rows, and its mean terms."""
    counts = {term: torch.tensor(count) for term, count in objective.count(rows).items()}
    total, sums = torch.zeros(()), dict.fromkeys(counts, 0.0)
    for start in range(0, len(rows), cut):
        loss, terms = objective.loss(student, Collator(student)(rows[start : start + cut]), counts)
        total = total + loss
        for term, (value, _) in terms.items():
            sums[term] += float(value)
    return total, {term: value / max(float(counts[term]), 1) for term, value in sums.items()}


def loss_of(
    student: StudentModel, objective: Objective, data: Data, cut: int = 100
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of a step over some data, and its mean terms."""
    return loss_of_rows(student, objective, rows_of(student, objective, data), cut)


def assert_same_however_cut(student: StudentModel, objective: Objective, rows: list[Row]) -> None:
    """Check that neither loss, terms nor gradients depend on how a step is cut into batches, and so not on padding."""
    found = []
    for cut in (100, 2, 1):
        student.zero_grad()
        loss, terms = loss_of_rows(student, objective, rows, cut)
        loss.backward()
        found.append((loss.item(), terms, [w.grad.clone() for w in student.parameters() if w.grad is not None]))
    for loss, terms, gradients in found[1:]:
        assert abs(loss - found[0][0]) < 1e-4
        assert all(abs(terms[name] - value) < 1e-4 for name, value in found[0][1].items())
        for gradient, whole in zip(gradients, found[0][2], strict=True):
            torch.testing.assert_close(gradient, whole, atol=1e-5, rtol=1e-3)


def end_probabilities(student: StudentModel, batch: dict[str, Any]) -> torch.Tensor:
    """Return the student's probabilities of the end tokens of labels."""
    label = batch["targets"]["label"]
    with torch.no_grad():
        logits = student({label["source"]: batch["inputs"][label["source"]]}, {"label": label})["label"]
    return logits.softmax(-1)[label["labels"].eq(student.end_id)][:, student.end_id]
