"""Atari's environments against the bare emulator: every trap of the layers between, sprung once."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ale_py")

from ale_py import ALEInterface, LoggerMode, roms
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode

from rlcourse.atari import environment
from rlcourse.atari.environment import Game, Games, judged, names, rom
from rlcourse.envs.vector import Step
from rlcourse.errors import CourseError, InvalidArgumentError, UnknownEnvironmentError
from rlcourse.evidence import folder

# Nothing by chance: with these the emulator can be followed frame by frame.
PLAIN: dict[str, Any] = {"sticky": 0.0, "noops": 0, "fire": False}


def played(game: Game, steps: int, num_envs: int = 2, seed: int = 0, **options: Any) -> list[Any]:
    """Random play: ``(step, over, score, lives left)`` of each step."""
    games, rng = Games(game, num_envs, **options), np.random.default_rng(seed)
    games.reset(seed)
    rows = []
    for _ in range(steps):
        step = games.step(rng.integers(len(games.actions), size=num_envs))
        rows.append((step, games.over.copy(), games.score.copy(), games.lives_left.copy()))
    return rows


def area(length: int, to: int) -> np.ndarray:
    """Averages over cells of ``length / to`` pixels, the cut ones by the part inside: ``[to, length]``."""
    edges = np.linspace(0, length, to + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(length)
    inside = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
    return np.clip(inside, 0, None) / (length / to)


def machine(name: str) -> ALEInterface:
    """The emulator alone."""
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path(name))
    ale.reset_game()
    return ale


def picture(ale: ALEInterface, before: np.ndarray) -> np.ndarray:
    bright = np.maximum(ale.getScreenGrayscale(), before).astype(float)
    return area(210, 84) @ bright @ area(160, 84).T


@pytest.mark.parametrize("name", ["breakout", "pong"])
def test_what_the_agent_sees_is_the_screen_pooled_and_shrunk(name: str) -> None:
    """The whole pipeline by matrices: gray, brighter of the last two frames, mean over areas, stack of 4."""
    ale, games = machine(name), Games(Game(name, **PLAIN), 1)
    first = games.reset(0)
    dark = np.zeros((210, 160))
    stack = [np.zeros((84, 84))] * 3 + [picture(ale, dark)]
    rng, buttons = np.random.default_rng(0), ale.getMinimalActionSet()
    seen, wanted = [first[0]], [np.array(stack)]
    for _ in range(40):
        action, before = int(rng.integers(len(buttons))), dark
        for _ in range(4):
            before = ale.getScreenGrayscale()
            ale.act(buttons[action])
        stack = [*stack[1:], picture(ale, before)]
        seen.append(games.step([action]).next_obs[0])
        wanted.append(np.array(stack))
    gap = abs(np.array(seen) - np.array(wanted))
    assert gap.max() <= 0.5 + 1e-9  # rounded to the nearest, whichever way a half goes


def test_before_a_games_first_picture_there_is_black() -> None:
    """Gymnasium's own wrapper repeats the first picture; a network trained on one wants no other."""
    games = Games(Game("breakout", **PLAIN), 2)
    obs = games.reset(0)
    assert not obs[:, :3].any() and obs[:, 3].any(axis=(1, 2)).all()


def test_a_cut_picture_is_the_same_rows() -> None:
    whole = Game("pong", height=42, width=42, **PLAIN)
    cut = dataclasses.replace(whole, cut_top=7, cut_bottom=3)
    assert cut.shape == (4, 32, 42)
    for (a, *_), (b, *_) in zip(played(whole, 20), played(cut, 20), strict=True):
        np.testing.assert_array_equal(a.next_obs[:, :, 7:39], b.next_obs)
        np.testing.assert_array_equal(a.obs[:, :, 7:39], b.obs)


def test_sticky_actions_are_what_was_said() -> None:
    """The bare emulators' default is none, the registered environments' a quarter."""
    assert Game().sticky == 0.25
    for sticky, differ in ((0.0, False), (0.25, True)):
        games = Games(Game("breakout", **{**PLAIN, "sticky": sticky}), 2)
        games.reset(0)
        for t in range(30):  # the same buttons in both copies: only chance can tell them apart
            seen = games.step([(1, 2, 3)[t % 3]] * 2).next_obs
        assert bool((seen != seen[:1]).any()) is differ


