"""One seed in, independent random streams out.

A run draws randomness for unrelated purposes: the environment, its evaluation twin, exploration,
initial weights, replay. Streams that share a generator are entangled: one more evaluation episode
would change the training run. ``numpy.random.SeedSequence.spawn`` gives each purpose its own stream,
and neighbouring seeds do not overlap (``seed + i`` does).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlcourse.errors import InvalidArgumentError

__all__ = ["Streams", "generator", "streams"]


@dataclass(frozen=True)
class Streams:
    """Everything random in one run.

    ``env``, ``evaluation`` and ``network`` are integers for interfaces that take a seed
    (``env.reset(seed=...)``); ``exploration`` and ``replay`` are generators.
    """

    env: int
    evaluation: int
    exploration: np.random.Generator
    network: int
    replay: np.random.Generator


def streams(seed: int) -> Streams:
    """Spawn the streams of one run from one non-negative integer.

    >>> streams(0).env == streams(0).env, streams(0).env == streams(1).env
    (True, False)

    Raises:
        InvalidArgumentError: the seed is negative or no integer.
    """
    env, evaluation, exploration, network, replay = _sequence(seed).spawn(5)
    return Streams(
        env=_as_int(env),
        evaluation=_as_int(evaluation),
        exploration=np.random.default_rng(exploration),
        network=_as_int(network),
        replay=np.random.default_rng(replay),
    )


def generator(seed: int) -> np.random.Generator:
    """One generator from one non-negative integer, for what needs a single stream.

    >>> generator(0).integers(100) == np.random.default_rng(0).integers(100)
    np.True_
    """
    return np.random.default_rng(_sequence(seed))


def _sequence(seed: int) -> np.random.SeedSequence:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidArgumentError(f"seed = {seed!r}: must be a non-negative integer")
    return np.random.SeedSequence(int(seed))


def _as_int(sequence: np.random.SeedSequence) -> int:
    # 31 bits: the widest range that every environment and torch.manual_seed accept.
    return int(sequence.generate_state(1)[0]) & 0x7FFFFFFF
