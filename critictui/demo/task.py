"""A seed goes in, prompts with a teacher's and a student's answer come out: they differ in quality, not in form.

A prompt asks for a few small facts. Both answer every one of them in the same words; a statement is true more
often when the teacher makes it. Some student answers are right and some teacher answers are wrong, so that no
critic can be perfect: `best_accuracy` is what one that knows every fact would reach.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb

TEACHER_RIGHT = 0.94
"""How often a statement of the teacher is true."""
STUDENT_RIGHT = 0.52
"""How often a statement of the student is true."""
STATEMENTS = (2, 3, 4)
"""How many facts a prompt asks for; each number is as likely as another."""
ABSURD = 0.6
"""Of the false statements, how many are of the wrong sort; the others are found out only by who knows the fact."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt with what the teacher and the students answered."""

    id: str
    prompt: str
    teacher: str
    students: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """A few facts of one form: the answers, the things each is true of, and answers of the wrong sort."""

    question: str
    form: str
    facts: dict[str, tuple[str, ...]]
    absurd: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    true: str
    confused: tuple[str, ...]
    absurd: tuple[str, ...]


_TABLES = (
    _Table(
        "what is the {}",
        "the {} is a {}",
        {
            "bird": ("sparrow", "owl", "heron", "finch"),
            "fish": ("trout", "cod", "perch", "tuna"),
            "tree": ("oak", "birch", "maple", "willow"),
            "metal": ("iron", "copper", "zinc", "silver"),
        },
        ("song", "chair", "week"),
    ),
    _Table(
        "what colour is the {}",
        "the {} is {}",
        {
            "red": ("brick", "poppy", "ruby", "tomato"),
            "green": ("grass", "moss", "lime", "emerald"),
            "blue": ("sky", "sapphire", "denim", "cobalt"),
            "white": ("snow", "chalk", "milk", "cotton"),
        },
        ("loud", "sour", "late"),
    ),
    _Table(
        "is {} odd or even",
        "{} is {}",
        {"odd": ("1", "3", "5", "7", "9"), "even": ("2", "4", "6", "8")},
        ("soft", "ripe", "wet"),
    ),
)
_OPENERS = ("sure .", "here is what i know .", "well , let me see .", "of course .", "ok , one by one .")
_CLOSERS = ("that is all .", "i hope this helps .", "done .", "tell me if you need more .", "so it is .")
_ASKS = ("please tell me", "i want to know", "explain briefly", "tell a child", "say in short")
_PLACES = ("a quiz", "my class", "the notebook", "a friend", "the museum", "a letter", "the shop", "a test")


def make_pairs(count: int, *, seed: int, students: int = 1, notes: bool = False) -> list[Pair]:
    """`count` different prompts with their answers, the same for the same seed.

    notes: every answer also carries a word of its own (`note_words`). It says nothing about quality, but it makes an
    answer recognisable, as real text is: a critic that sees it twice can have learnt it by heart.
    """
    rng = random.Random(seed)  # noqa: S311 - text for a demo
    words = iter(note_words(count * (1 + students), seed=seed)) if notes else None
    pairs: dict[str, Pair] = {}
    while len(pairs) < count:
        questions = [_question(rng) for _ in range(rng.choice(STATEMENTS))]
        asked = " , ".join(question.text for question in questions)
        prompt = f"{rng.choice(_ASKS)} for {rng.choice(_PLACES)} : {asked} ?"
        if prompt in pairs:
            continue
        teacher = _answer(rng, questions, TEACHER_RIGHT, words)
        answers = tuple(_answer(rng, questions, STUDENT_RIGHT, words) for _ in range(students))
        pairs[prompt] = Pair(f"{seed}-{len(pairs):05d}", prompt, teacher, answers)
    return list(pairs.values())


def note_words(count: int, *, seed: int) -> list[str]:
    """`count` different words that mean nothing; at most 14,700."""
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    pool = [f"{a}{b}{c}{d}{e}" for a in consonants for b in vowels for c in consonants for d in vowels for e in "nrs"]
    return random.Random(seed).sample(pool, count)  # noqa: S311 - text for a demo


def best_accuracy(counts: Sequence[int] = STATEMENTS) -> float:
    """The d_acc of a critic that knows every fact.

    P(the teacher has more right) + P(as many) / 2, with binomial counts, averaged over the numbers of statements.
    """

    def binomial(n: int, p: float) -> list[float]:
        return [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]

    total = 0.0
    for n in counts:
        for i, teacher in enumerate(binomial(n, TEACHER_RIGHT)):
            for j, student in enumerate(binomial(n, STUDENT_RIGHT)):
                total += teacher * student * (1.0 if i > j else 0.5 if i == j else 0.0)
    return total / len(counts)


def _question(rng: random.Random) -> _Question:
    table = rng.choice(_TABLES)
    right = rng.choice(tuple(table.facts))
    thing = rng.choice(table.facts[right])
    return _Question(
        text=table.question.format(thing),
        true=table.form.format(thing, right),
        confused=tuple(table.form.format(thing, answer) for answer in table.facts if answer != right),
        absurd=tuple(table.form.format(thing, answer) for answer in table.absurd),
    )


def _answer(rng: random.Random, questions: Sequence[_Question], right: float, words: Iterator[str] | None) -> str:
    note = [] if words is None else [f"note {next(words)} ."]
    statements = [f"{_statement(rng, question, right)} ." for question in questions]
    return " ".join([rng.choice(_OPENERS), *note, *statements, rng.choice(_CLOSERS)])


def _statement(rng: random.Random, question: _Question, right: float) -> str:
    if rng.random() < right:
        return question.true
    return rng.choice(question.absurd if rng.random() < ABSURD else question.confused)
