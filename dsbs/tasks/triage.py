"""The built-in task: decide what a shop does about a customer's message.

A message names a product and what happened to it, among small talk. Each product belongs to a family, each complaint to
a kind, and a policy table of families x kinds gives the decision. The label alone carries two bits and hides which
family and which kind led to it; a rationale names both. That is the paper's argument in a form that a laptop can show.

All texts are made from the lists below and ``task.seed``; a pair of product and complaint occurs once in all splits
together, so that nothing can be memorized.
"""

import itertools
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

from dsbs.core.checks import AT_LEAST_1, range_faults
from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.tasks.answers import ClosedAnswers
from dsbs.tasks.base import Task

PRODUCTS = {
    "kitchen": """kettle, toaster, blender, juicer, waffle iron, rice cooker, bread maker, coffee grinder, hand mixer,
        slow cooker, deep fryer, egg boiler, food processor, milk frother, sandwich press, espresso machine, corkscrew,
        frying pan, teapot, popcorn machine""",
    "furniture": """armchair, bookcase, wardrobe, desk, bar stool, coffee table, chest of drawers, bunk bed, sofa,
        sideboard, shoe rack, rocking chair, bench, nightstand, mattress, futon, footrest, cabinet, hat stand,
        mirror""",
    "garden": """rake, spade, hedge trimmer, wheelbarrow, lawn mower, watering can, leaf blower, hoe, pruning saw,
        pitchfork, trowel, sprinkler, greenhouse, chainsaw, hose, compost bin, parasol, axe, bird bath, flower pot""",
    "toy": """jigsaw puzzle, dollhouse, kite, yo-yo, train set, robot, teddy bear, spinning top, building kit, puppet,
        marble run, board game, toy castle, rocking horse, skipping rope, water pistol, card game, scooter, model plane,
        stuffed rabbit""",
    "music": """violin, trumpet, banjo, flute, cello, clarinet, harp, ukulele, accordion, xylophone, saxophone,
        mandolin, harmonica, trombone, oboe, guitar, tambourine, bassoon, snare drum, metronome""",
    "electronics": """laptop, headset, router, tablet, printer, webcam, monitor, smartwatch, loudspeaker, microphone,
        projector, scanner, game console, e-reader, power bank, camera, drone, keyboard, memory card, radio""",
}
COMPLAINTS = {
    "damage": """was cracked, was dented, was scratched all over, came in two pieces, was bent, had a hole in it,
        was crushed, was soaked, was chipped, was squashed, was full of splinters, was torn, was shattered, was warped,
        was stained, had a burn mark, was smashed, was buckled, was mouldy, had come unglued""",
    "delay": """took a month, missed its date, is still on its way, sat at customs, was held up at the depot,
        is overdue, came after the birthday, was postponed, got lost in the post, turned up at midnight,
        never left the warehouse, is stuck at the border, went to my old address, has not moved in days,
        fell victim to a strike, was on back order, went by way of another country, was handed to a stranger,
        waited at the airport, came in the wrong week""",
    "mix-up": """was the wrong colour, was too small, was another model, was meant for somebody else,
        did not look like the photo, had a stranger's name on it, was a cheaper version, was the old edition,
        was for children, was the display piece, was second-hand, was from a different brand, was an imitation,
        came in green, was a prototype, was for left-handed people, had the wrong voltage, was twice as big,
        was a sample, was the mirror image""",
    "missing part": """came without screws, came without a manual, lacked its lid, had no cable, lacked a leg,
        had no battery, had lost its cover, had no strap, needed one more bolt, came without its case, lacked a knob,
        had no label, came without a warranty card, was an empty box, had no wheels, lacked the spare key,
        came without a plug, had no handle, lacked its hinges, came without the adapter""",
    "wear": """stopped working, fell apart, wore out, rusted, came loose, squeaks, wobbles, leaks, jams,
        faded in the sun, peels, buzzes, smells odd, overheats, got stuck, crumbles, sags, sheds dust,
        split along the seam, lost its shape""",
    "billing": """was charged twice, cost more than advertised, was billed in the wrong currency, had a hidden fee,
        got cheaper the next day, was invoiced to my boss, did not get the discount, was taxed abroad, shows as unpaid,
        had the wrong total, needed a deposit, ate up my voucher, was never refunded, came with a second invoice,
        had insurance added, was priced without shipping, was debited too early, lost me my loyalty points,
        is on my card again, was put on an instalment plan""",
}
DECISIONS = ("refund", "replace", "repair", "escalate")
# One row per family, one column per kind, in the order above; a letter of DECISIONS by position. No sum over the two
# facts gives it: only who knows both can look the decision up.
POLICY = {
    "kitchen": "0 3 1 2 1 0",
    "furniture": "2 0 3 1 2 3",
    "garden": "1 2 0 3 0 1",
    "toy": "3 1 2 0 3 2",
    "music": "2 0 1 3 2 1",
    "electronics": "1 3 0 0 2 3",
}
OPENERS = """Hello there. Good morning. Hi, I hope you are well. Dear team. Hello, it is me again. Good evening.
    Greetings from the coast. Hi, this is my first order with you. Sorry to trouble you.
    Hello from a long-time customer. Hi all. Dear support."""
