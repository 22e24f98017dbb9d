"""A class of three hundred hands in one lab, and is graded: how long it takes, and whether each gets their due.

The class is made from the lab's master: right answers, the master's own wrong ones (its mutants), untouched
notebooks, and answers that never come back or take all memory. Each is graded the way a student's is.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rlcourse.grading.grade import Graded, collect, grade_all
from rlcourse.grading.master import Lab, Mutant, read

STUDENTS, JOBS = 300, 2
AIM = 10.0  # minutes
# How many of twenty students hand in what; the others hand in a mutant.
RIGHT, UNTOUCHED, NASTY = 12, 1, 1
ANSWERS = {  # what is handed in for the first question, and never gives an answer
    "loop": "    while True: pass",
    "sleep": "    import time; time.sleep(1e6)",
    "hog": "    x = []\n    while True: x.append(b'x' * 100_000_000)",
    "exit": "    import os; os._exit(0)",
}


def hand_in(lab: Lab, folder: Path) -> dict[str, Mutant | str]:
    """Write the class's notebooks; what each of them is."""
    class_: dict[str, Mutant | str] = {}
    question = next(name for name in lab.owner if name not in lab.classes)
    for number in range(STUDENTS):
        turn, which = number % 20, number // 20
        what: Mutant | str = "right"
        cells = [*lab.given, *lab.solution]
        if turn < UNTOUCHED:
            what, cells = "untouched", [*lab.given, *lab.stub]
        elif turn < UNTOUCHED + NASTY:
            what = list(ANSWERS)[which % len(ANSWERS)]
            cells.append(f"def {question}(*args, **kwargs):\n{ANSWERS[what]}")
        elif turn >= UNTOUCHED + NASTY + RIGHT:
            wrong = which * (20 - UNTOUCHED - NASTY - RIGHT) + turn
            what = lab.mutants[wrong % len(lab.mutants)]
            cells.append(what.source)
        code = [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]
        code.append({"cell_type": "code", "source": f"student = {number}", "metadata": {}})
        name = f"student-{number:03}"
        (folder / f"{name}.ipynb").write_text(json.dumps({"cells": code}), "utf-8")
        class_[name] = what
    return class_


def kind_of(what: Mutant | str) -> str:
    """One word for what was handed in."""
    return "mutant" if isinstance(what, Mutant) else what


def complaint(lab: Lab, what: Mutant | str, graded: Graded) -> str:
    """What is wrong with a grade; nothing if it is what was deserved."""
    failed = {outcome.test for outcome in graded.outcomes if not outcome.passed}
    if isinstance(what, Mutant):
        missed = set(what.kills) - failed
        return f"{', '.join(missed)} passed line {what.line}'s mutant" if missed else ""
    due = {"right": lab.points, "untouched": 0}.get(what)
    if due is None:
        return "" if 0 < graded.points < lab.points else f"{graded.points} points for a {what}"
    return "" if graded.points == due else f"{graded.points} points, where {what} is worth {due}"


def main() -> None:
    """Hand in, grade, print; stop with an error where a grade is wrong or the aim is missed."""
    lab = read(Path(sys.argv[1] if len(sys.argv) > 1 else "labs/dynamic-programming"))
    with tempfile.TemporaryDirectory() as place:
        handed_in, out = Path(place, "in"), Path(place, "out")
        handed_in.mkdir()
        class_ = hand_in(lab, handed_in)
        start = time.monotonic()
        rows = grade_all(lab, collect(handed_in), out, jobs=JOBS, hide=[handed_in])
        minutes = (time.monotonic() - start) / 60
    wrong = [
        f"{row.name}: {said}" for row in rows if (said := complaint(lab, class_[row.name], row))
    ]
    kinds = Counter(map(kind_of, class_.values()))
    print(f"{lab.name}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    for kind in kinds:
        times = [row.seconds for row in rows if kind_of(class_[row.name]) == kind]
        print(f"  {kind:10} {sum(times) / len(times):6.2f} s each")
    print(
        f"{len(rows)} submissions, {JOBS} at a time: {minutes:.1f} minutes; {len(wrong)} graded wrongly"
    )
    if wrong:
        sys.exit("\n".join(wrong))
    if minutes > AIM:
        sys.exit(f"more than {AIM:.0f} minutes")


if __name__ == "__main__":
    main()
