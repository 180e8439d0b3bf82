"""What was lost on the way from the data to a student, in sentences: for the terminal, the card and the report."""

from collections.abc import Mapping

from dsbs.tasks.base import Task

WORTH_TELLING = 0.001  # share of unknown tokens


def tell_losses(task: Task, counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each loss.

    Args:
        task: what it noticed of its data.
        counts: of a run, as in ``metrics.json``.

    >>> tell_losses(Task(), {"inputs_cut": 12, "train": 300, "inputs_tokens": 1000, "inputs_unknown": 20})
    ['12 inputs of 300 examples were longer than student.max_input_tokens and cut.', '2.0% of the tokens of the inputs \
are unknown to the tokenizer.']
    """
    told = list(task.remarks())
    for part, key in (("inputs", "max_input_tokens"), ("targets", "max_target_tokens")):
        if counts.get(f"{part}_cut"):
            of = f" of {counts['train']:,} examples" * ("train" in counts)
            told.append(f"{counts[f'{part}_cut']:,} {part}{of} were longer than student.{key} and cut.")
    for part in ("inputs", "targets"):
        share = counts.get(f"{part}_unknown", 0) / max(counts.get(f"{part}_tokens", 0), 1)
        if share > WORTH_TELLING:
            told.append(f"{100 * share:.1f}% of the tokens of the {part} are unknown to the tokenizer.")
    return told
