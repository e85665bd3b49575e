"""The problem templates of words.py. The order of draws is part of the format: C# repeats it.

A template draws its numbers from the stream, writes the steps of the answer into the working and
returns the question. Numbers stay positive and divisions exact.
"""

# --- easy: one or two steps ------------------------------------------------------------------


def gains(r, s, w):
    a, b = r.between(5, 99), r.between(3, 60)
    w.add(a, b)
    return (
        f"{s.one} has {a} {s.items}. {s.other} gives {s.one} {b} more. "
        f"How many {s.items} does {s.one} have now?"
    )


def loses(r, s, w):
    b = r.between(3, 60)
    a = r.between(b + 1, 99)
    w.subtract(a, b)
    return (
        f"{s.one} had {a} {s.items} and lost {b} of them at the {s.place}. "
        f"How many {s.items} are left?"
    )


def buys_boxes(r, s, w):
    c, a = r.between(2, 9), r.between(2, 12)
    w.multiply(c, a)
    return f"{s.one} buys {c} boxes with {a} {s.items} in each box. How many {s.items} is that?"


def buys_boxes_and_finds(r, s, w):
    c, a, b = r.between(2, 9), r.between(2, 12), r.between(3, 60)
    w.add(w.multiply(c, a), b)
    return (
        f"{s.one} buys {c} boxes with {a} {s.items} in each box, then finds {b} more. "
        f"How many {s.items} does {s.one} have?"
    )


def takes_from_rows(r, s, w):
    c, a = r.between(2, 9), r.between(3, 12)
    b = r.between(1, c * a - 1)
    w.subtract(w.multiply(c, a), b)
    return (
        f"A {s.place} has {c} rows of {a} {s.items}. {s.one} takes {b}. "
        f"How many {s.items} remain?"
    )


def three_piles(r, s, w):
    a, b, d = r.between(5, 99), r.between(3, 60), r.between(2, 40)
    w.add(w.add(a, b), d)
    return (
        f"{s.one} has {a} {s.items}, {s.other} has {b}, and the {s.place} has {d}. "
        f"How many {s.items} are there in all?"
    )


def gets_and_gives(r, s, w):
    a, b = r.between(5, 99), r.between(3, 60)
    d = r.between(1, min(a + b - 1, 80))
    w.subtract(w.add(a, b), d)
    return (
        f"{s.one} had {a} {s.items}, got {b} more and gave {d} to {s.other}. "
        f"How many {s.items} does {s.one} have?"
    )


def shares(r, s, w):
    c, z = r.between(2, 9), r.between(2, 12)
    w.divide(c * z, c)
    return (
        f"{s.one} shares {c * z} {s.items} equally among {c} friends. "
        f"How many {s.items} does each friend get?"
    )


def has_more(r, s, w):
    a, b = r.between(5, 40), r.between(3, 60)
    w.add(w.add(a, b), a)
    return (
        f"{s.one} has {a} {s.items}. {s.other} has {b} more than {s.one}. "
        f"How many {s.items} do they have together?"
    )


def pays(r, s, w):
    box, bag = r.between(2, 9), r.between(2, 9)
    boxes, bags = r.between(2, 9), r.between(2, 9)
    w.add(w.multiply(boxes, box), w.multiply(bags, bag))
    return (
        f"One box costs {box} coins and one bag costs {bag} coins. "
        f"{s.one} buys {boxes} boxes and {bags} bags. How many coins does {s.one} pay?"
    )


# --- hard: two to four steps, larger numbers --------------------------------------------------


def two_kinds_of_shelves(r, s, w):
    a, b, c, d = r.between(3, 9), r.between(11, 48), r.between(3, 9), r.between(11, 48)
    e = r.between(5, min(90, a * b + c * d - 1))
    w.subtract(w.add(w.multiply(a, b), w.multiply(c, d)), e)
    return (
        f"The {s.place} has {a} shelves with {b} {s.items} each and {c} shelves with {d} "
        f"{s.items} each. {s.one} takes {e}. How many {s.items} remain?"
    )


def three_days(r, s, w):
    a, b, c = r.between(120, 480), r.between(105, 390), r.between(102, 260)
    w.add(w.add(a, b), c)
    return (
        f"{s.one} counts {a} {s.items} on Monday, {b} on Tuesday and {c} on Friday. "
        f"How many {s.items} is that in all?"
    )


