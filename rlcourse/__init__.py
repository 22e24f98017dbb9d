"""Reinforcement learning, measured: the package that the course is written with.

Read downward: ``seeding``, ``schedules`` and ``statistics`` need nothing; ``mdp`` and ``envs`` are the
worlds; ``returns`` is data in time; ``algorithms`` learn; ``evaluation`` and ``evidence`` measure;
``plotting``, ``widgets`` and ``source`` show.
"""

__version__ = "0.1.0"
