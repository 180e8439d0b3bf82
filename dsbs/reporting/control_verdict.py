"""What the controls show, in words: against the true rationales, and against the baseline."""

from collections.abc import Callable, Sequence

from dsbs.core.units import show_fraction
from dsbs.reporting.claims import BETTER, ONE_STUDENT, UNDECIDED, WORSE
from dsbs.reporting.comparisons import CONTROL, CONTROL_BASELINE, Comparison
from dsbs.reporting.conditions import Condition
from dsbs.reporting.wording import show_control

# What is learned besides the label, by the control's name.
LEARNED = {
    "shuffled": "the rationale of another example",
    "same_label": "that of another example with the same label",
    "permuted": "the rationale's tokens in random order",
    "label_repeated": "the label, as long as the rationale",
    "random_text": "random tokens, as many as in the rationale",
    "extra_compute": "the input, from a copy with gaps",
    "matched_information": "the hidden facts in two words",
    "teacher_noise": "for some examples the rationale of another label",
}
# In these the rationales tell nothing about the example itself.
OTHERS = ("shuffled", "same_label")

Side = Callable[[Comparison], Condition]


def describe_controls(comparisons: Sequence[Comparison]) -> str | None:
    """Return what the controls show: a conclusion if there is one, then a sentence per verdict; None without them."""
    against_true = [item for item in comparisons if item.kind == CONTROL and item.result]
    against_baseline = [item for item in comparisons if item.kind == CONTROL_BASELINE and item.result]
    if not against_true:
        return None
    sentences = [conclude(against_true, against_baseline)]
    sentences += _describe_verdicts(
        against_true,
        lambda item: item.baseline,
        {
            BETTER: "The true rationales do better than",
            UNDECIDED: "No difference is shown between the true rationales and",
            WORSE: "The true rationales do worse than",
        },
    )
    sentences += _describe_verdicts(
        against_baseline,
        lambda item: item.candidate,
        {
            BETTER: "Better than the baseline on the same data:",
            UNDECIDED: "No difference from the baseline is shown for",
            WORSE: "Worse than the baseline on the same data:",
        },
    )
    if alone := dict.fromkeys(_name(item.baseline, against_true) for item in against_true if item.one_seed):
        sentences.append(f"With a single seed, nothing can be said about {_list(list(alone))}.")
    return " ".join(filter(None, sentences))


def conclude(against_true: Sequence[Comparison], against_baseline: Sequence[Comparison]) -> str:
    """Return whether it is the content of the rationales that helps, by those of other examples; empty if undecided."""
    true = {item.verdict for item in against_true if item.baseline.control in OTHERS}
    baseline = {item.verdict for item in against_baseline if item.candidate.control in OTHERS}
    if true == {BETTER} and baseline and BETTER not in baseline and ONE_STUDENT not in baseline:
        return "The content of the rationales matters: with those of other examples no gain over the baseline is shown."
    if true == {BETTER}:
        return "The content of the rationales matters: those of other examples do worse."
    if true and not true & {BETTER, ONE_STUDENT}:
        return "The content of the rationales is not shown to matter: no loss is shown with those of other examples."
    return ""


def _describe_verdicts(items: Sequence[Comparison], side: Side, openings: dict[str, str]) -> list[str]:
    sentences = []
    for verdict, opening in openings.items():
        if names := [_name(side(item), items) for item in items if item.verdict == verdict]:
            sentences.append(f"{opening} {_list(names)}.")
    return sentences


def _name(control: Condition, among: Sequence[Comparison]) -> str:
    """Return a control's name, with what tells it from others of that name among the comparisons."""
    name = show_control(control.control or "")
    conditions = {id(one): one for item in among for one in (item.candidate, item.baseline) if one.control}.values()
    alike = [one for one in conditions if one.control == control.control]
    if len({one.data_fraction for one in alike}) > 1:
        name += f" on {show_fraction(control.data_fraction)}"
    if len({one.student for one in alike}) > 1:
        name += f" of {control.student}"
    return name


def _list(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
