"""What a stranger's run or checkpoint would have read, called or believed: and the sentence that comes out."""

import json
import os
import random
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from trained import train_tiny

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.saved_settings import is_below_cwd, load_run_settings
from dsbs.core.errors import ConfigError, DataError, DsbsError
from dsbs.core.records import Annotation
from dsbs.defer import find_parts
from dsbs.deferral.policy import load_policy
from dsbs.deferral.settings import DeferConfig
from dsbs.extraction.annotations import AnnotationFile, load_summary, write_annotations
from dsbs.inference.checkpoint import Remembered
from dsbs.inference.exports.records import read_record
from dsbs.inference.exports.skops import convert
from dsbs.students import LogReg
from dsbs.tasks import metrics
from dsbs.tasks.tables.sources import read_rows

TABLE = {"kind": "table", "name": "theirs"}
PLACES: dict[str, tuple[dict[str, Any], str]] = {
    "a file of mine": ({"task": {**TABLE, "path": "/etc/passwd"}}, r"task\.path=/etc/passwd lies outside of"),
    "above": ({"task": {**TABLE, "path": "../mail.jsonl"}}, "lies outside of"),
    "through a link": ({"task": {**TABLE, "path": "link/passwd.csv"}}, "lies outside of"),
    "through a link to itself": ({"task": {**TABLE, "path": "round/x.csv"}}, "lies outside of"),
    "a byte 0": ({"task": {**TABLE, "path": "a\0b"}}, "lies outside of"),
    "a set on the hub": ({"task": {**TABLE, "hub": "them/theirs"}}, r"task\.hub=them/theirs is loaded from the hub"),
    "annotations below": ({"labels": "teacher", "output_dir": "/root"}, r"output_dir=/root lies outside of"),
    "another revision": (
        {"task": {"kind": "release", "benchmark": "svamp", "hub": "ChilleD/SVAMP", "revision": "x"}}, "from the hub"
    ),
    "a teacher's files": ({"teacher": {"kind": "recorded", "path": "/root/x"}}, r"teacher\.path=/root/x lies outside"),
    "rationales": ({"rationales": "/root/x"}, r"rationales=/root/x lies outside of"),
}  # fmt: skip


def run_with(folder: Path, **values: Any) -> Path:
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", PLACES)
def test_places_of_a_strangers_run_are_not_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("/etc")
    Path("round").symlink_to("round")
    values, sentence = PLACES[kind]
    with pytest.raises(DataError, match=sentence) as caught:
        load_run_settings(run_with(tmp_path, **values), trusted=False)
    assert "Type trust_run=true if the run is yours" in str(caught.value)
    with pytest.raises(DsbsError) as after:  # goes on: there is no more in this config
        load_run_settings(tmp_path, trusted=True)
    assert "trust_run" not in str(after.value)


def test_annotations_elsewhere_are_not_left_out_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train_tiny(tmp_path, objective="finetune", student=LogReg(name="logreg", C=[1.0], min_df=1))
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"rationales": "/root/x"}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"manifest\.json: rationales=/root/x lies outside of .*trust_run=true"):
        find_parts(DeferConfig(str(run), share=0.5))
    assert find_parts(DeferConfig(str(run), share=0.5, trust_run=True))[3] == Path("/root/x")
    assert find_parts(DeferConfig(str(run), compare=True))[3] is None  # which needs none


def test_places_below_the_folder_and_benchmarks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_below_cwd("data/train.jsonl")
    assert is_below_cwd(str(tmp_path / "data" / "*.csv"))
    svamp = {"hub": "ChilleD/SVAMP", "hub_config": None, "revision": "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef"}
    for task in ({**TABLE, "path": "data"}, {"kind": "release", "benchmark": "svamp", **svamp}, {"kind": "triage"}):
        with pytest.raises(DsbsError) as caught:
            load_run_settings(run_with(tmp_path, task=task), trusted=False)
        assert "trust_run" not in str(caught.value)