def packs_for_days(r, s, w):
    a, b, c = r.between(3, 9), r.between(12, 65), r.between(2, 6)
    w.multiply(w.multiply(a, b), c)
    return (
        f"{s.one} packs {a} boxes of {b} {s.items} every day for {c} days. "
        f"How many {s.items} is that?"
    )


def pool_and_share(r, s, w):
    c, z = r.between(2, 8), r.between(11, 60)
    a = r.between(10, c * z - 1)
    b = c * z - a
    e = r.between(1, 9)
    w.subtract(w.divide(w.add(a, b), c), e)
    return (
        f"{s.one} has {a} {s.items} and {s.other} has {b}. They put them together and share them "
        f"equally among {c} friends. Each friend then gives back {e}. "
        f"How many {s.items} does each friend keep?"
    )


def loose_items(r, s, w):
    a, b, c, d = r.between(210, 560), r.between(3, 8), r.between(14, 24), r.between(11, 60)
    w.add(w.subtract(a, w.multiply(b, c)), d)
    return (
        f"{s.one} had {a} {s.items}, filled {b} bags with {c} each, and then found {d} more. "
        f"How many loose {s.items} does {s.one} have?"
    )


def times_as_many(r, s, w):
    a, b = r.between(12, 85), r.between(2, 6)
    c = r.between(15, min(95, a * b - 1))
    other = w.multiply(a, b)
    place = w.subtract(other, c)
    w.add(w.add(a, other), place)
    return (
        f"{s.one} has {a} {s.items}. {s.other} has {b} times as many, and the {s.place} has {c} "
        f"fewer than {s.other}. How many {s.items} are there in all?"
    )


# --- harder: two-digit products in one step, up to five steps ---------------------------------


def rows_of_many(r, s, w):
    a, b = r.between(12, 79), r.between(11, 39)
    c = r.between(20, min(400, a * b - 1))
    w.subtract(w.multiply(a, b), c)
    return (
        f"The {s.place} has {a} rows of {b} {s.items} each. {s.one} takes {c} of them. "
        f"How many {s.items} remain?"
    )


def five_days(r, s, w):
    a, b, c, d, e = (r.between(101, 899) for _ in range(5))
    w.add(w.add(w.add(w.add(a, b), c), d), e)
    return (
        f"{s.one} counts {a} {s.items} on Monday, {b} on Tuesday, {c} on Wednesday, {d} on "
        f"Thursday and {e} on Friday. How many {s.items} is that in all?"
    )


def pack_together(r, s, w):
    a, b, c, d = r.between(3, 9), r.between(21, 89), r.between(3, 9), r.between(21, 89)
    days, broken = r.between(3, 8), r.between(5, 99)
    daily = w.add(w.multiply(a, b), w.multiply(c, d))
    w.multiply(w.subtract(daily, broken), days)
    return (
        f"Every day {s.one} packs {a} boxes of {b} {s.items} and {s.other} packs {c} boxes of {d} "
        f"{s.items}, but {broken} {s.items} are broken and thrown away. "
        f"How many {s.items} are left after {days} days?"
    )


def gets_change(r, s, w):
    a, b, c, d = r.between(2, 7), r.between(105, 480), r.between(2, 6), r.between(105, 390)
    note = ((a * b + c * d) // 1000 + 1) * 1000
    total = w.add(w.multiply(a, b), w.multiply(c, d))
    w.subtract(note, total)
    return (
        f"{s.one} buys {a} {s.items} for {b} coins each and {c} tickets for {d} coins each, and "
        f"pays with {note} coins. How many coins does {s.one} get back?"
    )


LEVELS = {
    "easy": (
        gains,
        loses,
        buys_boxes,
        buys_boxes_and_finds,
        takes_from_rows,
        three_piles,
        gets_and_gives,
        shares,
        has_more,
        pays,
    ),
    "hard": (
        two_kinds_of_shelves,
        three_days,
        packs_for_days,
        pool_and_share,
        loose_items,
        times_as_many,
    ),
    "harder": (rows_of_many, five_days, pack_together, gets_change),
}
