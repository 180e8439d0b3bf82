"""From a checkpoint back to a student."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from dsbs.errors import StudentError
from dsbs.students.base import SETTINGS
from dsbs.students.model import StudentModel
from dsbs.students.seq2seq import Seq2SeqModel


def load_student(folder: Path) -> StudentModel:
    """Read what ``save`` wrote.

    Raises:
        StudentError: where the folder holds no student of ours.
    """
    try:
        settings = dict(json.loads((folder / "config.json").read_text(encoding="utf-8"))[SETTINGS])
    except FileNotFoundError:
        raise StudentError(f"{folder}: no checkpoint there (config.json is missing).") from None
    except (KeyError, TypeError, ValueError):
        raise StudentError(f"{folder}/config.json: not a student that dsbs.train has saved.") from None
    try:
        # Never code from a checkpoint: what a stranger wrote is data.
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForSeq2SeqLM.from_pretrained(folder, config=config, dtype=torch.float32, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise StudentError(f"{folder}: the checkpoint cannot be read ({str(error).splitlines()[0]}).") from error
    student = Seq2SeqModel(model, tokenizer, settings.pop("prefix_on"))
    student.settings = settings
    return student
