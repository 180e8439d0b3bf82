"""ONNX graphs of encoders with a head, and of frozen encoders with a logistic regression."""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dsbs.students.classifier import ClassifierModel
from dsbs.students.loading import quietly
from dsbs.students.sentence_encoder import SentenceEncoder

INPUTS = ["input_ids", "attention_mask"]


class _Head(nn.Module):
    """Logits [B, classes] of texts; of pairs with a choice [B, 1]."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class _Regression(nn.Module):
    """Logits [B, classes] of a logistic regression over pooled states."""

    def __init__(self, network: Any, pooling: str, classifier: Any) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling
        weight = torch.tensor(classifier.coef_, dtype=torch.float32)
        bias = torch.tensor(classifier.intercept_, dtype=torch.float32)
        if len(weight) == 1:  # of two classes scikit-learn keeps one row: the second against the first
            weight, bias = torch.cat([0 * weight, weight]), torch.cat([0 * bias, bias])
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1)
        pooled = (states * mask).sum(1) / mask.sum(1) if self.pooling == "mean" else states[:, 0]
        return F.linear(F.normalize(pooled.float()), self.weight, self.bias)


def write_head(student: ClassifierModel, path: Path) -> None:
    """Write the ONNX graph of an encoder with a head: ``INPUTS`` [B, S] -> ``logits`` [B, classes]."""
    _export(_Head(student.model), path)


def write_regression(encoder: SentenceEncoder, classifier: Any, path: Path) -> None:
    """Write the graph of a frozen encoder and a logistic regression: ``INPUTS`` [B, S] -> ``logits`` [B, classes]."""
    _export(_Regression(encoder.network, encoder.pooling, classifier), path)


def _export(module: nn.Module, path: Path) -> None:
    """Write a module for any number of texts of any length.

    By the exporter that traces (``dynamo=False``): it takes seconds where the newer one takes a minute and another
    package, and what tracing could get wrong (padding, lengths) is in the examples that parity is checked on.
    """
    module = module.eval().cpu()
    ids, mask = torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long)
    mask[1, 5:] = 0
    any_size = {0: "texts", 1: "tokens"}
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is the older exporter, and what it traced
        torch.onnx.export(
            module,
            (ids, mask),
            str(path),
            input_names=INPUTS,
            output_names=["logits"],
            dynamic_axes=dict.fromkeys(INPUTS, any_size) | {"logits": {0: "texts"}},
            opset_version=17,
            dynamo=False,
        )
