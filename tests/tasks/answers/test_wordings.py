"""Answers in the words of people and chat models. Three outcomes: read right, honestly not read, never read wrong."""

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbs.tasks.answers import ClosedAnswers, NumberAnswers
from dsbs.tasks.answers.arithmetic import evaluate

SETS = {
    "mood": ("positive", "negative", "neutral"),
    "yes": ("yes", "no"),
    "place": ("bus depot", "beach", "train station", "bridge", "vet's office"),
    "letter": ("A", "B", "C", "D"),
    "gut": ("gut", "schlecht"),
    "intent": ("card_arrival", "card_linking", "lost_or_stolen_card", "not_sure"),
    "stars": ("1", "2", "3", "4", "5"),
    "nli": ("entailment", "neutral", "contradiction"),
    "half": ("entailment", "not_entailment"),
    "spam": ("spam", "not spam"),
    "five": ("very negative", "negative", "neutral", "positive", "very positive"),
    "valid": ("valid", "invalid"),
    "true": ("true", "false"),
    "sign": ("-1", "0", "1"),
    "zh": ("积极", "消极"),
    "ru": ("положительный", "отрицательный"),
    "ar": ("إيجابي", "سلبي"),
    "ja": ("ポジティブ", "ネガティブ"),
    "ko": ("긍정", "부정"),
    "toxic": ("toxic", "non-toxic"),
    "thumbs": ("👍", "👎"),
    "topic": ("World", "Sports", "Sci/Tech", "IT"),
    "class": ("I", "II", "III"),
    "lang": ("C", "C++", "C#"),
    "nli2": ("contradiction", "entailment", "neutral"),
    "bad": ("bad", "good"),
    "other": ("Sports", "Politics", "Other"),
    "hate": ("hate speech", "offensive language", "neither"),
    "ages": ("0-18", "19-35", "65+"),
    "urgency": ("low", "high"),
    "genre": ("R&B", "Rock & Roll"),
    "code": ("BILLING_ISSUE", "TECH_SUPPORT"),
    "grade": ("A", "A-", "B+", "B"),
}

