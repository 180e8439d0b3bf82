"""The student that a machine gets."""

import logging

import pytest

from dsbs.cli.config import GROUPS
from dsbs.students import Auto, MiniLM, Pretrained, Student, T5Scratch, auto
from dsbs.students.auto import Machine, choose_student, measure_machine


@pytest.mark.parametrize(
    ("memory", "gpu_memory", "bf16", "name", "says"),
    [
        (128, 79, True, "flan_t5_large", "a GPU of 79 GiB with bfloat16: of 783M parameters"),
        (128, 79, False, "flan_t5_large", "without bfloat16"),
        (128, 48, False, "flan_t5_base", "without bfloat16"),
        (128, 40, True, "flan_t5_large", "the training state takes 11.7 GiB"),
        (64, 24, True, "flan_t5_base", "a GPU of 24 GiB with bfloat16"),
        (64, 16, True, "flan_t5_base", "of 248M parameters"),
        (64, 16, False, "flan_t5_small", "without bfloat16"),
        (64, 8, True, "flan_t5_small", "It comes from the hub"),
        (64, 6, False, "minilm", "a GPU of 6 GiB, too small for FLAN-T5"),
        (16, 0, False, "smollm2", "no GPU and 16 GiB of memory"),
        (13, 0, False, "minilm", "no GPU and 13 GiB of memory"),
        (4, 0, True, "minilm", "no GPU"),
        (3.9, 0, False, "t5_scratch", "no GPU and 3.9 GiB of memory: the smallest one"),
        (1, 2, True, "t5_scratch", "too small for FLAN-T5"),
    ],
)
def test_memory_gpu_and_bfloat16_decide(memory: float, gpu_memory: float, bf16: bool, name: str, says: str) -> None:
    student, why = choose_student(Machine(memory, gpu_memory, bf16))
    assert student.name == name
    assert says in why


def test_the_machine_gets_one_student_with_the_settings_that_were_typed_and_is_told_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auto, "measure_machine", lambda: Machine(64, 16, True))
    with caplog.at_level(logging.INFO):
        student = Auto(name="auto", max_input_tokens=99).resolve()
    assert student == Pretrained(name="flan_t5_base", model="google/flan-t5-base", max_input_tokens=99)
    assert "student=auto: student=flan_t5_base for a GPU of 16 GiB with bfloat16" in caplog.text


def test_a_student_that_was_named_is_the_one() -> None:
    for student in (MiniLM(name="minilm"), T5Scratch(name="t5_scratch")):
        assert student.resolve() is student


def test_this_machine_has_memory() -> None:
    machine = measure_machine()
    assert 0.1 < machine.memory < 1e5
    assert machine.gpu_memory >= 0


def test_what_auto_chooses_is_what_the_option_of_that_name_is(compose_student: dict[str, Student]) -> None:
    machines = [Machine(memory) for memory in (1, 4, 15)] + [Machine(8, gpu, True) for gpu in (8, 24, 80)]
    for machine in machines:
        student, _ = choose_student(machine)
        assert student == compose_student[student.name]
        assert type(student) is GROUPS["student"][student.kind]


@pytest.fixture(scope="module")
def compose_student() -> dict[str, Student]:
    """The students of ``conf/student/`` that ``auto`` chooses among."""
    from hydra import compose, initialize_config_dir

    from dsbs.cli.composition import conf_dir
    from dsbs.cli.config import register_schemas, to_object

    register_schemas()
    names = ("t5_scratch", "minilm", "smollm2", "flan_t5_small", "flan_t5_base", "flan_t5_large")
    with initialize_config_dir(str(conf_dir()), version_base=None):
        return {name: to_object(compose("train", ["task=svamp", f"student={name}"])).student for name in names}