ORDERED = """I bought a {product} from you. My sister gave me a {product}. I ordered a {product} last week.
    We picked a {product} from your catalogue. My order was a {product}. I got a {product} from your shop.
    I am writing about a {product}. You sent me a {product}."""
HAPPENED = """It {complaint}. Sadly it {complaint}. To my surprise it {complaint}. I have to say that it {complaint}.
    The trouble is that it {complaint}. And guess what, it {complaint}. My husband noticed that it {complaint}.
    As it turns out, it {complaint}."""
CLOSERS = """Thanks for your help. Please let me know what happens now. Best wishes. I look forward to your answer.
    What can you do for me? Kind regards. My number is on file. I am at home all week. Please write back soon.
    Otherwise I like your shop. The weather is lovely here. Have a nice day."""


def _phrases(text: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in text.split(",")]


@cache
def _sentences(text: str) -> list[str]:
    return [" ".join(sentence.split()) for sentence in re.findall(r".+?[.?!](?=\s|$)", text, flags=re.DOTALL)]


class Facts(NamedTuple):
    """The facts of a message (product, family, complaint, kind), and the decision that follows."""

    product: str
    family: str
    complaint: str
    kind: str
    decision: str


@cache
def policy() -> dict[tuple[str, str], str]:
    """Return the decision for every (family, kind)."""
    return {
        (family, kind): DECISIONS[int(cell)]
        for family, row in POLICY.items()
        for kind, cell in zip(COMPLAINTS, row.split(), strict=True)
    }


@cache
def _lookup() -> tuple[dict[str, str], dict[str, str], re.Pattern[str], re.Pattern[str]]:
    families = {product: family for family, text in PRODUCTS.items() for product in _phrases(text)}
    kinds = {complaint: kind for kind, text in COMPLAINTS.items() for complaint in _phrases(text)}
    patterns = [
        re.compile(r"\b(" + "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) + r")\b")
        for names in (families, kinds)
    ]
    return families, kinds, patterns[0], patterns[1]


def read_facts(text: str) -> Facts | None:
    """Return the facts of a message, found by its product and complaint; None where it lacks one of them.

    >>> read_facts("Hi all. I bought a kettle from you. Sadly it was cracked. Best wishes.")
    Facts(product='kettle', family='kitchen', complaint='was cracked', kind='damage', decision='refund')
    """
    families, kinds, product_pattern, complaint_pattern = _lookup()
    product, complaint = product_pattern.search(text), complaint_pattern.search(text)
    if not product or not complaint:
        return None
    family, kind = families[product[1]], kinds[complaint[1]]
    return Facts(product[1], family, complaint[1], kind, policy()[family, kind])