# What is read, and as what.
READ = r"""
mood|negative|negative
mood|Negative!|negative
mood|option B.|negative
mood|the correct option is B|negative
mood|option B is correct|negative
mood|(B) negative|negative
mood|B) negative|negative
mood|B - negative|negative
mood|B: negative|negative
mood|[B]|negative
mood|**B** (negative)|negative
mood|Option (B): negative|negative
mood|is Answer: b|negative
mood|I choose option B|negative
mood|B, not A|negative
mood|B rather than A|negative
mood|(b) because (a) is too strong|negative
mood|negative, not positive|negative
mood|not positive but negative|negative
mood|negative (not positive)|negative
mood|negative rather than positive|negative
mood|negative and not positive|negative
mood|it isn't positive, it's negative|negative
mood|neither positive nor neutral but negative|negative
mood|~~positive~~ negative|negative
mood|NEGATIVE (confidence: 0.9)|negative
mood|„negative“|negative
mood|<negative>.|negative
mood|A. negative|negative
mood|negative, not 'positive'|negative
mood|&quot;negative&quot;|negative
mood|negative&nbsp;|negative
toxic|non\u2011toxic|non-toxic
thumbs|👎\ufe0f|👎
stars|4 out of 5|4
stars|1 star out of 5 stars|1
nli2|E. entailment|entailment
topic|World, not Sports|World
topic|It is Sports.|Sports
topic|the label is <Sports>|Sports
letter|B, and not C|B
class|II, not III|II
topic|not World but IT|IT
lang|option C#|C#
class|II rather than III|II
sign|a) -1|-1
nli2|(c)|neutral
nli2|C) neutral|neutral
nli2|A|contradiction
ja|ネガティブです。|ネガティブ
ko|부정입니다.|부정
mood|<answer>negative</answer>|negative
mood|$\boxed{\text{negative}}$|negative
mood|\(\boxed{B}\)|negative
mood|=> negative|negative
mood|→ negative|negative
mood|- negative|negative
mood|label: negative|negative
mood|class negative|negative
mood|that the sentiment is clearly negative|negative
mood|most likely negative|negative
mood|negative sentiment|negative
mood|a negative review|negative
mood|negative, because it is not positive|negative
mood|negative – it isn't what it was|negative
mood|negative. Positive words are absent.|negative
mood|"negative" (class 2)|negative
yes|Yes, the animal is not a dog.|yes
yes|no, not yes|no
yes|**No**, because it rained|no
place|(c)|train station
place|vet’s office|vet's office
place|**d) bridge**|bridge
place|at the train station|train station
place|not the beach but the bridge|bridge
place|E|vet's office
letter|The answer is B.|B
letter|D. all of the above|D
letter|option A|A
gut|gut, nicht schlecht|gut
gut|Die Antwort ist gut|gut
intent|Card Arrival.|card_arrival
intent|`card_linking`|card_linking
intent|lost or stolen card|lost_or_stolen_card
stars|4 stars|4
nli|Entailment: a man is a person.|entailment
nli|neutral (neither entailment nor contradiction)|neutral
nli|it is not entailment, it is neutral|neutral
half|not entailment|not_entailment
spam|this is not spam|not spam
five|Very Positive!|very positive
mood|（Ｂ）|negative
mood|Ⓑ|negative
mood|(b.)|negative
mood|<negative>|negative
mood|\u200bnega\u00adtive\ufeff|negative
mood|not A but B|negative
intent|card\_arrival|card_arrival
stars|4.0|4
stars|４|4
stars|४|4
sign|-1|-1
sign|−1|-1
sign|minus 1|-1
sign|the label is -1|-1
sign|+1|1
sign|the label is –1|-1
zh|消极，因为它坏了|消极
zh|（B）消极。|消极
ru|«Отрицательный».|отрицательный
ja|「ネガティブ」です|ネガティブ
zh|消极的|消极
other|Other, not Sports|Other
other|Politics, other than that nothing|Politics
hate|neither hate speech nor offensive language|neither
mood|negative, which fits the complaint|negative
mood|negative (low confidence)|negative
mood|I'd say it is negative|negative
ages|19–35|19-35
ages|the age is 65+ years|65+
urgency|high priority|high
genre|Rock and Roll|Rock & Roll
code|BillingIssue|BILLING_ISSUE
stars|four|4
stars|$2$|2
grade|A−|A-
"""

