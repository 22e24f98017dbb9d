"""Checks of the exercises of the chapter ``foundations/q_learning``."""
