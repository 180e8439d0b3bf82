"""Controls: is it what the rationales say that helps? Each replaces a run's rationales by something else.

Everything else stays: the subset, the labels, steps, batches and validation. Transforms of tokens work on ids of the
student's own tokenizer, so lengths match exactly, and with them the number of target tokens.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from dsbs.core.errors import ConfigError
from dsbs.core.records import Annotation, Example
from dsbs.tasks.base import Task

Ids = NDArray[np.int32]
TRIES = 100  # partners that are tried for an example that drew a rationale like its own


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """Input and targets of one example that has a rationale: token ids, int32, without end tokens.

    Attributes:
        input: the input of the label, and of the rationale unless ``noised`` is given.
        rationale: the rationale; None: none is learned.
        noised: the input of the rationale, where it is another one.
    """

    input: Ids
    label: Ids
    rationale: Ids | None
    noised: Ids | None = None


@dataclass
class Control:
    """No control, and the base of all others; a dataclass whose fields are its configuration.

    Attributes:
        kind: which class this is; a key of ``dsbs.data.controls.CONTROLS``.
        name: the option's name in ``conf/control/``.
    """

    kind: str = "none"
    name: str = "none"

    @property
    def title(self) -> str:
        """The name with the control's own settings, as ``metrics.json`` has it.

        >>> TeacherNoise(name="teacher_noise", rate=0.4).title
        'teacher_noise(rate=0.4)'
        """
        own = [field for field in fields(self) if field.name not in ("kind", "name")]
        settings = [f"{field.name}={getattr(self, field.name)}" for field in own]
        return self.name + (f"({', '.join(settings)})" if settings else "")

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        return []

    def identity(self) -> dict[str, object] | None:
        """Return what decides the transform, for the run's hash; None without a control: such runs keep their names."""
        return None if self.kind == "none" else {key: value for key, value in asdict(self).items() if key != "name"}

    def rewrite(self, task: Task, example: Example, annotation: Annotation) -> Annotation:
        """Return the annotation to learn from in place of an example's own; called before tokenization."""
        return annotation

    def rearrange(self, examples: Sequence[TokenizedExample], rng: np.random.Generator) -> list[TokenizedExample]:
        """Return what is learned instead, in the same order; called after tokenization.

        Args:
            examples: the examples of the subset that have a rationale.
            rng: random generator that nothing else draws from.
        """
        return list(examples)


NO_CONTROL = Control().title


@dataclass
class Shuffled(Control):
    """Each example gets the rationale of another one: the language of rationales, but not about its input."""

    kind: str = "shuffled"

    def rearrange(self, examples: Sequence[TokenizedExample], rng: np.random.Generator) -> list[TokenizedExample]:
        """Exchange the rationales; no example keeps one of the same wording as long as there is another."""
        return _exchange(examples, range(len(examples)), rng)


@dataclass
class SameLabel(Control):
    """Each example gets the rationale of another one of its label: isolates how far rationales give labels away."""

    kind: str = "same_label"

    def rearrange(self, examples: Sequence[TokenizedExample], rng: np.random.Generator) -> list[TokenizedExample]:
        """Exchange within each label; an example that is alone with its label loses its rationale."""
        found = list(examples)
        groups: dict[bytes, list[int]] = defaultdict(list)
        for position, one in enumerate(examples):
            groups[one.label.tobytes()].append(position)
        for positions in groups.values():
            if len(positions) == 1:
                found[positions[0]] = replace(found[positions[0]], rationale=None)
            else:
                found = _exchange(found, positions, rng)
        return found


@dataclass
class Permuted(Control):
    """The tokens of each rationale in random order: its words, but not what they say together."""

    kind: str = "permuted"

    def rearrange(self, examples: Sequence[TokenizedExample], rng: np.random.Generator) -> list[TokenizedExample]:
        return [replace(one, rationale=rng.permutation(_rationale(one))) for one in examples]


@dataclass
class LabelRepeated(Control):
    """The label again and again, as long as the rationale: more of the label's signal, and nothing else."""

    kind: str = "label_repeated"

    def rearrange(self, examples: Sequence[TokenizedExample], rng: np.random.Generator) -> list[TokenizedExample]:
        """Repeat the label's tokens up to the rationale's length."""
        return [replace(one, rationale=np.resize(one.label, len(_rationale(one)))) for one in examples]


@dataclass
class RandomText(Control):
    """Tokens drawn from all rationales as often as they occur there, as many as the rationale has."""

    kind: str = "random_text"

    def rearrange(self, examples: Sequence[TokenizedExample], rng: np.random.Generator) -> list[TokenizedExample]:
        """Draw the tokens of each rationale from the unigram distribution of all rationales."""
        if not examples:
            return []
        tokens, counts = np.unique(np.concatenate([_rationale(one) for one in examples]), return_counts=True)
        shares = counts / counts.sum()
        return [
            replace(one, rationale=rng.choice(tokens, len(_rationale(one)), p=shares).astype(np.int32))
            for one in examples
        ]