def test_rewards_are_clipped_only_for_the_learner() -> None:
    """Invaders pay 5 to 30; the emulator's own clipping is the oracle for the learner's share."""
    game, rng = Game("space_invaders", **PLAIN), np.random.default_rng(0)
    mode = AutoresetMode.SAME_STEP
    theirs = AtariVectorEnv(
        game.name, 2, autoreset_mode=mode, noop_max=0, use_fire_reset=False, reward_clipping=True
    )
    theirs.reset(seed=0)
    rows = played(game, 120)
    for step, _, score, _ in rows:
        reward = theirs.step(rng.integers(6, size=2))[1]
        np.testing.assert_array_equal(step.reward, reward)
        assert (step.reward[score > 0] == 1).all()
    assert max(score.max() for _, _, score, _ in rows) >= 5
    for step, _, score, _ in played(judged(game), 60):
        np.testing.assert_array_equal(step.reward, score)


def test_a_lost_life_ends_the_learners_episode_and_not_the_game() -> None:
    """`episodic_life` would deal five new lives each time: the agent would never see the fourth."""
    rows = played(Game("breakout"), 250)
    lives = np.array([left for *_, left in rows])
    terminated = np.array([step.terminated for step, *_ in rows])
    over = np.array([ended for _, ended, *_ in rows])
    lost = lives[1:] < lives[:-1]
    assert lost.sum() > 6 and terminated[1:][lost].all()
    assert set(lives.ravel()) == {5, 4, 3, 2, 1}
    np.testing.assert_array_equal(over[1:], lives[1:] > lives[:-1])  # five again: a new game
    assert over.sum() >= 2 and terminated[over].all()
    quiet = played(judged(Game("breakout", max_frames=200)), 60)
    assert any(ended.any() for _, ended, *_ in quiet)
    for step, ended, *_ in quiet:
        np.testing.assert_array_equal(step.boundary, ended)


def follows(step: Step, after: Step, over: np.ndarray) -> None:
    """The next observation is where the step led, but where the game was over a new one."""
    going = ~over
    np.testing.assert_array_equal(after.obs[going], step.next_obs[going])
    np.testing.assert_array_equal(step.next_obs[:, :-1], step.obs[:, 1:])
    assert not after.obs[over][:, :3].any()


@pytest.mark.parametrize("lives", [True, False])
def test_every_row_is_a_real_transition(lives: bool) -> None:
    """Across lost lives, ends and the cap: a successor is the stack moved by one picture, always."""
    rows = played(Game("breakout", lives=lives, max_frames=600), 250)
    for (step, over, *_), (after, *_) in itertools.pairwise(rows):
        follows(step, after, over)
    assert any(over.any() for _, over, *_ in rows)
    assert any(step.truncated.any() for step, *_ in rows)


def test_the_cap_truncates_and_does_not_terminate() -> None:
    rows = played(Game("pong", max_frames=40, **PLAIN), 21)
    cut = [t for t, (step, *_) in enumerate(rows) if step.truncated.any()]
    assert cut == [9, 19]
    for t in cut:
        step, over, *_ = rows[t]
        assert step.truncated.all() and over.all() and not step.terminated.any()


def test_an_action_lasts_four_frames_and_not_sixteen() -> None:
    ale, games = machine("pong"), Games(Game("pong", **PLAIN), 1)
    games.reset(0)
    for _ in range(5):
        games.step([0])
    infos = games.envs.step(np.array([0]))[4]
    for _ in range(6 * 4):
        ale.act(ale.getMinimalActionSet()[0])
    assert infos["episode_frame_number"] == ale.getEpisodeFrameNumber() == 24


def test_fire_begins_a_game_and_no_second_life() -> None:
    """After a lost life a greedy player may wait for ever: that is what the cap is for."""
    for fire in (True, False):
        games = Games(Game("breakout", **{**PLAIN, "fire": fire}), 1)
        games.reset(0)
        lost = 0
        for _ in range(200):
            games.step([0])
            lost = 5 - int(games.lives_left[0])
        assert lost == int(fire)


