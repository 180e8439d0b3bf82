"""Rationales in the form in which a student learns them: one line, without markup, without the answer's cue."""

import re

_OPENING = re.compile(r"^[*_#>\s]{0,8}(?:A|Assistant|Rationale|Reasoning|Explanation)\s?[*_]{0,4}:[*_]{0,4}", re.I)
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?=\S)[^.!?\n]*)*[.!?\n]*\s*")
_MARKUP = re.compile(
    r"\*\*|__|^#{1,6}\s|^[-*]\s|</?(?:reasoning|rationale|explanation|analysis|step|steps|response|output)>",
    re.M | re.I,
)
_DANGLING = re.compile(r"(?:^|[\s,;])(?:so|thus|hence|therefore|and|because|my|the|final)$", re.I)


def clean_rationale(text: str, *cues: re.Pattern[str]) -> str:
    """Return a rationale on one line, without Markdown and without sentences that hold a cue.

    >>> clean_rationale("**Reasoning:** A dog is\\nan animal. So,")
    'A dog is an animal.'
    """
    text = _OPENING.sub("", text.lstrip(), count=1)
    for cue in cues:
        if cue.search(text):
            text = "".join(sentence for sentence in _SENTENCE.findall(text) if not cue.search(sentence))
    text = " ".join(_MARKUP.sub("", text).split()).rstrip(" ,;:*-_#`")
    return _DANGLING.sub("", text).strip(" ,;:*-_#`")
