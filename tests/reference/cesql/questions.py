#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""questions.py SEED COUNT: random expressions of CloudEvents SQL with an event each, a line of JSON for each.

Not asked, since the reference answers otherwise than the specification: what is not ASCII (it counts bytes, not characters), LIKE on
texts with '%' (it takes a '%' of the pattern for that one), SUBSTRING with a negative length (it panics, or sees no error), '-' right before the
digits of a right operand (it reads a literal where the operator should be), and what does not parse (it panics at some of it)."""
import json
import random
import sys

NAMES = ["id", "source", "type", "subject", "n", "on", "word", "digits", "missing"]
TEXTS = ["", "a", "abc", "order.made", "TRUE", "false", "10", "-5", "+7", "a_b", "it's", '"', "Abc", " x ", "0"]
PATTERNS = ["%", "_", "a%", "%e", "order.%", "%a_b%", "a\\_b", "a\\%b", "", "%%", "_%_", "%b%", "abc", "\\\\"]
CALLS = [("INT", 1), ("BOOL", 1), ("STRING", 1), ("ABS", 1), ("LENGTH", 1), ("CONCAT", None), ("CONCAT_WS", None), ("LOWER", 1), ("UPPER", 1),
         ("TRIM", 1), ("LEFT", 2), ("RIGHT", 2), ("SUBSTRING", 2), ("SUBSTRING", 3), ("NOTHING", 1), ("ABS", 2)]


def quoted(text, r):
    quote = r.choice("'\"")
    return quote + text.replace(quote, "\\" + quote) + quote


def literal(r):
    kind = r.random()
    if kind < 0.4:
        return quoted(r.choice(TEXTS), r)
    if kind < 0.8:
        return str(r.choice([0, 1, 2, 3, 5, 7, 10, 100, 2147483647, -1, -5, -2147483648]))
    return r.choice(["TRUE", "false", "True"])


def expression(r, depth):
    kind = r.random()
    if depth == 0 or kind < 0.08:
        return r.choice(NAMES) if r.random() < 0.5 else literal(r)

    def sub():
        return expression(r, depth - 1)

    if kind < 0.24:
        return f"{sub()} {r.choice(['AND', 'OR', 'XOR', 'and', 'or'])} {sub()}"
    if kind < 0.44:
        return f"{sub()} {r.choice(['=', '!=', '<>', '<', '<=', '>', '>='])} {sub()}"
    if kind < 0.58:
        return f"{sub()} {r.choice('+-*/%')} {sub()}"
    if kind < 0.66:
        return f"{sub()} {r.choice(['LIKE', 'NOT LIKE'])} {quoted(r.choice(PATTERNS), r)}"
    if kind < 0.74:
        return f"{sub()} {r.choice(['IN', 'NOT IN'])} ({', '.join(sub() for _ in range(r.randint(1, 3)))})"
    if kind < 0.78:
        return f"EXISTS {r.choice(NAMES)}"
    if kind < 0.82:
        return f"NOT {sub()}"
    if kind < 0.85:
        return f"-{sub()}"
    if kind < 0.92:
        return f"({sub()})"
    name, arity = r.choice(CALLS)
    if (name, arity) == ("SUBSTRING", 3):
        return f"SUBSTRING({sub()}, {sub()}, {r.choice(['0', '1', '2', '100'])})"
    return f"{name}({', '.join(sub() for _ in range(r.randint(0, 3) if arity is None else arity))})"


def event(r):
    made = {"specversion": "1.0", "id": r.choice(["1", "abc"]), "source": "/s", "type": r.choice(["order.made", "abc"]),
            "n": r.choice([0, 5, -7]), "on": r.random() < 0.5, "word": r.choice([t for t in TEXTS if t]), "digits": r.choice(["0", "12", "-3"])}
    if r.random() < 0.7:
        made["subject"] = r.choice(["abc", "order.made", "10"])
    return made


def main():
    r = random.Random(sys.argv[1])
    for _ in range(int(sys.argv[2])):
        print(json.dumps({"expression": expression(r, r.randint(1, 4)), "event": event(r)}))


if __name__ == "__main__":
    main()
