"""Generated grade-school word problems with worked answers in GSM8K's answer format.

    question:  Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?
    answer:    17+25=42 #### 42

Three levels: easy (one or two steps), hard (two to four steps, larger numbers) and harder
(two-digit products in one step, up to five steps). Mixed difficulty is the point: easy problems
settle after a few samples, hard ones deserve more.

Every random decision comes from SplitMix64, so that src/Ergon/Reasoning/WordProblems.cs
generates bit-identical problems. Problem `i` of seed `s` has a stream of its own: any item can
be generated without the ones before it.

HELD-OUT RULE. A question whose SHA-256 (of its UTF-8 bytes) starts with a byte below 16 is held
out (one in sixteen). Training skips those; evaluation uses only those, whatever the seed.

    python3 words.py SEED COUNT > problems.jsonl     # the first COUNT problems, both splits
"""

import hashlib
import json
import sys
from dataclasses import dataclass

from templates import LEVELS

NAMES = (
    "Ada Ben Cleo Dan Eva Finn Gus Hana Ivo Jo Kai Lena Max Nia Otto Pia Quin Rosa Sam Tess Uma "
    "Vic Wes Xia Yan Zoe"
).split()
ITEMS = (
    "apples books coins cards eggs pens shells stamps marbles cups nuts keys bolts lamps cells "
    "cables"
).split()
PLACES = "shop farm school lab market garden office station".split()

HELD_OUT_BELOW = 16
EASY_PERCENT, HARD_PERCENT = 25, 35  # the remaining 40 % are harder

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(z):
    """SplitMix64's output function: a bijection of 64-bit integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


class Stream:
    """SplitMix64 (Steele, Lea and Flood 2014), started at mix(mix(seed) + index)."""

    def __init__(self, seed, index):
        self.state = mix((mix(seed) + index) & _MASK)

    def next(self):
        self.state = (self.state + _GOLDEN) & _MASK
        return mix(self.state)

    def below(self, count):
        """An integer in [0, count): the high 64 bits of next() * count (bias below 2^-50 here)."""
        return (self.next() * count) >> 64

    def between(self, lo, hi):
        """An integer in [lo, hi], both included."""
        return lo + self.below(hi - lo + 1)

    def choice(self, items):
        return items[self.below(len(items))]

    def two(self, items):
        """Two different items, in order: the second draw leaves a gap at the first."""
        i = self.below(len(items))
        j = self.below(len(items) - 1)
        return items[i], items[j + (j >= i)]


class Working:
    """The steps of a worked answer; each returns its result, for use in a later step."""

    def __init__(self):
        self.steps = []
        self.result = 0

    def add(self, x, y):
        return self._step(x, "+", y, x + y)

    def subtract(self, x, y):
        return self._step(x, "-", y, x - y)

    def multiply(self, x, y):
        return self._step(x, "*", y, x * y)

    def divide(self, x, y):
        return self._step(x, "/", y, x // y)

    def _step(self, x, operator, y, result):
        self.steps.append(f"{x}{operator}{y}={result}")
        self.result = result
        return result

    def text(self):
        return f"{' '.join(self.steps)} #### {self.result}"


@dataclass(frozen=True)
class Scene:
    """Who, what and where: drawn first, the same way for every template."""

    one: str
    other: str
    items: str
    place: str


@dataclass(frozen=True)
class Problem:
    question: str
    worked_answer: str
    answer: int
    level: str  # "easy", "hard" or "harder"

    @property
    def held_out(self):
        return hashlib.sha256(self.question.encode()).digest()[0] < HELD_OUT_BELOW


def level_of(percent):
    """The level of a problem whose first draw was `percent`, in [0, 100)."""
    if percent < EASY_PERCENT:
        return "easy"
    return "hard" if percent < EASY_PERCENT + HARD_PERCENT else "harder"


def problem(seed, index):
    """Problem `index` of `seed`, from either split."""
    stream = Stream(seed, index)
    level = level_of(stream.below(100))
    one, other = stream.two(NAMES)
    scene = Scene(one, other, stream.choice(ITEMS), stream.choice(PLACES))
    working = Working()
    question = stream.choice(LEVELS[level])(stream, scene, working)
    return Problem(question, working.text(), working.result, level)


def split(seed, held_out, start=0):
    """The endless sequence of one split's problems, as pairs (index, problem)."""
    index = start
    while True:
        candidate = problem(seed, index)
        if candidate.held_out == held_out:
            yield index, candidate
        index += 1


def prompt_of(question):
    """What the chat template renders for one user message."""
    return f"Q: {question}\nA:"


def completion_of(worked_answer):
    return f" {worked_answer}\n"


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    for index in range(count):
        p = problem(seed, index)
        row = {
            "seed": seed,
            "index": index,
            "level": p.level,
            "question": p.question,
            "worked_answer": p.worked_answer,
            "answer": p.answer,
            "held_out": p.held_out,
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
