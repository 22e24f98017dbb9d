"""What contracts measure on teams and games: small runs, by another count."""

from __future__ import annotations

import numpy as np
import pytest

from rlcourse.algorithms.matrix_games import CLIMBING
from rlcourse.algorithms.self_play import Config, judge, train
from rlcourse.envs.many import make_world, nearest, team_returns
from rlcourse.evidence import agents
from rlcourse.evidence.games import climbed, tree_losses
from rlcourse.seeding import streams


def test_lost_endings_of_a_short_and_of_a_long_run() -> None:
    score, extra = tree_losses({"games": 3_000}, 0, every=1_000)
    again = train(Config(games=3_000), 0)
    assert score == judge(again.best).losses > 0
    assert extra["x"] == [1_000, 2_000, 3_000] and extra["curves"][-1] == score
    assert extra["games"] == 4_000  # the last look still found one
    drawn = [row["outcome"] == 0 for row in again.log[2_000:]]
    assert extra["drawn_at_home"] == pytest.approx(np.mean(drawn))


def test_what_a_pair_is_paid() -> None:
    for joint in (True, False):
        score, extra = climbed({"joint": joint}, 3)
        assert score == CLIMBING[tuple(extra["pair"])]
        assert extra["paid"] == pytest.approx(score, abs=1.5)  # nearly no exploration in the end


def test_scripts_are_judged_in_the_original() -> None:
    pytest.importorskip("mpe2")
    score, extra = agents.scripted_return({}, 1, script="nearest", episodes=20)
    world = make_world("mpe2/simple_spread_v3", 20)
    returns, _ = team_returns(nearest, world, episodes=20, seed=streams(1).evaluation)
    assert score == pytest.approx(returns.mean())
    assert extra["shortest"] == extra["longest"] == 25
    assert extra["apart"] == pytest.approx(np.ptp(returns, axis=1).mean())


@pytest.mark.parametrize("algorithm", ["ippo", "iql"])
def test_a_team_is_judged_beside_chance_and_script(algorithm: str) -> None:
    pytest.importorskip("mpe2")
    score, extra = agents.learned_return({"steps": 9_600}, 0, algorithm=algorithm, episodes=20)
    assert len(extra["x"]) == len(extra["curves"]) == 20 and extra["x"][-1] == 9_600
    ends = [agents.scripted_return({}, 0, script=s, episodes=20)[0] for s in ("random", "assigned")]
    assert extra["share"] == pytest.approx((score - ends[0]) / (ends[1] - ends[0]))
