"""Bugs that this field really makes, each as a small change of one of our own files.

They serve twice: a test proves that each is caught by a named test, and a reader hunts them with
``hunt("argmax-ties")``, which hands out a copy of a module with one bug in it.
"""

from __future__ import annotations

import linecache
import sys
import tomllib
import types
from dataclasses import dataclass
from functools import cache
from importlib import resources

from rlcourse.errors import CourseError, InvalidArgumentError

__all__ = ["Mutant", "hunt", "mutants"]


@dataclass(frozen=True)
class Mutant:
    """A bug that this field really makes, as a small change of one of our files."""

    id: str
    title: str
    bug: str  # its number in the list of known bugs
    file: str  # under rlcourse/
    before: str
    after: str
    killed_by: str  # the test that must fail with the bug in place
    symptom: str
    hint: str

    def source(self) -> str:
        """The file's text with the bug in it."""
        text = resources.files("rlcourse").joinpath(self.file).read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise CourseError(
                f"mutant {self.id}: its `before` occurs {text.count(self.before)} times in {self.file}, "
                "not once"
            )
        return text.replace(self.before, self.after)


@cache
def mutants() -> dict[str, Mutant]:
    """All known mutants by id."""
    text = resources.files("rlcourse").joinpath("mutants.toml").read_text(encoding="utf-8")
    found = [Mutant(**entry) for entry in tomllib.loads(text)["mutant"]]
    return {mutant.id: mutant for mutant in found}


def hunt(name: str) -> types.ModuleType:
    """A copy of a module of this package with one bug in it; the package itself stays whole.

    >>> hunt("argmax-ties").__name__
    'hunted_tabular'

    Raises:
        InvalidArgumentError: no mutant of this name.
    """
    if name not in mutants():
        raise InvalidArgumentError(f"name = {name!r}: must be one of {', '.join(mutants())}")
    mutant = mutants()[name]
    source = mutant.source()
    stem = mutant.file.rsplit("/", 1)[-1].removesuffix(".py")
    module = types.ModuleType(f"hunted_{stem}")
    filename = f"<{name}/{stem}.py>"
    module.__file__ = filename
    sys.modules[module.__name__] = module  # dataclasses look their module up
    # So that `show` and tracebacks find the changed lines.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), module.__dict__)  # our own file, our own change
    return module
