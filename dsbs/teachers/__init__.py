"""Teachers: the models (or files) that give rationales and labels. A new one is a dataclass and a line here."""

from dsbs.core.registry import Registry
from dsbs.teachers.base import Ask, Teacher
from dsbs.teachers.handbook import HandbookTeacher
from dsbs.teachers.llama_cpp import LlamaCppTeacher
from dsbs.teachers.openai import OpenAITeacher
from dsbs.teachers.recorded import RecordedTeacher

TEACHERS: Registry[type[Teacher]] = Registry(
    "dsbs.teachers",
    {
        "handbook": HandbookTeacher,
        "llama_cpp": LlamaCppTeacher,
        "openai": OpenAITeacher,
        "recorded": RecordedTeacher,
    },
    Teacher,
)

__all__ = ["TEACHERS", "Ask", "Teacher"]
