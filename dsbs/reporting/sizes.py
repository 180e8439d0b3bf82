"""Students of growing size, trained alike: the smallest that is as accurate as its teacher."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dsbs.core.units import show_fraction
from dsbs.inference.metrics import show_score
from dsbs.reporting.conditions import Condition
from dsbs.reporting.teachers import TeacherFacts
from dsbs.reporting.wording import describe_condition, show_interval
from dsbs.tasks.base import ACCURACY


@dataclass(frozen=True)
class SizeSeries:
    """Conditions that differ only in the student.

    Attributes:
        name: what they have in common and other series have not: ``step_by_step on 1/8 of the data``.
        students: the smallest first.
        teacher: their teacher, or None where its accuracy on test is unknown.
    """

    name: str
    students: list[Condition]
    teacher: TeacherFacts | None

    @property
    def level(self) -> float | None:
        """The teacher's accuracy on test, or None."""
        return self.teacher.accuracy if self.teacher else None

    @property
    def reaches(self) -> Condition | None:
        """The smallest student whose mean accuracy is at least the teacher's, or None."""
        level = self.level
        return next((one for one in self.students if level is not None and one.estimate.mean >= level), None)

    @property
    def beats(self) -> Condition | None:
        """The smallest student whose 95% interval lies above the teacher's accuracy, or None."""
        level = self.level
        return next((one for one in self.students if level is not None and one.estimate.low > level), None)


def find_size_series(conditions: Sequence[Condition], teachers: Sequence[TeacherFacts]) -> list[SizeSeries]:
    """Return the groups of conditions that differ only in the student, with two or more sizes."""
    groups: dict[tuple[object, ...], list[Condition]] = defaultdict(list)
    for one in conditions:
        if not one.control and one.mean("parameters") is not None:
            groups[(one.data_fraction, *one.line[1:])].append(one)
    found = [group for group in groups.values() if len({one.mean("parameters") for one in group}) > 1]
    firsts, found_series = [group[0] for group in found], []
    for group in found:
        group.sort(key=lambda one: one.mean("parameters") or 0.0)
        method = describe_condition(group[0], firsts, student=False)
        name = f"{method} on {show_fraction(group[0].data_fraction)} of the data"
        found_series.append(SizeSeries(name, group, _find_teacher(group[0], teachers)))
    return found_series


def _find_teacher(condition: Condition, teachers: Sequence[TeacherFacts]) -> TeacherFacts | None:
    """Return the condition's teacher, if exactly one accuracy on test is known for its name."""
    if condition.metric != ACCURACY:
        return None
    known = [one for one in teachers if one.accuracy is not None and one.split == "test"]
    known = [one for one in known if condition.teacher in (None, one.name)]
    return known[0] if len({one.accuracy for one in known}) == 1 else None


def describe_size_series(series: SizeSeries, among: Sequence[Condition]) -> str:
    """Return which is the smallest student that is as accurate as its teacher, in a sentence or two."""
    if series.teacher is None or series.level is None:
        return f"{series.name}: {len(series.students)} sizes; the teacher's accuracy on test is not known."
    opening = f"{series.name}: the teacher {series.teacher.name} reaches {show_score(ACCURACY, series.level)} on test."
    if series.reaches is None:
        return f"{opening} No student reaches that."
    opening += f" The smallest student that reaches it is {_describe(series.reaches, among)}"
    if series.beats is None:
        return f"{opening}; none is shown to be better."
    if series.beats is series.reaches:
        return f"{opening}, and its interval lies above."
    return f"{opening}; the smallest whose interval lies above is {_describe(series.beats, among)}."


def show_parameters(count: float) -> str:
    """Return a number of parameters with a unit.

    >>> show_parameters(13_000), show_parameters(400_000), show_parameters(60_500_000), show_parameters(1.3e9)
    ('13k', '0.4M', '60M', '1.3B')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f}B"
    if count < 1e5:
        return f"{count / 1e3:.0f}k"
    return f"{count / 1e6:.0f}M" if count >= 1e7 else f"{count / 1e6:.2g}M"


def _describe(condition: Condition, among: Sequence[Condition]) -> str:
    estimate, metric = condition.estimate, condition.metric
    return (
        f"{describe_condition(condition, among)} of {show_parameters(condition.mean('parameters') or 0)} parameters "
        f"({show_score(metric, estimate.mean)}, {show_interval(metric, estimate.low, estimate.high)})"
    )
