"""The exercises of ``playgrounds/playground``: the mistakes that readers make do not pass."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics, TransformReward

import rlcourse.labs.playground  # registers the checks
from rlcourse.envs.vector import make
from rlcourse.labs import verdict
from rlcourse.playground import policies

# --- mistakes that readers make, each with the words that must be in the reply --------------------


def of_two_means(ours: Any, theirs: Any) -> tuple[float, float]:
    x, y = (np.array([*returns.values()]) for returns in (ours, theirs))
    return x.mean() - y.mean(), (x.var(ddof=1) / len(x) + y.var(ddof=1) / len(y)) ** 0.5


def in_the_order_given(ours: Any, theirs: Any) -> tuple[float, float]:
    gaps = [x - y for x, y in zip(ours.values(), theirs.values(), strict=False)]
    return float(np.mean(gaps)), float(np.std(gaps, ddof=1) / len(gaps) ** 0.5)


def missing_is_zero(ours: Any, theirs: Any) -> tuple[float, float]:
    gaps = [ours.get(seed, 0.0) - theirs.get(seed, 0.0) for seed in {*ours, *theirs}]
    return float(np.mean(gaps)), float(np.std(gaps, ddof=1) / len(gaps) ** 0.5)


def deviation_alone(ours: Any, theirs: Any) -> tuple[float, float]:
    gaps = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    return float(np.mean(gaps)), float(np.std(gaps, ddof=1))


def one_error_is_enough(s: float, slope: float) -> int:
    return counted(s, slope, factor=1)


def only_upward(s: float, slope: float) -> int:
    return counted(s, slope) if slope > 0 else 3


def from_one_on(s: float, slope: float) -> int:
    return counted(s, slope, first=2)


def by_the_large_formula(s: float, slope: float) -> int:
    return max(3, int((48 * s**2 / slope**2) ** (1 / 3)))  # without the -1, and rounded down


def counted(s: float, slope: float, factor: float = 2, first: int = 3) -> int:
    n = first
    while factor * s * (12 / (n * (n**2 - 1))) ** 0.5 > abs(slope):
        n += 1
    return n


def paid(reward: Any) -> float:
    return 0.1 * float(reward) - 1


def counted_outside(env: Any) -> Any:
    return RecordEpisodeStatistics(TransformReward(env, paid))


def not_counted(env: Any) -> Any:
    return TransformReward(env, paid)


def only_scaled(env: Any) -> Any:
    return TransformReward(RecordEpisodeStatistics(env), lambda reward: 0.1 * float(reward))


class Pig(gym.Env[int, int]):
    """Right, and written otherwise than the printed one."""

    observation_space = gym.spaces.Discrete(26)
    action_space = gym.spaces.Discrete(2)
    end = 20

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.points = 0
        return self.points, {}

    def die(self) -> int:
        return 1 + int(self.np_random.integers(6))

    def step(self, action: int) -> Any:
        if action == 0:
            return self.points, float(self.points), True, False, {}
        rolled = self.die()
        self.points = self.points + rolled if rolled > 1 else 0
        over = rolled == 1 or self.points >= self.end
        return self.points, self.points * float(over), over, False, {}


class OwnDice(Pig):
    dice = np.random.default_rng(3)

    def die(self) -> int:
        return 1 + int(self.dice.integers(6))


class ShortDie(Pig):
    def die(self) -> int:
        return int(self.np_random.integers(1, 6))


class LoadedDie(Pig):
    def die(self) -> int:
        return int(self.np_random.choice([1, 2, 3, 4, 5, 6, 6, 6]))


class PaidEachRoll(Pig):
    def step(self, action: int) -> Any:
        obs, _, terminated, truncated, info = super().step(action)
        return obs, float(self.points), terminated, truncated, info


class CutOff(Pig):
    def step(self, action: int) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        full = self.points >= 20
        return obs, reward, terminated and not full, full, info


class GoesOn(Pig):
    end = 26


class Stingy(Pig):
    def step(self, action: int) -> Any:
        obs, reward, *rest = super().step(action)
        return obs, 0.0 if action == 0 else reward, *rest


class Timid(Pig):
    """A turn that stays between 1 and 19."""

    def step(self, action: int) -> Any:
        obs, reward, terminated, truncated, info = super().step(action)
        if terminated or action == 0:
            return obs, reward, terminated, truncated, info
        self.points = obs = min(obs, 6)
        return obs, reward, False, False, info

    def die(self) -> int:
        return 2 + int(self.np_random.integers(5))


class Brittle(Pig):
    """It breaks where the checker does not look."""

    def step(self, action: int) -> Any:
        if self.points > 12:
            raise IndexError("no room for more points")
        return super().step(action)


class OldSpaces(Pig):
    observation_space = gym.spaces.Discrete(21)


class FourThings(Pig):
    def step(self, action: int) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, info


def seeds_the_space_too(module: Any) -> bool:
    """Never false of a player that draws otherwise than the space."""
    env = make("CartPole-v1")
    env.action_space.seed(3)
    drawn = [env.action_space.sample() for _ in range(100)]
    return not np.array_equal(module.random_policy(env, 3)(np.zeros((100, 4))), drawn)


def unlike_the_package(module: Any) -> bool:
    ours, theirs = (
        which.random_policy(make("CartPole-v1"), 3)(np.zeros((100, 4)))
        for which in (policies, module)
    )
    return not np.array_equal(ours, theirs)


WRONG: list[tuple[str, Any, str]] = [
    ("by-hand", [-3.0, 1.0, 9.71], "the mean of Y - X"),
    ("by-hand", [3.0, 2.0, 9.71], "the error with the pairs"),
    ("by-hand", [3.0, 0.87, 9.71], "the error with the pairs"),
    ("by-hand", [3.0, 1.0, 13.71], "the error without"),
    ("by-hand", [3.0, 1.0], "expected 3 numbers"),
    ("paired", of_two_means, "which return belongs"),
    ("paired", in_the_order_given, "which return belongs"),
    ("paired", missing_is_zero, "only one of the two"),
    ("paired", deviation_alone, "which return belongs"),
    ("trend", one_error_is_enough, "the factor of two"),
    ("trend", only_upward, "below zero"),
    ("trend", from_one_on, "the smallest number"),
    ("trend", by_the_large_formula, "Look at"),
    ("honest", counted_outside, "has counted before"),
    ("honest", not_counted, "RecordEpisodeStatistics"),
    ("honest", only_scaled, "both parts"),
    ("honest", lambda env: 3, "expected a wrapped world"),
    ("world", lambda: 3, "expected a world"),
    ("world", OwnDice, "Look at `self.np_random`"),
    ("world", ShortDie, "the die's ends"),
    ("world", LoadedDie, "it is fair"),
    ("world", PaidEachRoll, "at the end"),
    ("world", CutOff, "not a clock"),
    ("world", GoesOn, "terminated False"),
    ("world", Stingy, "after holding"),
    ("world", Timid, "a hundred rolls, and the turn is not over"),
    ("world", Brittle, "it raised IndexError: no room for more points"),
    ("world", OldSpaces, "its spaces are"),
    ("world", FourThings, "the checker says"),
    ("hunt", lambda module: True, "accused"),
    ("hunt", lambda module: False, "let the bug pass"),
    ("hunt", seeds_the_space_too, "accused a sound one"),
    ("hunt", unlike_the_package, "another bug"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(name: str, answer: Any, reply: str) -> None:
    passed, message = verdict(f"playground/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_other_roads_to_a_right_answer_pass() -> None:
    def by_hand(env: Any) -> Any:
        """A wrapper that counts for itself."""

        class Honest(gym.Wrapper[Any, Any, Any, Any]):
            total = 0.0

            def step(self, action: Any) -> Any:
                obs, reward, terminated, truncated, info = self.env.step(action)
                self.total += float(reward)
                if terminated or truncated:
                    info = {**info, "episode": {"r": self.total}}
                return obs, paid(reward), terminated, truncated, info

        return Honest(env)

    def by_playing(module: Any) -> bool:
        def steps() -> list[int]:
            lengths = []
            for seed in range(20):
                env = make("CartPole-v1")
                policy, obs, over = module.random_policy(env, seed), env.reset(seed=seed)[0], False
                lengths.append(0)
                while not over:
                    obs, _, terminated, truncated, _ = env.step(policy(obs[None])[0])
                    lengths[-1] += 1
                    over = terminated or truncated
            return lengths

        return steps() != steps()

    for name, answer in (
        ("world", Pig),
        ("honest", by_hand),
        ("hunt", by_playing),
        ("trend", counted),
    ):
        passed, message = verdict(f"playground/{name}", answer)
        assert passed, message


def test_the_colleagues_player_obeys_no_seed() -> None:
    colleague, other = map(
        rlcourse.labs.playground.hunt, ("unseeded-hand", "hand-knows-the-weather")
    )
    env = make("CartPole-v1")

    def draws(module: Any) -> list[list[int]]:
        return [module.random_policy(env, 3)(np.zeros((200, 4))).tolist() for _ in range(2)]

    first, second = draws(colleague)
    assert first != second
    first, second = draws(other)
    assert first == second != draws(policies)[0]