def test_a_metric_of_a_strangers_is_never_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``score`` would call it with what the student wrote: a command for the shell, if they like."""
    monkeypatch.setattr(metrics, "_allowed", set())
    metrics.load_metric.cache_clear()
    task = TABLE | {"answer_kind": "text", "metric": "os:system"}
    objective = {"kind": "finetune", "name": "finetune"}
    remembered = asdict(Remembered(task=task, objective=objective))
    (tmp_path / "config.json").write_text(json.dumps({"dsbs": remembered}))
    checkpoint = open_checkpoint(str(tmp_path))
    with pytest.raises(ConfigError, match=r"task\.metric=os:system comes from a saved config, .* so it is not called"):
        checkpoint.task.score(f"touch {tmp_path}/was-run", "x")
    assert not (tmp_path / "was-run").exists()
    (tmp_path / "config.json").write_text(json.dumps({"dsbs": remembered | {"task": task | {"metric": "operator:eq"}}}))
    assert open_checkpoint(str(tmp_path), trusted=True).task.score("x", "x") == 1


POLICY = {"calibration": {"confidence": "probability", "temperature": 1.0, "steps": [[0.0, 0.5]]}, "threshold": 0.5,
          "share": 0.1, "labels": {"yes": 1.0}}  # fmt: skip
POLICIES = {
    "a list": "[]",
    "no JSON": "{",
    "NaN as a threshold": POLICY | {"threshold": float("nan")},
    "a text as a share": POLICY | {"share": "most"},
    "labels that are a list": POLICY | {"labels": ["yes"]},
    "a temperature of 0": POLICY | {"calibration": {**POLICY["calibration"], "temperature": 0}},  # type: ignore[dict-item]
    "steps of NaN": POLICY | {"calibration": {**POLICY["calibration"], "steps": [[float("nan"), 1]]}},  # type: ignore[dict-item]
    "steps of three": POLICY | {"calibration": {**POLICY["calibration"], "steps": [[1, 2, 3]]}},  # type: ignore[dict-item]
    "another confidence": POLICY | {"calibration": {**POLICY["calibration"], "confidence": "os"}},  # type: ignore[dict-item]
    "no calibration": {"threshold": 0.5},
}


@pytest.mark.parametrize("kind", POLICIES)
def test_a_strangers_thresholds_are_checked(kind: str, tmp_path: Path) -> None:
    content = POLICIES[kind]
    (tmp_path / "defer.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=r"defer\.json: (not written by dsbs|its calibration is invalid)"):
        load_policy(tmp_path / "defer.json")


def test_thresholds_that_are_missing_come_with_the_command_that_chooses_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"python -m dsbs.defer checkpoint={tmp_path} accuracy=0.95")):
        load_policy(tmp_path / "defer.json")


@pytest.mark.timeout(20)
def test_thresholds_that_are_a_fifo_are_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "defer.json")
    with pytest.raises(DataError, match=r"defer\.json: not written by dsbs"):
        load_policy(tmp_path / "defer.json")


RECORD = {"format": "skops", "quantization": "none", "reason": "x", "bytes": 1, "checkpoint_bytes": 1, "seconds": 1.0}
PART = {"agreement": 1.0, "examples": 3, "before": None, "after": 0.5, "largest_difference": None, "metric": "accuracy"}


@pytest.mark.parametrize(
    "record",
    [[], RECORD, RECORD | {"parity": []}, RECORD | {"parity": {"test": []}}, RECORD | {"parity": {}, "bytes": "many"},
     RECORD | {"parity": {"test": PART | {"examples": None}}}, RECORD | {"parity": {"test": PART | {"before": "x"}}},
     RECORD | {"parity": {"test": PART | {"metric": 1}}}, RECORD | {"parity": {}, "reason": ["x"]}],
)  # fmt: skip
def test_a_strangers_export_record_is_checked(record: object, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(json.dumps(RECORD | {"parity": {"test": PART}}))
    assert read_record(tmp_path / "export.json")["format"] == "skops"
    (tmp_path / "export.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"export\.json: (not written by dsbs\.export|expected an object)"):
        read_record(tmp_path / "export.json")


@pytest.mark.parametrize("name", ["id_rsa", "model.skops", "encoder/x.json"])
def test_an_export_copies_no_file_from_elsewhere(name: str, tmp_path: Path) -> None:
    """Who exports a checkpoint may well publish the copy."""
    (tmp_path / "theirs" / "encoder").mkdir(parents=True)
    (tmp_path / "theirs" / name).symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="expected a regular file or a folder; a link may lead anywhere"):
        convert(tmp_path / "theirs", tmp_path / "mine", "none")
    assert not (tmp_path / "mine").exists()


def test_annotations_of_another_kind_are_told(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"id": [1], "label": ["x"], "rationale": ["x"], "status": ["ok"], "agreement": [1.0]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    with pytest.raises(DataError, match="column 'id' holds int64, expected string"):
        list(AnnotationFile(tmp_path, "train"))
    (tmp_path / "test.parquet").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"no annotations|expected a regular file"):
        list(AnnotationFile(tmp_path, "test"))


SUMMARY: dict[str, Any] = {"samples": 1, "splits": {"train": {"examples": 3, "cost_usd": None}}}
SUMMARIES: dict[str, tuple[dict[str, Any], str]] = {
    "splits that are a list": ({"splits": []}, "splits is not as"),
    "a split that is a number": ({"splits": {"train": 3}}, r"splits\.train is not as"),
    "examples that are a text": ({"splits": {"train": {"examples": "many"}}}, r"splits\.train\.examples is not as"),
    "costs without end": ({"splits": {"train": {"cost_usd": float("inf")}}}, r"splits\.train\.cost_usd is not as"),
    "an accuracy above 1": (
        {"splits": {"train": {"teacher_accuracy": 2}}},
        r"splits\.train\.teacher_accuracy is not as",
    ),
    "tokens below zero": ({"splits": {"train": {"prompt_tokens": -1}}}, r"splits\.train\.prompt_tokens is not as"),
    "a count beyond numbers": ({"samples": 10**400}, "samples is not as"),
    "a model that is an object": ({"model": {}}, "model is not as"),
}


@pytest.mark.parametrize("kind", SUMMARIES)
def test_the_summary_of_a_strangers_extraction_is_checked(kind: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    assert load_summary(tmp_path) == SUMMARY
    change, sentence = SUMMARIES[kind]
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY | change))
    with pytest.raises(DataError, match=sentence):
        load_summary(tmp_path)


def test_broken_annotations_are_told_whatever_is_broken(tmp_path: Path) -> None:
    write_annotations(
        tmp_path, "train", [Annotation(f"train-{n}", "a", "because", "ok", 1.0, {"a": 1}) for n in range(50)]
    )
    path, draw, told = tmp_path / "train.parquet", random.Random(0), 0
    sound = path.read_bytes()
    for _ in range(120):
        content = bytearray(sound)
        for _ in range(draw.choice([1, 2, 5])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        for read in (lambda: list(AnnotationFile(tmp_path, "train")), lambda: list(read_rows(path))):
            try:
                read()
            except DataError:
                told += 1
    assert told > 100
