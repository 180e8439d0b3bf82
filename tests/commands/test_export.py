"""``dsbs.export`` keeps what answers as the checkpoint does, and says why it refuses the rest."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from trained import train_tiny

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.config import EvaluateConfig
from dsbs.core.errors import ConfigError, DataError, RunError
from dsbs.core.records import Example
from dsbs.evaluate import evaluate
from dsbs.export import export
from dsbs.inference.exports.records import describe_outdated
from dsbs.inference.exports.settings import ExportConfig
from dsbs.students import STUDENTS

pytest.importorskip("ctranslate2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("run"))


def test_an_export_lies_in_its_run_and_is_evaluated_like_it(run: Path) -> None:
    record = export(ExportConfig(checkpoint=str(run), quantization="float32"))
    folder = run / "exports" / "ctranslate2-float32"
    assert record["folder"] == str(folder)
    assert record["parity"]["test"]["agreement"] == 1.0
    assert record["parity"]["test"]["examples"] == 16
    assert min(record["speed"][kind]["per_second"] for kind in ("checkpoint", "export")) > 0
    assert "translate_batch" in (folder / "README.md").read_text()
    written = json.loads((folder / "export.json").read_text())
    assert written["architecture"] == "t5"
    docs = (Path(__file__).parents[2] / "docs/files.md").read_text()
    assert all(f"`{key}`" in docs for key in written)
    predictor = open_checkpoint(str(folder)).load(4)
    assert predictor.perplexity([Example("1", "a text", "another")]) is None  # of whole texts: checkpoints alone
    before, after = (evaluate(EvaluateConfig(checkpoint=str(place))) for place in (run, folder))
    assert before["accuracy"] == after["accuracy"]
    assert export(ExportConfig(checkpoint=str(run), quantization="float32"))["seconds"] == record["seconds"]


def test_too_little_agreement_leaves_only_the_reason(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.inference.exports.parity.agree", lambda task, one, two: int(one.id[-1]) % 2 == 0)
    config = ExportConfig(checkpoint=str(run), output=str(run.parent / "refused"))
    with pytest.raises(RunError, match=r"50\.00% of 8 validation examples; min_agreement=0\.99"):
        export(config)
    assert [path.name for path in (run.parent / "refused").iterdir()] == ["export.json"]


@pytest.fixture
def classical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose export is a copy, made in a moment."""
    monkeypatch.chdir(tmp_path)
    return train_tiny(tmp_path, objective="finetune", student=STUDENTS["logreg"](name="logreg"))


def test_an_export_of_other_weights_is_not_taken_for_this_one(classical: Path) -> None:
    first = export(ExportConfig(checkpoint=str(classical)))
    assert export(ExportConfig(checkpoint=str(classical)))["seconds"] == first["seconds"]
    export(ExportConfig(checkpoint=str(classical), output="named"))
    config = classical / "checkpoint/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()), indent=1))  # trained again
    assert describe_outdated(Path(first["folder"]), classical) is None  # nothing is newer, so nothing is read
    (classical / "metrics.json").touch()
    assert "Export again: python -m dsbs.export" in str(describe_outdated(Path(first["folder"]), classical))
    again = export(ExportConfig(checkpoint=str(classical)))
    assert again["source"] != first["source"]
    with pytest.raises(ConfigError, match="output=named: holds another export"):
        export(ExportConfig(checkpoint=str(classical), output="named"))


def test_what_cannot_be_exported_is_told_before_anything_is_converted(classical: Path) -> None:
    folder = export(ExportConfig(checkpoint=str(classical)))["folder"]
    Path("notes.txt").write_text("mine")
    for changes, message in (
        ({"format": "gguf"}, "not for sklearn: type format=skops"),
        ({"output": "notes.txt"}, "output=notes.txt: a file"),
        ({"checkpoint": folder}, "an export already; name the run"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(ExportConfig(**({"checkpoint": str(classical)} | changes)))


def test_an_earlier_export_has_to_agree_as_much_as_is_asked_for_now(classical: Path) -> None:
    folder = Path(export(ExportConfig(checkpoint=str(classical)))["folder"])
    record = json.loads((folder / "export.json").read_text())
    record["parity"]["test"]["agreement"] = 0.995
    (folder / "export.json").write_text(json.dumps(record))
    export(ExportConfig(checkpoint=str(classical)))
    with pytest.raises(RunError, match=r"99\.50% of .* test examples; min_agreement=0\.999 requires more"):
        export(ExportConfig(checkpoint=str(classical), min_agreement=0.999))


def test_two_exports_to_one_folder_do_not_disturb_each_other(classical: Path) -> None:
    with (
        FileLock(classical.parent / ".named.lock"),
        pytest.raises(RunError, match="another process is exporting there"),
    ):
        export(ExportConfig(checkpoint=str(classical), output=str(classical.parent / "named")))


def test_a_checkpoint_on_its_own_needs_data_to_be_compared_on(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "checkpoint", tmp_path / "copy")
    with pytest.raises(ConfigError, match="add path="):
        export(ExportConfig(checkpoint=str(tmp_path / "copy")))


def test_data_that_changed_since_is_not_compared_on(run: Path, tmp_path: Path) -> None:
    copied = tmp_path / run.name
    shutil.copytree(run, copied, ignore=shutil.ignore_patterns("exports"))
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["settings"]["test"] = "0123abcd"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="the data has changed"):
        export(ExportConfig(checkpoint=str(copied)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "tflite"}, "format=tflite: expected auto, ctranslate2"),
        ({"quantization": "int3"}, "format=ctranslate2 takes auto, int8"),
        ({"min_agreement": 99}, "expected from 0 to 1"),
        ({"limit": 0}, "limit=0"),
    ],
)
def test_wrong_settings_say_what_is_right(run: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        export(ExportConfig(checkpoint=str(run), **changes))


def test_a_broken_export_is_named(run: Path, tmp_path: Path) -> None:
    export(ExportConfig(checkpoint=str(run), quantization="float32", output=str(tmp_path / "export")))
    (tmp_path / "export" / "engine" / "model.bin").write_bytes(b"no model")
    with pytest.raises(DataError, match="CTranslate2 cannot read it"):
        open_checkpoint(str(tmp_path / "export")).load(4)
