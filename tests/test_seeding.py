"""One seed in, independent streams out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rlcourse.errors import InvalidArgumentError
from rlcourse.seeding import generator, streams


def draws(seed: int) -> dict[str, object]:
    found = streams(seed)
    return {
        "env": found.env,
        "evaluation": found.evaluation,
        "network": found.network,
        "exploration": found.exploration.random(4).tolist(),
        "replay": found.replay.random(4).tolist(),
    }


def test_one_seed_gives_the_same_streams_and_another_gives_others() -> None:
    assert draws(3) == draws(3)
    for name, value in draws(3).items():
        assert draws(4)[name] != value, name


def test_streams_of_neighbouring_seeds_never_meet() -> None:
    """``seed + i`` makes the evaluation of run 0 the training of run 1; spawning does not."""
    integers = [n for seed in range(300) for n in (streams(seed).env, streams(seed).evaluation)]
    assert len(set(integers)) == len(integers)


def test_streams_of_one_run_are_uncorrelated() -> None:
    found = streams(0)
    columns = [
        np.random.default_rng(source).random(20_000)
        for source in (found.env, found.evaluation, found.network, found.exploration, found.replay)
    ]
    correlation = np.corrcoef(columns)[np.triu_indices(5, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)  # five standard errors


def test_using_one_stream_more_leaves_the_others_alone() -> None:
    used, fresh = streams(5), streams(5)
    used.exploration.random(1000)
    assert used.replay.random(8).tolist() == fresh.replay.random(8).tolist()


def test_integers_fit_every_interface() -> None:
    for seed, name in itertools.product(range(200), ("env", "evaluation", "network")):
        value = getattr(streams(seed), name)
        assert type(value) is int and 0 <= value < 2**31


@pytest.mark.parametrize("make", [streams, generator])
@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True, np.array([1, 2])])
def test_bad_seeds_are_named(make: object, seed: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"seed = .*must be a non-negative integer"):
        make(seed)  # type: ignore[operator]


def test_numpy_integers_and_huge_ones_are_seeds() -> None:
    assert streams(np.int64(7)).env == streams(7).env
    assert streams(10**30).env != streams(10**30 + 1).env
