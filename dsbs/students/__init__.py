"""Students: the models that are trained. A new one is a dataclass and a line in this registry."""

from dsbs.core.registry import Registry
from dsbs.students.auto import Auto
from dsbs.students.base import GenerativeStudent, Student
from dsbs.students.causal import Causal
from dsbs.students.embedding import Embedding
from dsbs.students.encoder import Encoder
from dsbs.students.logreg import LogReg
from dsbs.students.lora import Lora
from dsbs.students.minilm import MiniLM
from dsbs.students.pretrained import Pretrained
from dsbs.students.scratch import T5Scratch

STUDENTS: Registry[type[Student]] = Registry(
    "dsbs.students",
    {
        "t5_scratch": T5Scratch,
        "pretrained": Pretrained,
        "causal": Causal,
        "minilm": MiniLM,
        "auto": Auto,
        "logreg": LogReg,
        "embedding": Embedding,
        "encoder": Encoder,
    },
    Student,
)

__all__ = [
    "STUDENTS",
    "Auto",
    "Causal",
    "Embedding",
    "Encoder",
    "GenerativeStudent",
    "LogReg",
    "Lora",
    "MiniLM",
    "Pretrained",
    "Student",
    "T5Scratch",
]
