"""Judgement by whole games: against scores counted in another way, under every protocol."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ale_py")

from ale_py import ALEInterface, LoggerMode, roms

from rlcourse.atari.environment import Game
from rlcourse.atari.evaluation import (
    PROTOCOLS,
    Protocol,
    Result,
    human_normalized,
    judge,
    reference,
)
from rlcourse.errors import CorruptEvidenceError, InvalidArgumentError

STILL = Protocol(sticky=0.0, noops=0, epsilon=0.0, max_frames=108_000, games=1)


def wait(observations: Any) -> Any:
    return np.zeros(len(observations), int)


def test_a_whole_game_scores_what_the_bare_machine_counts() -> None:
    """Space invaders, firing only: unclipped points, three lives, the length in steps of four frames."""
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path("space_invaders"))
    ale.reset_game()
    fire, score, steps = ale.getMinimalActionSet()[1], 0, 0
    while not ale.game_over():
        score += sum(ale.act(fire) for _ in range(4) if not ale.game_over())
        steps += 1
    game = Game("space_invaders", height=20, width=20, fire=False)  # lives and clip: overruled
    told: list[float] = []
    result = judge(lambda obs: np.ones(len(obs), int), game, STILL, num_envs=1, on_game=told.append)
    assert result.scores.tolist() == told == [score] and score > 30
    assert result.lengths.tolist() == [steps] and not result.capped.any()
    assert result.won is result.lost is None


def test_every_copy_plays_the_same_number_of_games() -> None:
    """The copies begin alike but for chance, so the first to finish would be the short games."""
    protocol = dataclasses.replace(STILL, games=4, max_frames=160, noops=30)
    game = Game("breakout", height=20, width=20)
    result = judge(wait, game, protocol, num_envs=2)
    assert result.lengths.tolist() == [40] * 4 and result.capped.all()
    with pytest.raises(InvalidArgumentError, match="games = 4"):
        judge(wait, game, protocol, num_envs=3)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_what_it_says_and_is_kept_with_the_result(name: str) -> None:
    protocol = dataclasses.replace(PROTOCOLS[name], games=2, max_frames=80)
    trained_on = Game("pong", sticky=0.5, noops=7, height=42, width=42, actions=("NOOP", "LEFT"))
    again = [judge(wait, trained_on, protocol, seed=3, num_envs=2) for _ in range(2)]
    kept, twice = (json.loads(json.dumps(result.as_dict())) for result in again)
    assert kept == twice
    assert kept["game"]["sticky"] == kept["protocol"]["sticky"] == protocol.sticky
    assert kept["game"]["noops"] == protocol.noops and not kept["game"]["clip"]
    assert not kept["game"]["lives"] and kept["game"]["height"] == 42
    assert kept["capped"] == [True, True] and kept["lengths"] == [20, 20]


def test_protocols_are_the_published_ones() -> None:
    nature = PROTOCOLS["nature"]
    assert (nature.epsilon, nature.noops, nature.games, nature.sticky) == (0.05, 30, 30, 0.0)
    assert nature.max_frames == 5 * 60 * 60  # five minutes at 60 frames a second
    assert PROTOCOLS["sticky"].sticky == 0.25


def test_epsilon_jogs_the_hand() -> None:
    """A player that waits, seen through what it is shown: with epsilon the paddle moves."""
    game = Game("pong", height=42, width=42, cut_top=7, cut_bottom=3)
    seen: dict[float, Any] = {}
    for epsilon in (0.0, 1.0):

        def look(obs: Any, epsilon: float = epsilon) -> Any:
            seen[epsilon] = obs[0, -1, :, 34:39].copy()  # the right paddle's columns
            return wait(obs)

        protocol = dataclasses.replace(STILL, epsilon=epsilon, max_frames=120)
        judge(look, game, protocol, num_envs=1)
    assert (seen[0.0] != seen[1.0]).any()


def result_of(name: str, *scores: float) -> Result:
    count = len(scores)
    flags = np.zeros(count, bool)
    return Result(Game(name), STILL, 0, np.array(scores), np.ones(count, int), flags)


def test_wins_and_losses_are_counted_where_there_is_somebody_to_beat() -> None:
    pong = result_of("pong", 21.0, -3.0, 0.0, 1.0)
    assert (pong.won, pong.lost, pong.mean) == (2, 1, 4.75)
    assert result_of("breakout", 21.0, 1.0).won is None


@pytest.mark.parametrize(
    ("game", "score", "percent"),
    [
        ("pong", 18.9, 132.0),
        ("breakout", 401.2, 1327.2),
        ("Seaquest", 5286, 25.9),
        ("Up and Down", 8456, 92.7),
    ],
)
def test_scores_on_the_human_scale_are_the_papers(game: str, score: float, percent: float) -> None:
    found = human_normalized(game, score)
    assert found == pytest.approx(percent, abs=0.1)


def test_a_game_without_a_human_has_no_such_score() -> None:
    assert reference("pooyan") is None and human_normalized("pooyan", 3.0) is None
    assert result_of("pooyan", 3.0).as_dict()["human_normalized"] is None


def test_a_missing_table_is_one_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))
    with pytest.raises(CorruptEvidenceError, match="no table"):
        reference("pong")


@pytest.mark.parametrize("wrong", [{"epsilon": 2.0}, {"games": 0}, {"sticky": -1.0}])
def test_a_protocol_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        dataclasses.replace(STILL, **wrong)
