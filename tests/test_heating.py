"""The house with the heat pump: its physics by hand, and its best policies against what is played."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from rlcourse.envs.heating import (
    EXTREME,
    MEAN_OUTDOOR,
    PRICE,
    HeatingEnv,
    Plan,
    live_an_hour,
    thermostat,
)
from rlcourse.envs.vector import make, make_vector
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.evaluation import play
from rlcourse.statistics import Interval, bootstrap_interval

ENV = "rlcourse/Heating-v0"
GAMMA, DAY = 0.99, 24
WEEKS = 14  # days: long enough for a house that was let go cold to be cold

plan = cache(Plan)


def at_random(observations: NDArray[Any]) -> NDArray[Any]:
    """Any power, made from the last digits of what is observed: the same in every run."""
    return 1e4 * observations[:, :1].astype(np.float64) % 1.0


def never(observations: NDArray[Any]) -> NDArray[Any]:
    return np.zeros((len(observations), 1))


@cache
def a_day(policy: Any, days: int) -> NDArray[np.float64]:
    """Euros a day, of each of 100 houses that were left to a policy for so many days."""
    limit = days * DAY
    return play(policy, ENV, episodes=100, num_envs=100, seed=0, max_episode_steps=limit) / days


def gain(policy: Any, other: Any, days: int) -> Interval:
    """By how many euros a day one policy is better than another, in the same weather."""
    difference = a_day(policy, days) - a_day(other, days)
    return bootstrap_interval(difference, lambda scores: float(np.mean(scores)))


def everywhere() -> NDArray[np.float64]:
    """Observations of a grid over all houses, weathers and hours."""
    indoor, weather, hour = (
        grid.ravel()
        for grid in np.meshgrid(np.arange(-9, 26.1, 1.7), [-7.7, -3.0, 0.4, 7.7], np.arange(24))
    )
    hour = hour.astype(int)
    angle = 2 * np.pi * hour / 24
    outdoor = MEAN_OUTDOOR[hour] + weather
    return np.column_stack([(indoor - 20) / 10, outdoor / 10, np.cos(angle), np.sin(angle)])


# --- the world ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")  # it would like actions in [-1, 1]
def test_gymnasiums_checker_is_content() -> None:
    check_env(make(ENV).unwrapped, skip_render_check=True)


def test_a_seed_is_a_run() -> None:
    def run(seed: int) -> list[Any]:
        env, rng = make(ENV), np.random.default_rng(0)
        trace = [env.reset(seed=seed)[0].tolist()]
        for _ in range(DAY):
            obs, reward, *_ = env.step(rng.uniform(size=1))
            trace.append((obs.tolist(), reward))
        return trace

    assert run(0) == run(0)
    assert run(0) != run(1)


@pytest.mark.parametrize(
    ("indoor", "outdoor", "price", "power", "after", "reward"),
    [
        # 3.4 kWh of heat a kWh: (3 * 3.4 - 0.15 * 13) / 15 = 0.55; 0.9 euros; 1.45 K too cold
        (18.0, 5.0, 0.30, 3.0, 18.55, -0.9 - 0.05 * 1.45),
        # nothing in: 0.15 * 20 / 15 = 0.2 K lost, and comfortable still
        (21.0, 1.0, 0.40, 0.0, 20.8, 0.0),
        # 2.2 kWh of heat a kWh: (2.2 - 0.15 * 10) / 15 = 0.7 / 15
        (0.0, -10.0, 0.20, 1.0, 0.7 / 15, -0.2 - 0.05 * (20 - 0.7 / 15)),
        # (0 - 0.15 * 15) / 15 = -0.15, and 2.85 K too hot
        (25.0, 10.0, 0.25, 0.0, 24.85, -0.05 * 2.85),
        # the window: 3 * 3.8 - 0.15 * 16 = 9 kWh would be 0.6 K
        (26.0, 10.0, 0.25, 3.0, 26.0, -0.75 - 0.05 * 4),
    ],
)
def test_an_hour_by_hand(
    indoor: float, outdoor: float, price: float, power: float, after: float, reward: float
) -> None:
    assert live_an_hour(indoor, outdoor, price, power) == pytest.approx((after, reward))


def test_a_house_left_alone_cools_as_the_exponential_says() -> None:
    indoor = 20.0
    for _ in range(100):
        indoor, _ = live_an_hour(indoor, 5.0, 0.3, 0.0)
    assert indoor == pytest.approx(5.0 + 15.0 * 0.99**100)


def test_energy_and_money_balance_over_a_fortnight() -> None:
    """From observations alone: heat in, less losses, is what the walls gained; rewards are the bill."""
    env, rng = make(ENV, max_episode_steps=14 * DAY), np.random.default_rng(1)
    obs, _ = env.reset(seed=3)
    start, heat, lost = 20 + 10 * float(obs[0]), 0.0, 0.0
    bill, paid, hour = 0.0, 0.0, env.unwrapped.hour
    for _ in range(14 * DAY):
        indoor, outdoor = 20 + 10 * float(obs[0]), 10 * float(obs[1])
        share = float(rng.uniform(0, 0.5))
        obs, reward, *_ = env.step(np.array([share]))
        after = 20 + 10 * float(obs[0])
        assert after < 26, "a window was opened: choose a colder run"
        heat += 3 * share * (3 + 0.08 * outdoor)
        lost += 0.15 * (indoor - outdoor)
        price = 0.3 - 0.1 * np.cos(2 * np.pi * (hour - 4) / 24)
        bill -= price * 3 * share + 0.05 * (max(20 - after, 0) + max(after - 22, 0))
        paid, hour = paid + reward, (hour + 1) % 24
    assert heat - lost == pytest.approx(15 * (after - start), abs=1e-3)
    assert bill == pytest.approx(paid, abs=1e-3)


def test_the_day_has_its_cheapest_and_its_coldest_hour() -> None:
    assert (PRICE.argmin(), PRICE.argmax()) == (4, 16)
    assert (PRICE.min(), PRICE.max()) == (pytest.approx(0.2), pytest.approx(0.4))
    assert (MEAN_OUTDOOR.argmin(), MEAN_OUTDOOR.argmax()) == (3, 15)
    assert (MEAN_OUTDOOR.min(), MEAN_OUTDOOR.max()) == (pytest.approx(-1.0), pytest.approx(7.0))


def test_the_weather_is_the_process_that_was_promised() -> None:
    """Its deviation and its memory, from 20,000 hours; it starts as it goes on."""
    env = HeatingEnv()
    obs, _ = env.reset(seed=0)
    weather = []
    for _ in range(20_000):
        obs, *_ = env.step([0.0])
        weather.append(10 * obs[1] - MEAN_OUTDOOR[env.hour])
    usual = 0.94 / np.sqrt(1 - 0.95**2)
    assert np.std(weather) == pytest.approx(usual, rel=0.06)
    assert np.corrcoef(weather[:-1], weather[1:])[0, 1] == pytest.approx(0.95, abs=0.01)
    assert np.abs(weather).max() <= EXTREME + 1e-5
    starts = []
    for seed in range(2000):
        obs, _ = env.reset(seed=seed)
        starts.append(10 * obs[1] - MEAN_OUTDOOR[env.hour])
    assert np.std(starts) == pytest.approx(usual, rel=0.06)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_observations_stay_in_their_space(share: float) -> None:
    env = HeatingEnv()
    for seed in range(20):
        obs, _ = env.reset(seed=seed)
        for _ in range(30 * DAY):
            obs, reward, terminated, truncated, _ = env.step([share])
            assert env.observation_space.contains(obs)
            assert isinstance(reward, float) and -4 < reward <= 0
            assert not terminated and not truncated


def test_the_hour_says_nothing_about_the_cut() -> None:
    """One row in 24 is cut, none is an end, and cuts fall on every hour of the clock alike."""
    stepper = make_vector(ENV, num_envs=200)
    stepper.reset(seed=0)
    cuts = np.zeros(24)
    for t in range(1, 20 * DAY + 1):
        step = stepper.step(np.full((200, 1), 0.3, np.float32))
        assert not step.terminated.any()
        assert step.truncated.all() if t % DAY == 0 else not step.truncated.any()
        hours = np.rint(np.arctan2(step.obs[:, 3], step.obs[:, 2]) * 24 / (2 * np.pi)) % 24
        np.add.at(cuts, hours[step.truncated].astype(int), 1)
    stepper.close()
    mean = cuts.sum() / 24
    assert cuts.sum() == 20 * 200 and np.abs(cuts - mean).max() < 5 * np.sqrt(mean)


@pytest.mark.parametrize(
    "action", [[-0.01], [1.01], [np.nan], [0.5, 0.5], 0.5, None, ["warm"], np.array(0.5), []]
)
def test_actions_that_do_not_exist(action: object) -> None:
    env = HeatingEnv()
    env.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match=r"action = .*must be one number in \[0, 1\]"):
        env.step(action)


def test_no_step_without_an_episode_and_no_option_that_is_not_there() -> None:
    with pytest.raises(CourseError, match=r"call reset"):
        HeatingEnv().step([0.5])
    with pytest.raises(InvalidArgumentError, match="insulation"):
        make(ENV, insulation=3)
    with pytest.raises(InvalidArgumentError, match=r"gamma = 1\.0: must be a number in \[0, 1\)"):
        Plan(1.0)


# --- what to compare a learner with ------------------------------------------------------------------


def test_the_plans_values_are_the_returns_that_it_gets() -> None:
    """The planner knows a grid and three points of noise, the world neither: their means agree."""
    stepper, best = make_vector(ENV, num_envs=100, max_episode_steps=10_000), plan(GAMMA)
    obs = stepper.reset(seed=5)
    promised, got = best.value(obs), np.zeros(100)
    hours = 900  # what comes later counts for less than one part in eight thousand
    for t in range(hours):
        got += GAMMA**t * stepper.step(best(stepper.obs)).reward
    got += GAMMA**hours * best.value(stepper.obs)
    stepper.close()
    error = got - promised
    assert np.std(promised) > 2  # the starts differ in more than noise
    assert abs(error.mean()) < 4 * error.std() / 10
    assert error.std() / 10 < 0.02 * abs(promised.mean())  # and that was no loose bound


@pytest.mark.parametrize("weather", [-6.5, 0.0, 6.5])
@pytest.mark.parametrize("indoor", [12.1, 20.3])
def test_the_plans_values_are_what_an_hour_pays_and_leads_to(indoor: float, weather: float) -> None:
    """Bellman's equation in single states, with the hour lived 4,000 times in the world itself."""
    env, best, hour = HeatingEnv(), plan(GAMMA), 9
    env.reset(seed=0)

    def put() -> NDArray[np.float32]:
        env.indoor, env.hour = indoor, hour
        env._change_weather(weather)
        return env._obs()

    here = put()[None]
    action = best(here)[0]
    lived = [(put(), *env.step(action)[:2])[1:] for _ in range(4000)]
    following, rewards = (np.array(column) for column in zip(*lived, strict=True))
    targets = rewards + GAMMA * best.value(following)
    error = targets.mean() - best.value(here)[0]
    assert abs(error) < 5 * targets.std() / np.sqrt(4000) + 1e-3


