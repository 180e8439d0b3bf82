"""Rationales as a student learns them: on one line, without markup and the answer's cue."""

import re
from dataclasses import dataclass

RATIONALES_FROM = ("answer", "thinking", "both")
_TITLES = "Rationale|Reasoning|Explanation|Thinking|Thoughts?|Analysis|Justification|Response"
_OPENING = re.compile(
    r"^(?:\s{0,8}`{3}\w{0,10}[ ]?\n)?(?:\s{0,8}(?:\d{1,2}[.)]|-)\s(?=[*_]{0,4}[A-Z]))?[*_#>\s]{0,8}"
    rf"(?:(?:A|Assistant|{_TITLES})\s?[*_]{{0,4}}:[*_]{{0,4}}|(?:{_TITLES})[*_ ]{{0,4}}(?:\.\.\.)?(?=\n))"
    rf"|^\s{{0,8}}`{{3}}\w{{0,10}}[ ]?\n",
    re.I,
)
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?=\S)[^.!?\n]*)*[.!?\n]*\s*")
_MARKUP = re.compile(
    r"\*\*|__|^#{1,6}\s|^[ \t]{0,8}(?:\d{1,2}[.)]|[-*•])[ \t]{0,8}$|^[-*]\s"
    r"|</?(?:reasoning|rationale|explanation|analysis|step|steps|response|output)>"
    r"|\[/?(?:reasoning|rationale|explanation)\]|\[label\][^.!?\n]{0,200}[.!?]?|<pad>|</?s>",
    re.M | re.I,
)
# Colours of a terminal, and signs that are not seen and mean nothing.
_CONTROL = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]|[\x00-\x08\x0e-\x1f\x7f\u200b\u2060\ufeff]")
_DANGLING = re.compile(r"(?:^|[\s,;])(?:so|thus|hence|therefore|and|because|my|the|final|\\[\[(]|\$\$)$", re.I)


def clean_rationale(text: str, *cues: re.Pattern[str]) -> str:
    """Return a rationale on one line, without Markdown and sentences that contain a cue.

    >>> clean_rationale("**Reasoning:** A dog is\\nan animal. So,")
    'A dog is an animal.'
    >>> clean_rationale("<pad>[rationale] It broke. [label] bad")
    'It broke.'
    >>> clean_rationale("It broke.\\n\\n\\\\[")  # what was left of a boxed answer
    'It broke.'
    """
    text = _OPENING.sub("", _CONTROL.sub("", text).lstrip(), count=1)
    for cue in cues:
        if cue.search(text):
            text = "".join(sentence for sentence in _SENTENCE.findall(text) if not cue.search(sentence))
    text = " ".join(_MARKUP.sub("", text).split()).rstrip(" ,;:*-_#`")
    return _DANGLING.sub("", text).strip(" ,;:*-_#`")


@dataclass(frozen=True)
class Take:
    """Which part of a completion becomes the rationale: ``Prompt.rationale_from``, and bounds of the thinking."""

    source: str = "answer"
    sentences: int | None = None
    words: int | None = None

    def choose(self, answer: str, thought: str) -> str | None:
        """Return the rationale, or None where there is none.

        >>> Take("thinking", sentences=1).choose("It broke.", "Hm. A pump hums. It broke, so it is bad.")
        'It broke, so it is bad.'
        """
        thought = self.cut(thought)
        if self.source == "both":
            return " ".join(filter(None, (thought, answer))) or None
        return (answer or thought if self.source == "answer" else thought or answer) or None

    def cut(self, thought: str) -> str:
        """Return the last part of the thinking, by ``sentences`` and ``words``; its beginning repeats the question."""
        if self.sentences is None and self.words is None:
            return thought
        sentences = [sentence for sentence in _SENTENCE.findall(thought) if sentence.strip()]
        if self.sentences is not None:
            sentences = sentences[-self.sentences :]
        if self.words is not None:
            kept, left = [], self.words
            for sentence in reversed(sentences):
                left -= len(sentence.split())
                if left < 0:
                    break
                kept.append(sentence)
            # A single sentence that is too long is cut itself.
            sentences = kept[::-1] or [" ".join(sentences[-1].split()[-self.words :])] if sentences else []
        return "".join(sentences).strip()


FROM_ANSWER = Take()
