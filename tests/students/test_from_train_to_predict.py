"""Students other than the default through the whole pipe: trained, stopped, resumed, evaluated, asked."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from tiny import causal_folder, seq2seq_folder
from trained import OBJECTIVES, train_tiny
from transformers import TrainerCallback

from dsbs.cli.config import EvaluateConfig, PredictConfig
from dsbs.evaluate import evaluate
from dsbs.predict import predict
from dsbs.students import Causal, Lora, Pretrained, Student

LENGTHS: dict[str, Any] = {"max_input_tokens": 300, "max_target_tokens": 128, "max_new_tokens": 8}


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Student]:
    """Students from folders, whole and with LoRA."""
    folder = tmp_path_factory.mktemp("hub")
    causal, t5 = str(causal_folder(folder / "llama")), str(seq2seq_folder(folder / "mt5", "mt5"))
    return {
        "causal": Causal(name="causal", model=causal, **LENGTHS),
        "mt5 with lora": Pretrained(name="mt5", model=t5, lora=Lora(r=2, dropout=0.1), **LENGTHS),
    }


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_a_causal_student_that_answers(
    students: dict[str, Student], objective: str, tmp_path: Path
) -> None:
    run = train_tiny(tmp_path, objective=objective, student=students["causal"])
    measured = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]["accuracy"]
    assert evaluate(EvaluateConfig(checkpoint=str(run)))["accuracy"] == measured
    rationale = objective != "finetune"
    out = io.StringIO()
    config = PredictConfig(checkpoint=str(run), input="-", rationale=rationale)
    assert predict(config, io.BytesIO(b"My kettle leaks.\nMy sofa sags.\n"), out) == 2
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["id"] for line in lines] == ["1", "2"]
    assert all(("rationale" in line) == rationale for line in lines)
    if objective != "rationale_then_label":  # which has to have learnt to write one
        assert {line["label"] for line in lines} <= {"refund", "replace", "repair", "escalate"}


class Crash(TrainerCallback):
    """Ends the training behind its first checkpoint, as a power cut would."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt


def test_a_run_with_lora_that_was_stopped_ends_as_if_nobody_had_disturbed_it(
    students: dict[str, Student], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsbs.training.backends import huggingface as distillation

    name = "mt5 with lora"
    undisturbed = train_tiny(tmp_path / "undisturbed", student=students[name])
    build = distillation.build_callbacks
    with monkeypatch.context() as patch:
        patch.setattr(distillation, "build_callbacks", lambda *parts: [*build(*parts), Crash()])
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "stopped", student=students[name])
    [checkpoint] = (tmp_path / "stopped").rglob("checkpoint-2")
    weights = {path.name: path.stat().st_size for path in checkpoint.glob("model*")}
    assert list(weights) == ["model.lora.safetensors"]
    resumed = train_tiny(tmp_path / "stopped", student=students[name])
    assert resumed.name == undisturbed.name
    one, two = (json.loads((run / "metrics.json").read_text(encoding="utf-8")) for run in (undisturbed, resumed))
    told = {"seconds", "examples_per_second", "milliseconds_per_example", "evaluation_seconds", "history"}
    assert {key: one[key] for key in one.keys() - told} == {key: two[key] for key in two.keys() - told}
    one_file, two_file = (run / "checkpoint" / "model.safetensors" for run in (undisturbed, resumed))
    assert one_file.read_bytes() == two_file.read_bytes()