@dataclass
class ExtraCompute(Control):
    """The input is reconstructed from a copy with gaps: as many target tokens, but nothing from a teacher.

    Attributes:
        noise: share of the input's tokens removed from the copy.
    """

    kind: str = "extra_compute"
    noise: float = 0.3

    def faults(self) -> list[str]:
        return [] if 0 < self.noise < 1 else [f"control.noise={self.noise}: expected a share between 0 and 1."]

    def rearrange(self, examples: Sequence[TokenizedExample], rng: np.random.Generator) -> list[TokenizedExample]:
        """Make the copy the input (its last token stays) and the input the target, as long as the rationale."""
        found = []
        for one in examples:
            stays = rng.random(len(one.input)) >= self.noise
            stays[-1:] = True
            target = np.resize(one.input[:-1] if len(one.input) > 1 else one.input, len(_rationale(one)))
            found.append(replace(one, rationale=target, noised=one.input[stays]))
        return found


@dataclass
class MatchedInformation(Control):
    """The facts that a rationale names as a plain second label: do they help, or the sentence around them?"""

    kind: str = "matched_information"

    def rewrite(self, task: Task, example: Example, annotation: Annotation) -> Annotation:
        """Return the annotation with the task's hidden facts as its rationale.

        Raises:
            ConfigError: where the task has none.
        """
        if (facts := task.hidden_facts(example)) is None:
            raise ConfigError(
                f"control=matched_information: task={task.name} does not know what is hidden in its examples; "
                "triage does. Choose another control."
            )
        return replace(annotation, rationale=facts)


@dataclass
class TeacherNoise(Control):
    """A share of the rationales argues for another label; labels stay as they are.

    Attributes:
        rate: that share; with one seed, rationales that are wrong at one rate are wrong at every higher one.
    """

    kind: str = "teacher_noise"
    rate: float = 0.2

    def faults(self) -> list[str]:
        return [] if 0 < self.rate <= 1 else [f"control.rate={self.rate}: expected a share above 0 and up to 1."]

    def rearrange(self, examples: Sequence[TokenizedExample], rng: np.random.Generator) -> list[TokenizedExample]:
        """Give a share of the examples a rationale that came with another label."""
        found = list(examples)
        for position in rng.permutation(len(examples))[: round(self.rate * len(examples))]:
            one = examples[position]
            others = (examples[donor] for donor in rng.integers(len(examples), size=TRIES))
            other = next((other for other in others if not np.array_equal(other.label, one.label)), one)
            found[position] = replace(one, rationale=other.rationale)
        return found


def _rationale(one: TokenizedExample) -> Ids:
    assert one.rationale is not None
    return one.rationale


def _exchange(
    examples: Sequence[TokenizedExample], positions: Sequence[int], rng: np.random.Generator
) -> list[TokenizedExample]:
    """Return the examples with the rationales at some positions exchanged: a derangement, by wording where there are
    enough wordings, else by example.
    """
    found = list(examples)
    donors = derange([_rationale(examples[position]).tobytes() for position in positions], rng)
    for position, donor in zip(positions, donors, strict=True):
        found[position] = replace(examples[position], rationale=examples[positions[donor]].rationale)
    return found


def derange(values: Sequence[Hashable], rng: np.random.Generator) -> list[int]:
    """Return a permutation without fixed points that, as far as possible, gives no position an equal value.

    >>> values = ["a", "a", "b", "b", "c"]
    >>> order = derange(values, np.random.default_rng(0))
    >>> sorted(order), any(values[position] == values[donor] for position, donor in enumerate(order))
    ([0, 1, 2, 3, 4], False)
    """
    order = list(range(len(values)))
    for position in range(len(order) - 1, 0, -1):  # Sattolo: one cycle through all, so nothing stays
        other = int(rng.integers(position))
        order[position], order[other] = order[other], order[position]

    def clash(position: int, donor: int) -> bool:
        return position == donor or values[position] == values[donor]

    for position in range(len(order)):
        for other in rng.integers(len(order), size=TRIES).tolist() if clash(position, order[position]) else ():
            if not clash(position, order[other]) and not clash(other, order[position]):
                order[position], order[other] = order[other], order[position]
                break
    return order


CONTROLS: dict[str, type[Control]] = {
    "none": Control,
    "shuffled": Shuffled,
    "same_label": SameLabel,
    "permuted": Permuted,
    "label_repeated": LabelRepeated,
    "random_text": RandomText,
    "extra_compute": ExtraCompute,
    "matched_information": MatchedInformation,
    "teacher_noise": TeacherNoise,
}
