"""The probes' closed forms, against a linear program's worth of dynamic programming."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlcourse.algorithms.dynamic_programming import policy_iteration
from rlcourse.envs.probes import PROBES, Probe, probe
from rlcourse.envs.vector import make
from rlcourse.errors import InvalidArgumentError

probes = pytest.mark.parametrize("world", PROBES, ids=lambda world: world.env_id.split("-")[1])


@probes
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.99])
def test_closed_forms_are_the_optimal_values(world: Probe, gamma: float) -> None:
    values = [*policy_iteration(world.model(), gamma)][-1].values
    alive = ~world.model().terminal
    np.testing.assert_allclose(values[alive], np.array(world.values(gamma))[alive], atol=1e-9)
    assert len(world.values(gamma)) == world.model().num_states


@probes
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_probes_pass_gymnasiums_checker(world: Probe) -> None:
    check_env(make(world.env_id).unwrapped, skip_render_check=True)


@probes
def test_time_limits_are_registered(world: Probe) -> None:
    assert gym.spec(world.env_id).max_episode_steps == world.time_limit


def test_last_moment_ends_in_the_moment_of_its_time_limit() -> None:
    env = make("rlcourse/Probe-LastMoment-v0")
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(3)] == [(False, False), (False, False), (True, True)]


def test_forever_is_cut_and_never_ends() -> None:
    env = make("rlcourse/Probe-Forever-v0")
    env.reset(seed=0)
    flags = [env.step(0)[2:4] for _ in range(10)]
    assert flags == [(False, False)] * 9 + [(False, True)]


def test_every_probe_isolates_something_of_its_own() -> None:
    assert len({world.isolates for world in PROBES}) == len(PROBES) == 7


def test_a_probe_that_does_not_exist() -> None:
    with pytest.raises(InvalidArgumentError, match=r"name = 'Banana': must be .*Delay"):
        probe("Banana")
