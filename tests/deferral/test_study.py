"""A threshold is chosen on validation and measured on test; what is not known is called unknown."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from serving_client import student

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.records import Annotation, Example, Prediction
from dsbs.defer import show_comparison, teacher_of
from dsbs.deferral.calibration import Calibration
from dsbs.deferral.comparison import compare_kinds
from dsbs.deferral.page import build_page, rows_of
from dsbs.deferral.policy import Policy, load_policy, policy_path, save_policy
from dsbs.deferral.settings import DeferConfig
from dsbs.deferral.study import Costs, SplitData, choose_policy, describe_ties, measure, prices

TASK = student(None).task
LABELS = ("refund", "repair")


def part(count: int = 400, taught: bool = True, scored: bool = True) -> SplitData:
    """Return answers that are right the more often the surer they are; the teacher is always right."""
    examples = [Example(str(number), "it leaks", LABELS[number % 2], LABELS) for number in range(count)]
    predictions = []
    for number, example in enumerate(examples):
        sure = 0.5 + 0.499 * number / count
        right = number % 10 < 20 * (sure - 0.5)
        label = example.label if right else LABELS[1 - number % 2]
        other = LABELS[1 - LABELS.index(str(label))]
        scores = {str(label): math.log(sure), other: math.log(1 - sure)} if scored else None
        predictions.append(Prediction(example.id, example.label, label, scores=scores, confidence=sure))
    teacher = {one.id: Annotation(one.id, one.label) for one in examples} if taught else {}
    return SplitData(examples, predictions, teacher)


def test_a_budget_of_nothing_defers_nothing_and_a_free_teacher_everything() -> None:
    unsure = [
        Prediction(one.id, one.gold, one.label, scores={LABELS[0]: -0.7, LABELS[1]: -0.7}) for one in part().predictions
    ]
    test = SplitData(part().examples, unsure, part().teacher)  # less sure than any answer to validation
    for goal in ({"usd_per_1000": 0.0}, {"share": 0.0}):
        policy, _ = choose_policy(TASK, DeferConfig(checkpoint="run", **goal), part(), Costs(2.0))
        figures = measure(TASK, policy, test, Costs(2.0))
        assert (figures["deferred"], figures["usd_per_1000"]) == (0.0, 0.0)
    policy, _ = choose_policy(TASK, DeferConfig(checkpoint="run", usd_per_1000=0.0), part(), Costs(0.0))
    assert policy.share == 1.0


@pytest.mark.parametrize(
    ("goal", "check"),
    [
        ({"accuracy": 0.8}, lambda figures: figures["accuracy_kept_lower_95"] >= 0.8),
        ({"agreement": 0.8}, lambda figures: figures["agreement_kept"] >= 0.8),
        ({"share": 0.25}, lambda figures: figures["deferred"] == pytest.approx(0.25, abs=0.01)),
        ({"usd_per_1000": 0.5}, lambda figures: figures["usd_per_1000"] <= 0.51),
    ],
)
def test_each_goal_is_kept(goal: dict, check: object) -> None:
    costs = Costs(2.0, 10.0, 60.0)
    config = DeferConfig(checkpoint="run", **goal)
    assert not config.faults()
    policy, _ = choose_policy(TASK, config, part(), costs)
    figures = measure(TASK, policy, part(), costs)
    assert check(figures)  # type: ignore[operator]
    assert figures["accuracy_deferred_teacher"] == 1.0
    assert figures["accuracy_together"] > figures["accuracy"]
    assert figures["augrc_oracle"] <= figures["augrc"] <= figures["augrc_random"]
    assert figures["ece_after"] <= figures["ece_before"] + 0.01


def test_a_share_that_equal_confidences_do_not_allow_is_told_with_the_next_one() -> None:
    alike = [replace(one, scores={LABELS[0]: -0.5, LABELS[1]: -0.5}) for one in part(200).predictions[:150]]
    answers = replace(part(200), predictions=[*alike, *part(200).predictions[150:]])
    config = DeferConfig("run", share=0.2, calibration="none")
    policy, _ = choose_policy(TASK, config, answers, Costs())
    note = describe_ties(0.2, policy, answers.predictions)
    assert note is not None
    assert "0.0% of validation is deferred, not 20.0%: 150 of 200" in note
    assert "share=0.75 defers" in note
    policy, _ = choose_policy(TASK, replace(config, share=0.75), answers, Costs())
    assert policy.share == 0.75
    assert describe_ties(0.75, policy, answers.predictions) is None
    assert "less than half an answer" in str(describe_ties(0.001, policy, answers.predictions))


@pytest.mark.parametrize("confidence", ["agreement", "logprob"])
def test_free_answers_are_deferred_by_a_measured_confidence(confidence: str, tmp_path: Path) -> None:
    config = DeferConfig(checkpoint="run", accuracy=0.8, confidence=confidence, samples=4)
    assert not config.faults()
    written = part(scored=False)
    policy, kind = choose_policy(TASK, config, written, Costs())
    assert kind == "none"
    figures = measure(TASK, policy, written, Costs())
    assert figures["accuracy_kept"] >= 0.8 > figures["accuracy_deferred_student"]
    save_policy(tmp_path / "defer.json", policy, {})
    assert load_policy(tmp_path / "defer.json") == policy
    assert policy.calibration.samples == 4


def test_only_answers_that_examples_share_are_watched_for_drift() -> None:
    """The shares of free answers, nearly all different, would always seem to drift."""
    config = DeferConfig(checkpoint="run", share=0.2)
    policy, _ = choose_policy(TASK, config, part(), Costs())
    assert (sorted(policy.labels), policy.examples) == (list(LABELS), 400)
    free = replace(part(), examples=[replace(one, choices=None) for one in part().examples])
    assert choose_policy(TASK, config, free, Costs())[0].labels == {}


def test_kinds_of_confidence_are_compared() -> None:
    whole = part(200)
    student = Told(whole)
    config = DeferConfig(checkpoint="run", compare=True)
    assert not config.faults()
    found = compare_kinds(TASK, student, config, whole.examples, whole.examples)
    kinds = found["confidences"]
    assert set(kinds) == {"probability", "margin", "agreement", "logprob"}
    assert found["augrc_oracle"] < kinds["probability"]["augrc"] < found["augrc_random"]
    assert kinds["probability"]["augrc_interval"][0] <= kinds["probability"]["augrc"]
    assert kinds["probability"]["ece"] < kinds["probability"]["ece_before"]
    assert found["target"] == 0.9
    assert (kinds["probability"]["coverage"], kinds["probability"]["accuracy_kept"]) == (0, None)
    easier = DeferConfig(checkpoint="run", compare=True, accuracy=0.7)
    assert not easier.faults()
    more = compare_kinds(TASK, student, easier, whole.examples, whole.examples)["confidences"]["probability"]
    assert 0 < more["coverage"] < 1
    assert more["accuracy_kept"] >= 0.7
    assert "does not generate text" in kinds["agreement"]["unavailable"]


def test_too_little_validation_for_a_goal_is_said_beside_what_is_kept() -> None:
    whole, output = part(200), io.StringIO()
    config = DeferConfig(checkpoint="run", compare=True, accuracy=0.99)
    found = compare_kinds(TASK, Told(whole), config, whole.examples, whole.examples)
    show_comparison(found | {"student": "triage", "split": "test"}, Console(file=output, width=200))
    assert "accuracy=0.99: showing it with 95% confidence takes at least 299 answers" in output.getvalue()
    nothing = {kind: {"unavailable": "no scores"} for kind in found["confidences"]}
    show_comparison(
        found | {"student": "triage", "split": "test", "confidences": nothing}, Console(file=(output := io.StringIO()))
    )
    assert "accuracy=0.99:" not in output.getvalue()


class Told:
    """Says what a part says."""

    def __init__(self, told: SplitData) -> None:
        self.told = told

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        return list(self.told.predictions)

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        return predictions

    def save(self, folder: Path) -> None:
        raise AssertionError("nobody saves it")


def test_what_is_not_known() -> None:
    figures = measure(TASK, Policy(Calibration(), 0.8), part(taught=False), Costs())
    told = dict(rows_of(figures))
    assert told["the teacher's accuracy on all"] == "unknown"
    assert told["dollars per 1,000 answers, deferring"] == "unknown"
    assert prices(0.5, Costs(2.0, 10.0))["break_even_requests"] == 10_000
    assert prices(1.0, Costs(2.0, 10.0))["break_even_requests"] is None


def wrong(answers: SplitData) -> SplitData:
    """Return answers of which the most confident is wrong."""
    *others, surest = answers.predictions
    return replace(answers, predictions=[*others, replace(surest, label="no label")])


def test_goals_that_cannot_be_reached_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="a lower accuracy"):
        choose_policy(TASK, DeferConfig("run", accuracy=0.9999), part(), Costs())
    with pytest.raises(ConfigError, match="takes at least 59 answers, all correct; validation has 20"):
        choose_policy(TASK, DeferConfig("run", accuracy=0.95), part(20), Costs())
    with pytest.raises(ConfigError, match="not reached with 95% confidence, even by the most confident of 100"):
        choose_policy(TASK, DeferConfig("run", accuracy=0.97), wrong(part(100)), Costs())
    with pytest.raises(DataError, match=r"dsbs\.extract"):
        choose_policy(TASK, DeferConfig("run", agreement=0.8), part(taught=False), Costs())
    with pytest.raises(ConfigError, match=r"teacher_usd_per_1000=1\.50"):
        choose_policy(TASK, DeferConfig("run", usd_per_1000=1.0), part(), Costs())
    with pytest.raises(DataError, match="no log-probabilities"):
        choose_policy(TASK, DeferConfig("run", share=0.5), part(scored=False), Costs())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "found none"),
        ({"accuracy": 0.9, "share": 0.1}, "found accuracy and share"),
        ({"accuracy": 95}, "expected from 0 to 1"),
        ({"usd_per_1000": -1}, "dollars"),
        ({"share": 0.1, "confidence": "entropy"}, "confidence=entropy"),
        ({"share": 0.1, "confidence": "logprob", "calibration": "temperature"}, "no scores"),
        ({"share": 0.1, "samples": 1}, "samples=1"),
        ({"share": 0.1, "samples": 1001}, "samples=1001"),
        ({"share": 0.1, "compare": True}, "leave out share"),
        ({"share": 0.1, "calibration": "platt"}, "calibration=platt"),
    ],
)
def test_wrong_settings(changes: dict, message: str) -> None:
    [fault] = DeferConfig("run", **changes).faults()
    assert message in fault


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    policy = Policy(Calibration("margin", 1.5, ((0.0, 0.2), (0.4, 0.9))), 0.7, 0.25, {"refund": 1.0}, 40)
    save_policy(tmp_path / "defer.json", policy, {"goal": "share"})
    assert load_policy(tmp_path / "defer.json") == policy
    save_policy(tmp_path / "all.json", Policy(Calibration(), math.inf), {})
    assert load_policy(tmp_path / "all.json").defers(Prediction("1", None, "refund", scores={"refund": 0.0}))
    assert policy.defers(Prediction("1", None, None))


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"threshold": "x", "calibration": {}}', '{"calibration": 3}'])
def test_a_broken_policy_is_named(tmp_path: Path, broken: str) -> None:
    (tmp_path / "defer.json").write_text(broken)
    with pytest.raises(DataError, match=r"not written by dsbs\.defer"):
        load_policy(tmp_path / "defer.json")
    with pytest.raises(DataError, match="no such file"):
        load_policy(tmp_path / "none.json")


def test_the_policy_of_a_run_lies_in_its_folder_and_that_of_an_export_in_its_own(tmp_path: Path) -> None:
    assert policy_path(tmp_path / "checkpoint", tmp_path) == tmp_path / "defer.json"
    assert policy_path(tmp_path / "exports" / "x", tmp_path) == tmp_path / "exports" / "x" / "defer.json"


def test_the_page_shows_figures_and_escapes(tmp_path: Path) -> None:
    figures = measure(TASK, Policy(Calibration(), 0.8), part(60), Costs(2.0, 10.0))
    record = {"threshold": 0.8, "calibrated_by": "temperature", "goal": "share", "goal_value": 0.2, "test": None}
    page = build_page("<b>student</b>", record | {"validation": figures, "note": "many are <alike>"})
    assert "many are &lt;alike&gt;" in page
    assert "&lt;b&gt;student" in page
    assert "<svg" in page
    assert json.dumps(figures)  # every figure can be written


def test_broken_annotations_are_told_and_missing_ones_are_none(tmp_path: Path) -> None:
    assert teacher_of(tmp_path, "test", []) == {}
    (tmp_path / "test.parquet").write_text("broken")
    with pytest.raises(DataError, match=r"test\.parquet"):
        teacher_of(tmp_path, "test", [])
