"""The tests of a lab, run on one submission: what each found, and the points."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from rlcourse.grading.master import Lab, Test
from rlcourse.grading.sandbox import Sandbox, Session
from rlcourse.grading.testing import (
    Backend,
    FailedTestError,
    Here,
    StruckError,
    generator,
    run_test,
)
from rlcourse.grading.worker import Student

__all__ = ["Outcome", "earned", "given", "here", "judge", "sandboxed", "score"]

STRIKES = 2  # calls of one question that may fail to come back


@dataclass(frozen=True)
class Outcome:
    """What one test found: ``message`` is empty if the answer is right."""

    test: str
    q: str
    title: str
    points: int
    hidden: bool
    message: str

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return not self.message


def earned(outcomes: Iterable[Outcome]) -> int:
    """The points of the tests that passed.

    >>> earned([Outcome("test_a", "a", "", 2, False, ""), Outcome("test_b", "a", "", 1, True, "no")])
    2
    """
    return sum(outcome.points for outcome in outcomes if outcome.passed)


def judge(lab: Lab, test: Test, backend: Backend, secret: int = 0) -> str:
    """What one test says of the functions behind ``backend``: nothing if they are right.

    The cases of a public test are those that students see; another secret deals other hidden ones.
    """
    rng = generator(lab.name, test.name, secret if test.hidden else 0)
    run_test(test.source, test.name, test.arguments, lab.classes, backend, rng)
    return ""


def given(lab: Lab) -> dict[str, Any]:
    """The names that the lab's own cells define; what they print is not shown."""
    student = Student()
    with redirect_stdout(io.StringIO()):
        student.give(lab.given)
    return student.names


def here(names: dict[str, Any], cells: Iterable[str]) -> Here:
    """A submission of trusted code, in this process, beside :func:`given` names."""
    student = Student(names)
    student.define(cells)
    return Here(student)


def score(lab: Lab, session: Session, secret: int = 0) -> list[Outcome]:
    """Run every test on a submission in its worker.

    After two strikes, or one for which it slept, a function is called no more.
    """
    outcomes = []
    strikes: Counter[str] = Counter()
    for test in lab.tests:
        names = [name for name in test.arguments if name != "rng"]
        if lost := [name for name in names if strikes[name] >= STRIKES]:
            message = f"not run: {lost[0]} did not come back before"
        else:
            session.begin()
            try:
                with _own_time(session.sandbox.limits.seconds * 3):
                    message = judge(lab, test, session, secret)
            except StruckError as error:
                strikes.update(names * (STRIKES if error.asleep else 1))
                message = str(error)
            except FailedTestError as error:
                message = str(error)
        outcomes.append(Outcome(test.name, test.q, test.title, test.points, test.hidden, message))
    return outcomes


@contextmanager
def _own_time(seconds: float) -> Iterator[None]:
    """End a test that a strange value has sent into a loop on this side."""
    import signal
    import threading

    def stop(*_: Any) -> None:
        raise FailedTestError(f"judging what came back took more than {seconds:g} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def sandboxed(lab: Lab, cells: Iterable[str], sandbox: Sandbox, secret: int = 0) -> list[Outcome]:
    """Score a submission given as cells."""
    with Session(sandbox, lab.given, tuple(cells)) as session:
        return score(lab, session, secret)