# What must not be read as the label that it denies, doubts or makes depend on something.
UNREAD = r"""
mood|not positive
mood|not entirely positive
mood|anything but positive
mood|non-positive
mood|nonpositive
mood|far from positive
mood|hardly positive
mood|isn't positive
mood|cannot be positive
mood|never positive
mood|unlike positive
mood|the opposite of positive
mood|everything except positive
mood|neither positive nor negative
mood|not only positive but glowing
mood|I would not call it positive
mood|positive would be an exaggeration
mood|positive is wrong
mood|positive has been ruled out
mood|positive is out of the question
mood|the positive option has been crossed off
mood|the text stresses the positive aspects
mood|positive?
mood|positive? no, negative
mood|positive... just kidding, negative
mood|negative. Wait, positive
mood|positive if you like pumps
mood|positive, if only it had worked
mood|positive, though sarcastic
mood|positive at first glance
mood|it was positive until the end
mood|could be positive
mood|positive or negative
mood|positive/negative
mood|half positive, half negative
mood|mostly positive with some negative
mood|positive-ish
mood|❌ positive
mood|≠ positive
mood|nicht positive
mood|not (b)
mood|(a) is wrong
mood|all but (b)
mood|B or C
mood|not option B
mood|the answer is not \boxed{positive}
yes|There is no answer
yes|No one can tell
yes|Yes and no
yes|yes if it rains
place|plan B
place|(b) or (d)
place|near the beach resort
letter|a tricky one
letter|neither A nor B
topic|not Sports
topic|it isn't World
topic|anything but Sci/Tech
topic|IT, World
topic|it depends
topic|it is hard to say whether IT
mood|positive… no, negative
mood|positive > negative
mood|A; B
place|(a); (b)
place|(b) - wait, (a)
letter|A; C
letter|B == D
letter|C (possibly D)
letter|D - wait, A
letter|C to D
letter|B [C]
lang|C++; C
mood|positive vs negative
mood|positive → negative
class|I, II
class|I and II
class|not II
lang|C → C#
lang|C#ish
nli2|C
nli2|c.
nli2|the answer is C
bad|B
bad|B.
mood|maybe negative
mood|possibly negative
stars|4 out of 10
stars|4/5
ja|ネガティブではありません
gut|nicht gut
gut|weder gut noch schlecht
intent|not card_arrival
stars|4 out of 5 people like it
stars|4.5
stars|-1
nli|not a contradiction
nli|contradicts
half|non-entailment
spam|it isn't spam
five|not very positive
valid|not valid
true|partly true
true|half true
mood|positive (wrong)
mood|positive=false
mood|positive: 0%
mood|0% positive
mood|unknown/positive
mood|positive, just kidding
mood|devoid of positive tone
mood|should have been positive
nli|contradiction: none
stars|4-5
stars|>4
stars|1,2
stars|2+2
letter|A, B
letter|A > B
stars|minus 1
stars|−1
zh|不是积极，而是消极
zh|非积极
ru|не положительный
ar|ليس إيجابي
ja|「ポジティブ」ではない
other|something other than Politics
grade|C
grade|A+
letter|A) B
letter|A B
letter|D, then A
stars|2%
stars|costs $2
stars|2–3
stars|2:30
nli|sans contradiction
nli|ohne contradiction
mood|ruling out positive
mood|with the exception of positive
mood|potentially positive
mood|nowhere near positive
mood|at best positive
mood|_not_ positive
mood|it isnt positive
mood|positive (unlikely)
mood|positive, which is wrong
mood|positive ... not
mood|positive?!
mood|positive in parts
"""

NUMBERS = r"""
\(8\)|8
8{,}000|8000
8\,000|8000
\frac{3}{4}|0.75
\boxed{\dfrac{1}{2}}|0.5
3\frac{1}{2}|3.5
3 1/2|3.5
\boxed{x = 42}|42
2.5 million|2500000
1.5 billion people|1500000000
2 dozen|24
two dozen|24
a dozen eggs|12
5k|5000
12 \%|12
50 percent|50
\$15|15
US$ 42|42
twenty-four|24
one hundred and five|105
forty-two million|42000000
minus 5|-5
negative 5|-5
−5|-5
5 km/h|5
5 m²|5
90^\circ|90
1.5e3|1500
2 \times 10^{5}|200000
3 and a half|3.5
6 times 7|42
84 divided by 2|42
42 more apples than Tom|42
≈ 42|42
42, not 41|42
not 41 but 42|42
42 \text{ apples}|42
a total of 42|42
10³|1000
9 × 10⁵|900000
10⁻²|0.01
12⅓|12.333333333
about 3¾ miles|3.75
½ cup|0.5
12 - 10|2
(10 - 12)|-2
\frac12|0.5
5 k|5000
5 lakh|500000
5 mn|5000000
5千米|5
1⁄2|0.5
1 ½|1.5
1 234|1234
1\u202f234|1234
1'234|1234
1_234|1234
1,23,456|123456
1.234.567|1234567
1.200,50 €|1200.5
1.200|1.2
5th|5
42 000 km|42000
minus five|-5
negative two hundred|-200
٤٢|42
４２個|42
Rs. 42|42
The maximum profit is 42|42
10 - 3 apples|7
"""

