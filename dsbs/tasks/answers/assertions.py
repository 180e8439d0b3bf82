# ruff: noqa: RUF001 - the signs that people write are meant
"""What a clause says about the answer that it names: that it is the answer, that it is not, or nothing certain."""

import re

# What may stand before an answer without saying anything about it; taken off piece by piece.
LEAD = re.compile(
    r"(?:so|thus|hence|therefore|clearly|definitely|certainly|surely|simply|just|that's|it's|that|it|this|is|the|my|"
    r"final|correct|right|best|predicted|likely|most|overall|single|sure|okay|ok)(?:[,:]\s{0,3}|\s{1,3})"
    r"|an?\s{1,3}(?=[\w\"'*(<`])"  # and not 'A, B'
    r"|(?:answer|label|class|category|classification|prediction|output|verdict|conclusion|response|result|value)\b"
    r"\s{0,3}(?:is\b|would\s{1,3}be\b|should\s{1,3}be\b|must\s{1,3}be\b)?\s{0,3}(?:[:=>→–—]|-(?!\d)){0,3}\s{0,3}"
    r"|[-–—•*:>=→#]{1,6}(?!\d)\s{0,3}|\d{1,2}[.)]\s{1,3}",
    re.I,
)
# The answer that such words stand right before is denied.
DENIAL = re.compile(
    r"(?:(?:,|\band|\bbut)?\s{0,3}\b(?:not|no|never|neither|nor|cannot|hardly|barely|scarcely|without|except|unlike|than|"
    r"nicht|keine?|weder|noch|ohne|pas|ni|non|sans|aucune?|sin|ningun[ao]?|ningún|sem|nenhuma?|senza|nessun[ao]?|niet|geen|"
    r"zonder|inte|utan|ikke|uden|uten|não|nunca|не|ні|без|nie|ne|bez|není|nije|nem|nu|ei|bukan|tidak|tanpa|không|"
    r"δεν|όχι|לא|ليس|ليست|غير|لا|"
    r"over|rather than|instead of|opposed to|anything but|everything but|all but|far from|nothing like|"
    r"opposite of)|n't)[.,]?\s{1,3}"
    r"(?:(?:an?|the|be|is|it|it's|really|entirely|quite|fully|completely|necessarily|at all|exactly|very|so|simply|in|"
    r"as|being|considered|called|classified|labell?ed|option|choice|answer)\s{1,3}){0,4}[\"'`*]{0,3}$",
    re.I,
)
CONTRAST = re.compile(r"\s{0,3},?\s{0,3}but(?:\s{1,3}(?:rather|instead))?\b")
# Where a clause has such words, it is not clear what it says.
_HEDGES = re.compile(
    r"n't\b|\b(?:not|no|never|neither|nor|non|cannot|hardly|barely|scarcely|rarely|but|far|rather|instead|unlike|opposite|"
    r"contrary|contradicts|except|excluding|besides|without|lacks?|less|least|fewer|than|other|if|unless|would|could|"
    r"might|may|maybe|perhaps|possibly|can|either|or|between|both|almost|nearly|wrong\w*|false|incorrect\w*|mistaken\w*|"
    r"erroneous\w*|unlikely|doubt\w*|rul(?:ed?|ing)|exclud\w*|eliminat\w*|discount\w*|barring|(?:apart|aside)\sfrom|save\sfor|exception|"
    r"reverse|antithesis|inverse|contrast|border(?:line|ing)|potentially|arguably|seemingly|apparently|ostensibl\w*|feign\w*|fake\w*|"
    r"mock\w*|in\sparts?|for\snow|nowhere|none|disagree\w*|hesitate\w*|stretch|stops\sbeing|ceases\sto|on\spaper|in\stheory|nominal\w*|"
    r"at\s(?:best|worst)|scant\w*|lacking|void|wishes|claim(?:s|ed)|(?:further|way)\sfrom|seldom|infrequent\w*|occasional\w*|sometimes|"
    r"(?:is|are|was|were|do|does|did|ca|wo|ai)nt|discard\w*|dismiss\w*|reject\w*|refuse\w*|avoid\w*|fail\w*|short|out|off|"
    r"question\w*|first|initial\w*|previous\w*|former\w*|once|was|were|used|too|until|supposed\w*|pretend\w*|ironic\w*|sarcas\w*|assum\w*|"
    r"suppose|hypothetical\w*|depends?|unclear|unsure|uncertain|ambiguous|hard|difficult|impossible|whether|versus|vs|"
    r"mix\w*|though|although|however|despite|only|free|anti|some|many|people|others|surface|literally|"
    r"nicht|kein\w*|weder|niemals|außer|statt|pas|jamais|sauf|nunca|tampoco|salvo|excepto|niet|geen|não|nem|nessun\w*|"
    r"inte|ikke|не|ні|nie|ne|není|nije|nem|nu|ei|değil|bukan|tidak|không|δεν|όχι|לא|ليس|ليست|غير|لا|"
    r"partly|partially|minus|half|semi|quasi|pseudo|zero|absence|devoid|falsely|allegedly|unknown|undecided|so-called|"
    r"should\s+have)\b|\b0(?:\.0+)?\s?%|नहीं|নয়|不|非|没|未|ない|ません|아니|않"
)
SIGNS_OF_DENIAL = re.compile(r"[❌✗✘🚫⛔¬≠]|!=|![\w$€£]")
# An answer at the head of a sentence may be followed by reasons in any words, but not by these.
TURNS = re.compile(
    r"\W{0,6}(?:if|unless|but|or|nor|and|though|although|except|only|however|not|no|maybe|perhaps|when|until|provided|"
    r"assuming|depending|is|are|was|were|may|might|could|would|can|cannot|seems?|vs|versus|"
    r"wrong|incorrect|false|none|haha|just kidding|wait|hmm|oops|lol|unlikely|less likely|unsure|uncertain|rejected|"
    r"excluded|eliminated|ironic\w*|sarcas\w*|allegedly|supposedly|i doubt|they say|"
    r"which (?:is (?:wrong|false|incorrect|not)|it is not)|"
    r"in (?:parts?|theory)|on paper|for now)\b|\s{0,3}\(?[?/|&+]|\s{1,3}[<>=]{1,2}\s"
    r"|\s{0,3}[:=(]\s{0,3}0(?:\.0+)?(?:%|\b(?!\.))|\W{0,6}(?:では|じゃ|は(?=な)|不|아니|않)"
)
CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|scratch|oops|hmm|second thought|alternatively|sorry|could also|might also|may also|"
    r"or maybe|or perhaps|or rather|i mean|however)\b|\bno,|^\W{0,4}(?:but|or)\b|^\W{0,4}not\W{0,4}$"
)
# What may follow an answer that ends its clause in meaning, if not in letters.
_FOLLOWS = re.compile(
    r"(?:\s{1,3}(?:sentiment|label|class|category|option|answer|choice|tone|review|one|statement|relation|relationship|"
    r"opinion|feeling|stars?|points?|message|text|case|polarity|emotion|intent|topic|priority|urgency|severity|risk|level|"
    r"news|years?|stance|mood|relevance)\b)?"
    r"(?:\s{0,3}$|\s{0,3}(?!->|=>|[<>=]{1,2}\s)[^\w\s?/|&+→⇒]|\s{1,3}(?:because|since|as|for|due|given|with|in|on|of|to|at|by|from|that|here|"
    r"overall|is\s{1,3}(?:the\s{1,3})?(?:most\s{1,3})?(?:correct|right|best|answer|likely|appropriate|fitting))\b)"
)
_ENDS = re.compile(r"\s{0,3}(?:$|[^\w\s]|(?:because|since|as|for)\b)")


def asserts(parts: list[str], denies: bool) -> bool:
    """Return whether a clause says that its answer is the answer.

    Args:
        parts: what stands before, between and after the places where the clause names it.
        denies: whether the answer is a word that may also belong to the next one, such as ``no``.
    """
    before, after = parts[0], parts[-1]
    if before.rstrip().endswith(("/", "|", "&", "+")):  # the second of two
        return False
    if not _FOLLOWS.match(after) or (denies and not _ENDS.match(after)):
        return False
    while (lead := LEAD.match(before := before.lstrip(" \t*_\"'`([{,"))) and lead.end():
        before = before[lead.end() :]
    if not before and not after.lstrip(" ")[:1].isalnum():  # 'negative, for it broke': reasons in any words
        return not TURNS.match(after)
    return not any(_HEDGES.search(part) for part in parts)
