"""The worlds of the chapter on rewards: what they do, against what is known about them by hand."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlcourse.envs.rewards import GATES, POCKET, LockEnv, bicycle, boat, lock
from rlcourse.envs.vector import make
from rlcourse.errors import InvalidArgumentError
from rlcourse.evidence.rewards import POTENTIALS, potential, steps_to_goal, steps_to_open
from rlcourse.mdp import TabularMDP

LEFT, DOWN, RIGHT, UP = range(4)


def play(
    mdp: TabularMDP, actions: list[int], state: int | None = None
) -> tuple[list[int], list[float]]:
    """The states and rewards of a world without chance."""
    states, rewards = [int(mdp.start.argmax()) if state is None else state], []
    for action in actions:
        rewards.append(float(mdp.reward[states[-1], action]))
        states.append(int(mdp.successors(states[-1], action).argmax()))
    return states, rewards


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["Boat", "Lock"])
def test_gymnasiums_checker_is_content(name: str) -> None:
    check_env(make(f"rlcourse/{name}-v0").unwrapped, skip_render_check=True)


def test_the_bicycle_rolls_and_turns() -> None:
    """From (5, 0) heading right: to the left is up, to the right is down, straight on is right."""
    mdp = bicycle(nearer=1.0, further=-1.0)
    for action, cell, heading in ((0, (4, 0), UP), (1, (5, 1), RIGHT), (2, (6, 0), DOWN)):
        states, rewards = play(mdp, [action])
        assert divmod(states[1], 4) == (7 * cell[0] + cell[1], heading)
        assert rewards == [1.0 if action < 2 else -1.0]
    # Four turns to the left are a circle of four cells, back in the same heading.
    states, rewards = play(mdp, [0, 0, 0, 0], state=4 * (7 * 3 + 2) + RIGHT)
    assert states[4] == states[0] and len(set(states)) == 4
    assert rewards == [-1.0, -1.0, 1.0, 1.0]
    # At the fence it turns and stays, and is paid nothing.
    states, rewards = play(mdp, [0, 0], state=4 * 0 + RIGHT)
    assert [s // 4 for s in states] == [0, 0, 0] and states[2] % 4 == LEFT and rewards == [0.0, 0.0]


def test_the_bicycle_arrives_in_any_heading() -> None:
    mdp = bicycle(goal=2.0, nearer=0.5)
    home = 7 * 3 + 5
    assert np.flatnonzero(mdp.terminal).tolist() == [4 * home + h for h in range(4)]
    states, rewards = play(mdp, [1], state=4 * (home - 1) + RIGHT)
    assert states[1] == 4 * home + RIGHT and rewards == [2.5]
    states, rewards = play(mdp, [2], state=4 * (home - 7) + RIGHT)  # from above, turning right
    assert states[1] == 4 * home + DOWN and rewards == [2.5]


def test_the_boat_goes_down_the_river_and_round_the_island() -> None:
    mdp = boat(prize=7.0, gate=1.0)
    states, rewards = play(mdp, [RIGHT] * 6)
    assert states == list(range(7)) and rewards == [0.0, 1.0, 1.0, 0.0, 1.0, 7.0]
    assert mdp.terminal[6]
    states, rewards = play(mdp, [DOWN, DOWN, LEFT, LEFT, UP, UP, RIGHT, RIGHT], state=3)
    assert states == [3, 10, 17, 16, 15, 8, 1, 2, 3] and rewards == [0.0] * 6 + [1.0, 1.0]
    for cell in range(6):  # the current
        assert play(mdp, [LEFT], state=cell) == ([cell, cell], [0.0])
    assert play(mdp, [LEFT], state=17)[0] == [17, 16]  # still water
    passed = [(s, t) for s in range(21) for a in range(4) if mdp.reward[s, a] == 1.0
              for t in [int(mdp.successors(s, a).argmax())]]  # fmt: skip
    assert tuple(passed) == GATES


def test_the_lock_wants_right_left_right() -> None:
    mdp = lock(3)
    assert play(mdp, [1, 0, 1]) == ([0, 1, 2, 3], [0.0, 0.0, 1.0])
    assert play(mdp, [1, 1, 1])[0] == [0, 1, 0, 1]
    assert play(mdp, [1, 0, 0])[0] == [0, 1, 2, 0]
    with pytest.raises(InvalidArgumentError, match="length = 0"):
        lock(0)


def opened(env: LockEnv, state: int) -> None:
    """Finish an episode from a state by the right turns."""
    for k in range(state, env.length):
        _, _, terminated, _, _ = env.step((k + 1) % 2)
    assert terminated


def test_starts_move_back_with_every_success_and_only_then() -> None:
    env = LockEnv(4, starts="backward")
    begun = []
    for succeed in (True, False, True, True, True, True):
        state = env.reset()[0]
        begun.append(state)
        if succeed:
            opened(env, state)
        else:
            env.step(state % 2)  # the wrong turn; the episode is then cut
    assert begun == [3, 2, 2, 1, 0, 0]
    assert {LockEnv(4, starts="first").reset(seed=s)[0] for s in range(20)} == {0}
    assert {LockEnv(4, starts="anywhere").reset(seed=s)[0] for s in range(60)} == {0, 1, 2, 3}
    with pytest.raises(InvalidArgumentError, match="starts = 'middle': must be one of first, "):
        LockEnv(4, starts="middle")


def test_the_environments_are_registered() -> None:
    for name in ("Boat", "Lock", "Shaped"):
        assert f"rlcourse/{name}-v0" in gym.registry


def test_potentials_are_what_they_are_called() -> None:
    cells = "".join(POCKET)
    start, goal = cells.index("S"), cells.index("G")
    assert (start, goal) == (27, 35)
    phi = {name: potential(name, 0.9) for name in POTENTIALS}
    assert not phi["none"].any()
    assert phi["path"][start] == pytest.approx(0.5 * 0.9**13)  # fourteen moves, the last pays
    assert phi["large"][start] == pytest.approx(10 * 0.9**13)
    assert phi["crow"][start] == pytest.approx(0.9**7) and phi["minus crow"][start] == -8
    assert phi["crow"][33 - 1] > phi["crow"][start]  # into the pocket it rises
    np.testing.assert_allclose(phi["crow + 1"] - phi["crow - 1"], 2.0)


CONFIG: dict[str, Any] = {"steps": 3000, "alpha": 0.5, "epsilon": 0.1, "epsilon_end": 0.1}


def test_measures_count_steps_until_it_is_learned_and_stop_at_the_budget() -> None:
    settings = {**CONFIG, "env_id": "rlcourse/Lock-v0"}
    short = {"env_options": {"length": 3, "starts": "first"}}
    spent, _ = steps_to_open({**settings, **short}, 0)
    assert 3 <= spent < 3000
    assert steps_to_open({**settings, **short}, 0)[0] == spent
    hopeless = {"env_options": {"length": 30, "starts": "first"}}
    assert steps_to_open({**settings, **hopeless}, 0)[0] == 3000
    assert steps_to_goal(CONFIG, 0, shaping="path")[0] < steps_to_goal(CONFIG, 0, shaping="none")[0]