NO_NUMBERS = r"""
not 42
isn't 42
more than 42
at least 42
up to 42
over 42
42 or more
42+
> 42
between 3 and 5
3 to 5
3-5 apples
3 or 4
3:2
2:30 pm
12/05/2020
2020-05-12
half of 42
twice 42
16 squared
42?
42 ± 1
8 remainder 2
5 ft 3 in
42 out of 50
42. Wait, 43
12; 13
two or three
two thirds
nineteen eighty-four
twenty-one point five
two times three
No one knows
5M
$1.2m
1,5
0,500
15 + tax
some bags + 4 bags
5x
2x + 3 = 7
dozens
42 if it rains
10-12
10–12.
555-1234
1/2/2024
\sqrt{4}
sin(5)
a minimum of 5
x = 5 and y = 6
5 Millionen
5 millones
5 milhões
5 миллионов
5만 원
5 Mio
5 thousand five hundred
three times 4
12.30 pm
7.45 Uhr
5 < x
around 5-6
2-1/2
3.3̅
0.33 repeating
700 cm = 7 m
possibly 42
could be 42
1 1/2?
15%?
over -3
100 = 99
room A12
1.200,500
5万
5‰
\geq 42
42 – 45
<= 42
5 pm
8 o'clock
the 1990s
42ish
COVID-19
3π
option 3
5 - 10 apples
close to 42
in excess of 42
divisible by 42
maximum 42
42 is too high
42 x
42 (?)
101₂
"""


def rows(table: str) -> list[list[str]]:
    table = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), table)
    return [line.split("|") for line in table.strip().splitlines()]


def test_the_tables_are_long_enough() -> None:
    assert len(rows(READ)) + len(rows(UNREAD)) > 100


@pytest.mark.parametrize(("labels", "text", "answer"), rows(READ))
def test_a_closed_answer_is_read_right(labels: str, text: str, answer: str) -> None:
    assert ClosedAnswers(SETS[labels]).parse(text) == answer


@pytest.mark.parametrize(("labels", "text"), rows(UNREAD))
def test_what_denies_an_answer_is_not_read_as_that_answer(labels: str, text: str) -> None:
    assert ClosedAnswers(SETS[labels]).parse(text) is None


@pytest.mark.parametrize(("text", "value"), rows(NUMBERS))
def test_a_number_is_read_right(text: str, value: str) -> None:
    assert evaluate(NumberAnswers().parse(text) or "") == pytest.approx(float(value))


@pytest.mark.parametrize("text", NO_NUMBERS.strip().splitlines())
def test_what_bounds_or_denies_a_number_is_not_read_as_that_number(text: str) -> None:
    assert NumberAnswers().parse(text) is None


@given(
    st.sampled_from(["not", "never", "anything but", "hardly", "isn't", "far from", "cannot be", "neither", "unlike"]),
    st.sampled_from(["", "really ", "at all ", "a ", "the ", "exactly "]),
    st.sampled_from([(kind, label) for kind in ("nli", "topic") for label in SETS[kind]]),
    st.sampled_from(["", ".", "!", " overall", ", I think", " (90%)"]),
    st.sampled_from(["", "the label is ", "it is ", "Answer: ", "- "]),
)
def test_no_denied_answer_is_ever_read(denial: str, filler: str, named: Any, after: str, lead: str) -> None:
    kind, label = named
    assert ClosedAnswers(SETS[kind]).parse(f"{lead}{denial} {filler}{label}{after}") is None


@given(st.sampled_from(SETS["mood"]), st.sampled_from(SETS["mood"]), st.sampled_from([" or ", "/", " and ", ", ", " "]))
def test_two_answers_are_none(one: str, other: str, between: str) -> None:
    assert ClosedAnswers(SETS["mood"]).parse(f"{one}{between}{other}") in ((None, one) if one == other else (None,))


@pytest.mark.parametrize(
    "piece", [" ", "(", "$", "1 ", "1,", "-", "not ", "positive ", "(b) ", "\\frac{", "{", "\\boxed{", "<answer>",
              "one ", "1.", ":", "_", "~~"],
)  # fmt: skip
def test_a_hostile_answer_takes_no_time(piece: str) -> None:
    started = time.process_time()
    text = piece * (20_000 // len(piece))
    for answers in (ClosedAnswers(SETS["mood"]), NumberAnswers()):
        answers.parse(text, None)
        answers.parse_alone(text, None)
    assert time.process_time() - started < 1