def test_the_same_seed_plays_the_same_game_in_any_number_of_threads() -> None:
    one, two = (played(Game("breakout"), 40, 2, threads=n) for n in (1, 2))
    other = played(Game("breakout"), 40, 2, seed=1, threads=1)
    for (a, *_), (b, *_) in zip(one, two, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    assert any(
        (a.next_obs != b.next_obs).any() for (a, *_), (b, *_) in zip(one, other, strict=True)
    )


def test_neighbouring_seeds_share_no_game() -> None:
    """The emulator counts a seed up over its copies: copy 1 of seed 0 would be copy 0 of seed 1."""
    games, began = Games(Game("breakout"), 2), []
    for seed in (0, 1, 0):
        games.reset(seed)
        for t in range(40):
            games.step([t % 4, t % 4])
        began.append(games.obs.copy())
    assert (began[0][1] != began[1][0]).any()
    np.testing.assert_array_equal(began[0], began[2])


def test_leaving_at_once_is_no_crash() -> None:
    code = (
        "from rlcourse.atari.environment import *; g = Games(Game('pong'), 2, threads=2);"
        "g.reset(0); [g.step([0] * 2) for _ in range(5)]"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 0 and "terminate" not in said.stderr


@pytest.mark.parametrize("action", [[6, 0], [-1, 0], [0], 0, [0.0, 1.0]])
def test_an_action_that_is_none_is_refused(action: Any) -> None:
    """The emulator's threads would wait for ever."""
    games = Games(Game("pong"), 2)
    games.reset(0)
    with pytest.raises(InvalidArgumentError, match="action"):
        games.step(action)
    games.step([0, 5])


def test_named_actions_are_the_games_buttons() -> None:
    few = Game("pong", actions=("NOOP", "RIGHT", "LEFT"), **PLAIN)
    chosen, games = np.random.default_rng(0).integers(3, size=30), Games(few, 1)
    whole = Games(Game("pong", **PLAIN), 1)
    assert whole.actions == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
    games.reset(0), whole.reset(0)
    for action in chosen:
        ours, theirs = games.step([action]), whole.step([(0, 2, 3)[action]])
        np.testing.assert_array_equal(ours.next_obs, theirs.next_obs)
    with pytest.raises(InvalidArgumentError, match="pong knows NOOP, FIRE"):
        Games(dataclasses.replace(few, actions=("NOOP", "UP")), 1)


def test_sent_and_received_a_step_is_the_same_step() -> None:
    """And out of turn neither is taken: the emulator would wait for ever."""
    one, two = (Games(Game("breakout"), 2) for _ in range(2))
    one.reset(3), two.reset(3)
    with pytest.raises(CourseError, match="receive before send"):
        two.receive()
    for t in range(30):
        two.send([t % 4, 1])
        with pytest.raises(CourseError, match="send after send"):
            two.send([0, 0])
        for a, b in zip(one.step([t % 4, 1]), two.receive(), strict=True):
            np.testing.assert_array_equal(a, b)
    two.send([0, 0])
    for a, b in zip(one.reset(4), two.reset(4), strict=True):  # waits for what was sent
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one.step([1, 1]), two.step([1, 1]), strict=True):
        np.testing.assert_array_equal(a, b)
    two.send([0, 0])
    two.close()  # waits for what was sent


def test_a_step_before_a_reset_is_refused() -> None:
    with pytest.raises(CourseError, match="reset"):
        Games(Game("pong"), 1).step([0])


@pytest.mark.parametrize(
    ("name", "hint"), [("pogn", "did you mean pong"), ("brekout", "breakout"), ("xyzzy", "104")]
)
def test_an_unknown_game_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownEnvironmentError, match=hint):
        Game(name)


def test_the_49_games_of_the_nature_paper_are_all_here() -> None:
    rows = (folder() / "nature_2015_table2.tsv").read_text().splitlines()[1:]
    found = [rom(row.split("\t")[0]) for row in rows]
    assert len(set(found)) == 49 and set(found) <= set(names())


@pytest.mark.parametrize(
    "wrong", [{"sticky": 1.5}, {"stack": 0}, {"cut_top": 84}, {"noops": -1}, {"max_frames": 0}]
)
def test_a_value_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        Game("pong", **wrong)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: Any) -> None:
    environment.names.cache_clear()
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(CourseError, match=r'pip install "rlcourse\[atari\]"'):
        Game("pong")
