"""Atari games from pixels: their environments, memory, networks, judgement and training."""
