"""Our environments: Gymnasium's checker, and what they do against what their model says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlcourse.envs.bias import MaximisationBiasEnv
from rlcourse.envs.grid import COLOURS, GridEnv
from rlcourse.envs.model import ModelEnv
from rlcourse.envs.tictactoe import TicTacToeEnv
from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.mdp import random_mdp, tic_tac_toe_boards

OURS = ("Grid", "TicTacToe", "RandomWalk", "MaximisationBias")
MAP = ("S..#", ".H..", "...G")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasiums_checker_is_content(name: str) -> None:
    check_env(gym.make(f"rlcourse/{name}-v0").unwrapped, skip_render_check=False)


@pytest.mark.parametrize(
    "make_env",
    [
        lambda: GridEnv(MAP, slip=0.5, goal=2.0, hole=-1.0, step=-0.1),
        lambda: TicTacToeEnv(),
        lambda: ModelEnv(random_mdp(4, 2, seed=0)),
        lambda: MaximisationBiasEnv(),
        lambda: make("rlcourse/RandomWalk-v0", length=3).unwrapped,
    ],
    ids=["grid", "tic-tac-toe", "random", "bias", "walk"],
)
def test_an_environment_does_what_its_model_says(make_env: Any) -> None:
    """Frequencies of successors and mean rewards of 6,000 random steps, within five deviations."""
    env = make_env()
    env.action_space.seed(1)
    seen: Counter[Any] = Counter()
    led: Counter[Any] = Counter()
    pay: dict[Any, list[float]] = {}
    obs = env.reset(seed=0)[0]
    for _ in range(6000):
        action = int(env.action_space.sample())
        following, reward, terminated, truncated, _ = env.step(action)
        assert terminated == env.mdp.terminal[following] and not truncated
        seen[obs, action] += 1
        led[obs, action, following] += 1
        pay.setdefault((obs, action), []).append(reward)
        obs = env.reset()[0] if terminated else following
    for (s, a, t), count in led.items():
        p, n = env.mdp.successors(s, a)[t], seen[s, a]
        assert p > 0 and abs(count / n - p) <= 5 * np.sqrt(p * (1 - p) / n) + 1e-9
    for (s, a), rewards in pay.items():
        if len(rewards) >= 30:
            error = 5 * np.std(rewards) / np.sqrt(len(rewards)) + 1e-9
            assert abs(np.mean(rewards) - env.mdp.reward[s, a]) <= error


@pytest.mark.parametrize("name", OURS)
def test_a_seed_is_a_run(name: str) -> None:
    def play(seed: int) -> list[Any]:
        env = make(f"rlcourse/{name}-v0")
        rng, trace = np.random.default_rng(0), [env.reset(seed=seed)[0]]
        for _ in range(60):
            obs, reward, terminated, truncated, _ = env.step(rng.integers(env.action_space.n))
            trace.append((obs, reward))
            if terminated or truncated:
                trace.append(env.reset()[0])
        return trace

    assert play(0) == play(0)
    if name in ("TicTacToe", "MaximisationBias"):  # the others have nothing random in them
        assert play(0) != play(1)


def test_grid_pays_what_it_says() -> None:
    env = GridEnv("SHG", goal=5.0, hole=-7.0, step=-1.0)
    env.reset(seed=0)
    assert env.step(0)[:3] == (0, -1.0, False)  # into the border
    assert env.step(2)[:3] == (1, -8.0, True)
    env = GridEnv("S#\nGH", goal=5.0, hole=-7.0, step=-1.0)
    env.reset(seed=0)
    assert env.step(2)[:3] == (0, -1.0, False)  # into the wall
    assert env.step(1)[:3] == (2, 4.0, True)


def test_grid_is_cut_after_200_steps() -> None:
    env = make("rlcourse/Grid-v0")
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(200)] == [False] * 199 + [True]


def test_grid_draws_itself() -> None:
    env = GridEnv(MAP, render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "@..#\n.H..\n...G"
    env.step(1)
    assert env.render() == "S..#\n@H..\n...G"
    image = GridEnv(MAP, render_mode="rgb_array")
    image.reset(seed=0)
    pixels = image.render()
    assert pixels.shape == (3 * 32, 4 * 32, 3) and pixels.dtype == np.uint8
    assert tuple(pixels[2 * 32 + 5, 3 * 32 + 5]) == COLOURS["G"]
    assert tuple(pixels[16, 16]) not in COLOURS.values()  # the agent
    silent = GridEnv(MAP)
    silent.reset(seed=0)
    assert silent.render() is None


def test_tic_tac_toe_plays_by_the_rules() -> None:
    """Each step adds one X and at most one O; rewards are outcomes; an occupied cell forfeits."""
    env = TicTacToeEnv(render_mode="ansi")
    boards = tic_tac_toe_boards()
    rng, outcomes = np.random.default_rng(0), set()
    for episode in range(200):
        state = env.reset(seed=episode)[0]
        over = False
        while not over:
            board = boards[state]
            action = int(rng.integers(9))
            state, reward, over, _, _ = env.step(action)
            if board[action] != 0:
                assert over and reward == -1.0
            elif not over:
                assert reward == 0.0
                changed = {i for i in range(9) if boards[state][i] != board[i]}
                assert len(changed) == 2 and boards[state][action] == 1
            outcomes.add(reward)
        assert env.render() == ""
    assert outcomes == {-1.0, 0.0, 1.0}


def test_maximisation_bias_has_the_noise_it_promises() -> None:
    env = MaximisationBiasEnv(mean=-0.1, noise=2.0)
    rewards = []
    for episode in range(2000):
        env.reset(seed=episode)
        assert env.step(3)[:3] == (1, 0.0, False)
        rewards.append(env.step(episode % 10)[1])
    assert abs(np.mean(rewards) + 0.1) < 5 * 2 / np.sqrt(2000)
    assert np.std(rewards) == pytest.approx(2.0, rel=0.1)
    env.reset(seed=0)
    assert env.step(7)[:3] == (2, 0.0, True)


@pytest.mark.parametrize("action", [-1, 4, 1.5, "left", None])
def test_actions_that_do_not_exist(action: object) -> None:
    env = GridEnv()
    env.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match=r"action = .*must be in 0\.\.3"):
        env.step(action)  # type: ignore[arg-type]


def test_no_step_without_an_episode() -> None:
    """A state of -1 would read the last row of the table without a word."""
    env = GridEnv("SG")
    with pytest.raises(CourseError, match=r"call reset"):
        env.step(0)
    env.reset(seed=0)
    assert env.step(2)[2]
    with pytest.raises(CourseError, match=r"call reset"):
        env.step(0)


@pytest.mark.parametrize("kind", [GridEnv, TicTacToeEnv])
def test_render_modes_that_do_not_exist(kind: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"render_mode = 'human': must be"):
        kind(render_mode="human")
