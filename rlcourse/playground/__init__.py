"""Several policies in several worlds, on the same seeds: played, kept in one file, and looked at.

:mod:`~rlcourse.playground.policies` says who plays, :mod:`~rlcourse.playground.run` plays,
:mod:`~rlcourse.playground.results` is the file, :mod:`~rlcourse.playground.dashboard` the page that shows it.
"""