@dataclass
class TriageTask(Task):
    """The built-in task: messages to a shop, and what it decides.

    Attributes:
        seed: random seed of the messages.
        products: number of products, at most 120; more make the task harder.
        complaints: number of complaints, at most 120; more make the task harder.
        skew: how much more often some products and complaints are named than others, as in real data: the k-th of a
            family or kind is drawn with weight k ** -skew. 0: all alike.
        label_noise: share of the labels of train and validation that are wrong, as careless annotators leave them; the
            labels of test are right.
        train: examples in the train split; fewer make the task harder.
        validation: examples in the validation split.
        test: examples in the test split.
    """

    kind: str = "triage"
    seed: int = 0
    products: int = 84
    complaints: int = 84
    skew: float = 0.0
    label_noise: float = 0.0
    train: int = 4800
    validation: int = 1000
    test: int = 1000

    @property
    def answers(self) -> ClosedAnswers:
        """The four decisions, which are the choices of every example."""
        return ClosedAnswers()

    def faults(self) -> list[str]:
        faults = super().faults()
        for key in ("products", "complaints"):
            if not 6 <= getattr(self, key) <= 120 or getattr(self, key) % 6:
                faults.append(f"task.{key}={getattr(self, key)}: expected a multiple of 6 from 6 to 120.")
        if not 0 <= self.skew <= 5:
            faults.append(f"task.skew={self.skew:g}: expected 0 to 5.")
        if not 0 <= self.label_noise < 1:
            faults.append(f"task.label_noise={self.label_noise:g}: expected 0 or more, and less than 1.")
        faults += range_faults(self, AT_LEAST_1, "train", "validation", "test", prefix="task.")
        if self.path is not None:
            faults.append(f"task.path={self.path}: triage is built in and reads no files; did you mean task=table?")
        wanted = self.train + self.validation + self.test
        if not faults and wanted > self.products * self.complaints:
            faults.append(
                f"task.train + task.validation + task.test = {wanted}, but {self.products} products and "
                f"{self.complaints} complaints make only {self.products * self.complaints} different messages."
            )
        return faults

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the messages of a split.

        Raises:
            DataError: for an unknown split.
        """
        if split not in self.splits():
            raise DataError(f"triage has no split {split!r}; it has {', '.join(self.splits())}.")
        sizes = {"train": self.train, "validation": self.validation, "test": self.test}
        start = sum(sizes[name] for name in self.splits()[: self.splits().index(split)])
        families, kinds, *_ = _lookup()
        wording = random.Random(f"triage wording {self.seed} {split}")  # noqa: S311 - seeded, draws data
        erring = random.Random(f"triage labels {self.seed} {split}")  # noqa: S311 - seeded, draws data
        for position, (product, complaint) in enumerate(self._pairs[start : start + sizes[split]]):
            decision = policy()[families[product], kinds[complaint]]
            wrong = erring.choice([other for other in DECISIONS if other != decision])
            if erring.random() < self.label_noise and split != "test":
                decision = wrong
            yield Example(f"{split}-{position:05d}", _message(product, complaint, wording), decision, DECISIONS)

    @cached_property
    def _pairs(self) -> list[tuple[str, str]]:
        products = _common_first(PRODUCTS, self.products, self.skew)
        complaints = _common_first(COMPLAINTS, self.complaints, self.skew)
        pairs = list(itertools.product(products, complaints))
        rng = random.Random(f"triage pairs {self.seed}")  # noqa: S311 - seeded, draws data
        if self.skew:  # a weighted draw without replacement (Efraimidis and Spirakis, 2006)
            weights = {pair: products[pair[0]] * complaints[pair[1]] for pair in pairs}
            pairs.sort(key=lambda pair: math.log(1 - rng.random()) / weights[pair], reverse=True)
            del pairs[self.train + self.validation + self.test :]
        rng.shuffle(pairs)
        return pairs

    def hidden_facts(self, example: Example) -> str | None:
        """Return family and kind as one text.

        >>> task = TriageTask()
        >>> task.hidden_facts(Example("1", "I bought a kettle from you. Sadly it was cracked."))
        'kitchen damage'
        """
        facts = read_facts(example.input)
        return facts and f"{facts.family} {facts.kind}"

    def identity(self) -> dict[str, object]:
        keys = ("kind", "seed", "products", "complaints", "train", "validation", "test")
        harder = {key: getattr(self, key) for key in ("skew", "label_noise") if getattr(self, key)}
        return {key: getattr(self, key) for key in keys} | harder | {"version": 1}


def _common_first(groups: dict[str, str], names: int, skew: float) -> dict[str, float]:
    """Return the first of each group's names, as many in all, with the weight that each is drawn with."""
    return {
        name: rank**-skew for text in groups.values() for rank, name in enumerate(_phrases(text)[: names // 6], start=1)
    }


def _message(product: str, complaint: str, wording: random.Random) -> str:
    """Return a message that names the two facts among small talk."""
    ordered = wording.choice(_sentences(ORDERED)).format(product=product)
    if product[0] in "aeiou":
        ordered = ordered.replace(f" a {product}", f" an {product}")
    happened = wording.choice(_sentences(HAPPENED)).format(complaint=complaint)
    if wording.random() < 0.5:
        return " ".join([wording.choice(_sentences(OPENERS)), ordered, happened])
    return " ".join([ordered, happened, wording.choice(_sentences(CLOSERS))])
