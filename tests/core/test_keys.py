"""Keys of the machine are nowhere to be found in what a training leaves behind."""

import sys
from pathlib import Path

import pytest
from commands.test_train import SMALL
from hydra.core.global_hydra import GlobalHydra

from dsbs import train

KEYS = {
    "OPENAI_API_KEY": "sk-planted-0123456789abcdef",
    "WANDB_API_KEY": "fedcba9876543210fedcba9876543210fedcba98",
    "HF_TOKEN": "hf_plantedABCDEFGHIJKLMNOPQRSTUV",
}


def test_keys_are_in_no_file_of_a_run_nor_in_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    words = [word for word in SMALL if not word.startswith("tracking")]
    monkeypatch.setattr(sys, "argv", ["dsbs.train", *words, "tracking.mode=offline"])
    GlobalHydra.instance().clear()
    train.main()
    captured = capfd.readouterr()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"config.yaml", "manifest.json", "metrics.json", "completions.sqlite", "summary.json"} <= names
    assert [path for path in files if "wandb" in path.parts]
    texts = {"output": captured.out + captured.err} | {
        str(path): path.read_bytes().decode(errors="replace") for path in files
    }
    found = [(place, name) for place, text in texts.items() for name, key in KEYS.items() if key[3:20] in text]
    assert found == []
