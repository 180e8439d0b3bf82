"""What a student loses of its inputs and targets: truncated tokens, and tokens unknown to its tokenizer."""

from collections.abc import Iterable, Mapping, Sequence

from dsbs.core.units import pluralize

WORTH_TELLING = 0.001  # share of unknown tokens above which they are reported
# Count -> what is counted (None: examples), and the rest of its sentence.
SENTENCES = {
    "inputs_cut": ("input", "{of} exceeded student.max_input_tokens: truncated at the end."),
    "targets_cut": ("target", "{of} exceeded student.max_target_tokens: truncated."),
    "teacher_inputs_cut": (
        "prompt",
        " of the teacher exceeded objective.teacher_max_input_tokens: truncated, with what stands after the input.",
    ),
    "answers_cut": ("label", " of validation and test cannot be generated: longer than student.max_new_tokens."),
    "targets_unwritten": (
        "target",
        "{of} cannot be written up to the answer at the end: longer than student.max_new_tokens. Set it as high as "
        "student.max_target_tokens.",
    ),
    "line_breaks_lost": (
        "label",
        " of validation and test with line breaks: this student's tokenizer cannot write them. Choose a decoder-only "
        "student where they matter.",
    ),
    "single_vote": (
        None,
        "{of} have a single sample of the teacher: as a distribution it says no more than the label. "
        "dsbs.extract samples=5 asks for more.",
    ),
    "without_probabilities": (
        None,
        "{of} have no log-probabilities of the closed answers: they are learned by the label alone.",
    ),
    "inputs_blank": ("input", "{of} without a known feature: the student guesses."),
}


def count_lost(rows: Iterable[Sequence[int]], limit: int, unknown: int | None) -> dict[str, int]:
    """Return counts of truncated inputs and of unknown tokens.

    Args:
        rows: token ids of the inputs; more than ``limit`` for those that are truncated.

    Returns:
        ``inputs``, ``inputs_cut``, ``inputs_tokens`` and ``inputs_unknown`` (tokens).

    >>> count_lost([[5, 6, 7], [5, 0]], limit=2, unknown=0)
    {'inputs': 2, 'inputs_cut': 1, 'inputs_tokens': 5, 'inputs_unknown': 1}
    """
    counts = dict.fromkeys(("inputs", "inputs_cut", "inputs_tokens", "inputs_unknown"), 0)
    for row in rows:
        counts["inputs"] += 1
        counts["inputs_cut"] += len(row) > limit
        counts["inputs_tokens"] += len(row)
        counts["inputs_unknown"] += list(row).count(unknown) if unknown is not None else 0
    return counts


def describe_lost(counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each kind of loss that occurs.

    Args:
        counts: of ``count_lost``; the same for ``targets``; ``inputs_blank``: inputs without any known feature;
            ``teacher_inputs_cut``: truncated prompts of a teacher beside the student;
            ``answers_cut``: labels too long to be generated; ``targets_unwritten``: targets too long to be generated
            up to the answer at their end;
            ``line_breaks_lost``: labels with line breaks that the student cannot write;
            ``single_vote`` and ``without_probabilities``: examples whose teacher gives no distribution;
            ``without_system``: examples whose input is read without a system prompt, where the others have one;
            ``inputs``, or else ``train``: the number of examples.

    >>> describe_lost({"inputs": 300, "inputs_cut": 12, "inputs_tokens": 1000, "inputs_unknown": 20})
    ['12 inputs of 300 examples exceeded student.max_input_tokens: truncated at the end.', '2.0% of the tokens of \
the inputs are unknown to the tokenizer.']
    """
    examples = counts.get("inputs", counts.get("train"))
    of = "" if examples is None else f" of {examples:,} examples"
    notes = [
        f"{pluralize(count, noun) if noun else f'{count:,}'}{rest.format(of=of)}"
        for key, (noun, rest) in SENTENCES.items()
        if (count := counts.get(key))
    ]
    notes += _describe_systems(counts)
    for part in ("inputs", "targets"):
        share = counts.get(f"{part}_unknown", 0) / max(counts.get(f"{part}_tokens", 0), 1)
        if share > WORTH_TELLING:
            notes.append(f"{100 * share:.1f}% of the tokens of the {part} are unknown to the tokenizer.")
    return notes


def _describe_systems(counts: Mapping[str, int]) -> list[str]:
    """Return what is wrong with the system prompts that the student reads, if it reads any."""
    bare = counts.get("without_system")
    if bare is None:
        return []
    if bare == counts.get("train"):
        return ["No example has a system prompt to read (objective.reads_systems): extract with some, such as "
                "prompt=explained."]  # fmt: skip
    if not bare + counts.get("label_only", 0):
        return ["Every training input has a system prompt before it, but in use there is none: keep an empty "
                "text in prompt.systems."]  # fmt: skip
    return []
