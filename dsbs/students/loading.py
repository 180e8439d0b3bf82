"""From a checkpoint back to a student."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from dsbs.core.errors import StudentError
from dsbs.students.base import SETTINGS
from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.model import LORA_WEIGHTS, StudentModel
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
        loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = loader.from_pretrained(folder, config=config, dtype=torch.float32, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise StudentError(f"{folder}: the checkpoint cannot be read ({str(error).splitlines()[0]}).") from error
    built = Seq2SeqModel if config.is_encoder_decoder else DecoderOnlyModel
    student = built(model, tokenizer, settings.pop("prefix_on"))
    student.settings = settings
    return student


def load_weights(student: StudentModel, folder: Path) -> None:
    """Put the weights of a checkpoint that ``save_training`` wrote into the student that is trained.

    Raises:
        StudentError: where they are another student's.
    """
    if not (folder / LORA_WEIGHTS).exists():
        student.model.load_state_dict(load_student(folder).model.state_dict())
        return
    # The rest of the weights is as it was: built from the same place, which decides the run.
    if student.model.load_state_dict(load_file(folder / LORA_WEIGHTS), strict=False).unexpected_keys:
        raise StudentError(f"{folder / LORA_WEIGHTS}: of a student with other matrices; start the run anew.")