def test_the_plan_beats_the_thermostat_beats_chance() -> None:
    assert gain(plan(GAMMA), thermostat, WEEKS).low > 0.5
    assert gain(thermostat, at_random, WEEKS).low > 5


def test_a_deadly_time_limit_freezes_the_house() -> None:
    """Two bounds that need no planner: what a kWh of heat can earn, and what it costs at the least.

    It earns at most 5 cents a kelvin and hour, of which 1 % is lost and ``1 - gamma`` discounted hourly.
    """

    def earns(gamma: float) -> float:
        return 0.05 / 15 / (1 - 0.99 * gamma)

    hours = np.arange(24)
    mean = 3 + 4 * np.cos(2 * np.pi * (hours - 15) / 24)
    price = 0.3 - 0.1 * np.cos(2 * np.pi * (hours - 4) / 24)
    least, most = (price / (3 + 0.08 * (mean + weather)) for weather in (EXTREME, -EXTREME))
    cut = GAMMA * (1 - 1 / DAY)
    assert earns(cut) < least.min() < most.max() < earns(GAMMA)
    states = everywhere()
    frozen = states[states[:, 0] < -2]
    assert np.all(plan(cut)(states) == 0)
    assert len(frozen) > 100 and np.all(plan(GAMMA)(frozen) == 1)


def test_a_deadly_time_limit_costs_a_lot_in_the_world_without_end() -> None:
    """And a score that is taken over a single day praises it."""
    cut = plan(GAMMA * (1 - 1 / DAY))
    assert gain(plan(GAMMA), cut, WEEKS).low > 10  # euros a day
    assert gain(thermostat, cut, WEEKS).low > 9
    assert gain(plan(GAMMA), cut, 1).high < -4
    assert gain(cut, never, WEEKS).value == 0
