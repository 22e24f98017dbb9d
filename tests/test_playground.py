"""The runner: every episode as a bare loop plays it, the same bytes again, and what goes wrong told in a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest

from rlcourse import checkpoint
from rlcourse.algorithms import dqn
from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, InvalidArgumentError, UnknownEnvironmentError
from rlcourse.evaluation import play
from rlcourse.playground import policies as policies_module
from rlcourse.playground import run as run_module
from rlcourse.playground.policies import from_module, heuristic, load_policy, random_policy
from rlcourse.playground.results import Results, read, write
from rlcourse.playground.run import FRAMES, Recorder, episode_seeds, open_env, run

MINE = '''
import gymnasium as gym
import numpy as np

def right(observations):
    return np.ones(len(observations), dtype=int)

def table(observations):
    return np.array([1, 2, 1, 0, 1, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 0])[observations]

def misshapen(observations):
    return np.zeros((len(observations), 3))

def faulty(observations):
    return observations[0]["no such"]

calls = 0

def impatient(observations):
    """Plays right and after 25 steps presses Ctrl-C."""
    global calls
    calls += 1
    if calls > 25:
        raise KeyboardInterrupt
    return right(observations)

number = 3

class Coin(gym.Env):
    """It never ends by itself."""
    observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
    action_space = gym.spaces.Discrete(2, start=1)
    reward = 0.5

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert action in (1, 2)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), self.reward, False, False, {}

class Broken(Coin):
    reward = float("nan")

class Blind(Coin):
    """It shows nothing that a file could hold."""
    def step(self, action):
        obs, *rest = super().step(action)
        return obs * np.nan, *rest

class Picky(Coin):
    def __init__(self, size):
        pass
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a module of one's own in it."""
    name = f"mine_{tmp_path.name}".replace(
        "-", "_"
    )  # another one for each test: modules stay loaded
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.fixture
def mine(here: Path) -> str:
    [module] = here.glob("mine_*.py")
    return module.stem


@pytest.fixture
def type_in(rlcourse: Any) -> Any:
    """``rlcourse playground ...``."""
    return partial(rlcourse, "playground")


def bare_loop(env_id: str, choose: Any, seed: int) -> tuple[float, int]:
    env = gym.make(env_id)
    obs, _ = env.reset(seed=seed)
    total, steps, over = 0.0, 0, False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(choose(obs))
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    return total, steps


def scores(results: Results) -> dict[tuple[str, str], list[tuple[int, float, int]]]:
    return {
        (pair.environment, pair.policy): [(e.seed, e.return_, e.length) for e in pair.episodes]
        for pair in results.pairs
    }


# --- what is played -------------------------------------------------------------------------------

# Each rule once more, for one observation, in plain numbers.
RULES = {
    "CartPole-v1": lambda o: 1 if o[2] + o[3] > 0 else 0,
    "MountainCar-v0": lambda o: 0 if o[1] < 0 else 2,
    "MountainCarContinuous-v0": lambda o: [-1.0] if o[1] < 0 else [1.0],
    "Acrobot-v1": lambda o: 0 if o[4] > 0 else 2,
}


@pytest.mark.parametrize("env_id", RULES)
def test_an_episode_is_what_a_bare_loop_plays(env_id: str) -> None:
    [pair] = run([env_id], ["heuristic"], episodes=4, seed=7).pairs
    for episode in pair.episodes:
        assert (episode.return_, episode.length) == bare_loop(env_id, RULES[env_id], episode.seed)


def test_the_landers_rule_is_gymnasiums() -> None:
    pytest.importorskip("Box2D")
    from gymnasium.envs.box2d.lunar_lander import demo_heuristic_lander

    [pair] = run(["LunarLander-v3"], ["heuristic"], episodes=3).pairs
    for episode in pair.episodes:
        theirs: float = demo_heuristic_lander(gym.make("LunarLander-v3"), seed=episode.seed)
        assert episode.return_ == theirs


def test_the_pendulum_is_swung_up_and_held() -> None:
    """At the end it stands: a cost of 16 a step hanging down, of nearly none up there."""
    [pair] = run(["Pendulum-v1"], ["heuristic"], episodes=3).pairs
    for recording in pair.recordings:
        cosine, _, velocity = recording.frames[-1]
        assert float(cosine) > 0.99 and abs(float(velocity)) < 0.1


def test_the_thermostat_beats_chance_over_weeks() -> None:
    env = make("rlcourse/Heating-v0")
    rule, chance = (
        play(policy, "rlcourse/Heating-v0", episodes=3, max_episode_steps=336)
        for policy in (heuristic(env), random_policy(env, 0))
    )
    assert (rule > chance).all()


def test_chance_draws_evenly_from_a_stream_of_its_own() -> None:
    env = make("CartPole-v1")
    draws = random_policy(env, 5)(np.zeros((4000, 4)))
    assert abs(draws.mean() - 0.5) < 4 * 0.5 / 4000**0.5
    theirs = np.random.default_rng(5)  # what the world draws from after reset(seed=5)
    assert (draws != theirs.integers(2, size=4000)).mean() > 0.4
    env.action_space.seed(5)
    assert (draws != [env.action_space.sample() for _ in range(4000)]).mean() > 0.4


def test_an_episode_depends_on_nothing_but_the_seed(mine: str) -> None:
    alone = scores(run(["CartPole-v1"], ["random"], episodes=3, seed=4))
    among = scores(
        run(
            ["FrozenLake-v1", "CartPole-v1"],
            [f"{mine}:right", "heuristic", "random"],
            episodes=5,
            seed=4,
        )
    )
    key = ("CartPole-v1", "random")
    assert among[key][:3] == alone[key]
    seeds = {tuple(seed for seed, _, _ in found) for found in among.values()}
    assert len(seeds) == 1  # every policy in every world starts from the same
    assert seeds != {tuple(episode_seeds(5, 5))}


def test_a_checkpoint_plays_its_greedy_policy(here: Path) -> None:
    config = dqn.Config(steps=256, hidden=(8,), learning_starts=64, checkpoint_every=256)
    result = dqn.train(
        config, 3, on_checkpoint=lambda run: checkpoint.save(Path("a.safetensors"), run)
    )
    results = run(["CartPole-v1", "Acrobot-v1"], ["a.safetensors"], episodes=2)
    [pair] = results.pairs
    for episode in pair.episodes:
        assert (
            episode.return_
            == bare_loop("CartPole-v1", lambda obs: int(result.policy(obs[None])[0]), episode.seed)[
                0
            ]
        )
    [problem] = results.problems
    assert problem.environment == "Acrobot-v1" and "its observation_space is" in problem.message
    assert "\n" not in problem.message


def test_a_policy_and_a_world_of_ones_own(mine: str) -> None:
    results = run(
        ["FrozenLake-v1", f"{mine}:Coin"], [f"{mine}:table", f"{mine}:right", "random"], episodes=2
    )
    found = scores(results)
    assert {(steps, total) for _, total, steps in found[f"{mine}:Coin", "random"]} == {(1000, 500)}
    own = {(e.terminated, e.truncated) for p in results.pairs[-1:] for e in p.episodes}
    assert own == {(False, True)}
    table = [1, 2, 1, 0, 1, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 0]
    for seed, total, steps in found["FrozenLake-v1", f"{mine}:table"]:
        assert (total, steps) == bare_loop("FrozenLake-v1", lambda obs: table[obs], seed)


# --- recordings -----------------------------------------------------------------------------------


def test_a_recording_shows_the_moments_of_an_episode() -> None:
    [pair] = run(["MountainCar-v0"], ["heuristic"], episodes=5, seed=1).pairs
    assert [recording.episode for recording in pair.recordings] == [0, 1, 2]
    for recording, episode in zip(pair.recordings, pair.episodes, strict=False):
        env = gym.make("MountainCar-v0")
        seen = [env.reset(seed=episode.seed)[0]]
        done_next = []
        for _ in range(episode.length):
            done_next.append(RULES["MountainCar-v0"](seen[-1]))
            seen.append(env.step(done_next[-1])[0])
        assert list(recording.steps) == list(range(episode.length + 1))
        np.testing.assert_allclose(recording.frames, seen, atol=5.1e-5)
        assert list(recording.actions) == [*done_next, None]
        assert list(recording.gained) == [-float(step) for step in recording.steps]


def test_a_long_recording_is_thinned_out_and_keeps_its_end() -> None:
    [pair] = run(["CartPole-v1"], ["heuristic"], episodes=3).pairs
    for recording, episode in zip(pair.recordings, pair.episodes, strict=True):
        steps = np.array(recording.steps)
        assert len(steps) <= FRAMES + 1 and steps[0] == 0 and steps[-1] == episode.length
        assert len({*np.diff(steps)[:-1]}) <= 1  # evenly
        assert len(json.dumps(vars(recording))) < 20_000


def test_a_world_of_text_is_recorded_as_text() -> None:
    [pair] = run(["FrozenLake-v1"], ["random"], episodes=1).pairs
    [recording] = pair.recordings
    maps = {str(frame).replace("\x1b[41m", "").replace("\x1b[0m", "") for frame in recording.frames}
    assert maps == {"SFFF\nFHFH\nFFFH\nHFFG"}
    assert all(str(frame).count("\x1b[41m") == 1 for frame in recording.frames)


def test_what_no_file_could_hold_is_not_recorded(mine: str) -> None:
    [pair] = run(["Blackjack-v1"], ["random"], episodes=2).pairs
    assert all(len(frame) == 3 for recording in pair.recordings for frame in recording.frames)
    [pair] = run([f"{mine}:Blind"], ["random"], episodes=1).pairs
    assert len(pair.episodes) == 1 and not pair.recordings
    pytest.importorskip("minatar")
    [pair] = run(["MinAtar/Breakout-v1"], ["random"], episodes=2).pairs
    assert len(pair.episodes) == 2 and not pair.recordings


def test_of_what_no_file_could_hold_nothing_is_kept() -> None:
    class Wide(gym.Env[Any, Any]):
        render_mode = None

    recorder = Recorder(Wide())
    for step in range(5):
        recorder.see(step, np.zeros(65), 0.0, 0)
        assert not recorder.moments
    assert recorder.recording(0) is None
    recorder, obs = Recorder(Wide()), np.zeros(64)
    for step in range(2):
        obs += step  # a world that writes into what it has shown
        recorder.see(step, obs, 0.0, 0)
    found = recorder.recording(0)
    assert found and [frame[63] for frame in found.frames] == [0.0, 1.0]


# --- what goes wrong ------------------------------------------------------------------------------


def test_what_cannot_be_played_is_told_and_the_rest_is_played(mine: str) -> None:
    policies = [f"{mine}:{name}" for name in ("right", "misshapen", "faulty")]
    results = run([f"{mine}:Broken", "Taxi-v4"], [*policies, "heuristic"], episodes=2)
    assert [*scores(results)] == [("Taxi-v4", f"{mine}:right")]
    told = {
        (p.environment.split(":")[-1], str(p.policy).split(":")[-1]): p.message
        for p in results.problems
    }
    assert "return = nan" in told["Broken", "right"]
    assert (
        "does the policy answer observations [N, ...] with N actions?"
        in told["Taxi-v4", "misshapen"]
    )
    assert (
        "IndexError" in told["Taxi-v4", "faulty"]
        and f"{mine}.py, line" in told["Taxi-v4", "faulty"]
    )
    assert (
        "no rule is known for Taxi-v4; there is one for CartPole-v0" in told["Taxi-v4", "heuristic"]
    )
    assert len(told) == 7 and results.complete


def test_a_missing_extra_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gym.make

    def lacking(env_id: str, **options: Any) -> Any:
        if env_id == "LunarLander-v3":
            raise gym.error.DependencyNotInstalled("Box2D is not installed")
        return real(env_id, **options)

    monkeypatch.setattr(gym, "make", lacking)
    results = run(["LunarLander-v3", "CartPole-v1"], ["random", "heuristic"], episodes=1)
    assert len(results.pairs) == 2
    [problem] = results.problems
    assert (problem.environment, problem.policy) == ("LunarLander-v3", None)
    assert 'pip install "rlcourse[box2d]"' in problem.message


def test_without_torch_a_checkpoint_says_what_to_install(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.safetensors").touch()
    monkeypatch.setitem(sys.modules, "rlcourse.checkpoint", None)
    monkeypatch.delattr("rlcourse.checkpoint", raising=False)
    with pytest.raises(CourseError, match=r'pip install "rlcourse\[deep\]"'):
        load_policy("a.safetensors")


@pytest.mark.parametrize(
    ("environments", "policies", "options", "error", "message"),
    [
        (["CartPool-v1"], ["random"], {}, UnknownEnvironmentError, "did you mean CartPole-v1"),
        (["CartPole-v1"] * 2, ["random"], {}, InvalidArgumentError, "name at least one, and none twice"),
        (["CartPole-v1"], [], {}, InvalidArgumentError, "name at least one"),
        (["CartPole-v1"], ["random"], {"episodes": 0}, InvalidArgumentError, "episodes = 0"),
        (["CartPole-v1"], ["random"], {"seed": -1}, InvalidArgumentError, "seed = -1"),
        (["CartPole-v1"], ["random"], {"seed": 2**60}, InvalidArgumentError, "seed: must lie in"),
        (["CartPole-v1"], ["x" * 301], {}, InvalidArgumentError, r"policies\[0\]: must have 1 to 300"),
        (["CartPole-v1"], ["\udc80"], {}, InvalidArgumentError, r"policies\[0\]: must be text"),
        (["CartPole-v1"], ["heuristics"], {}, InvalidArgumentError, "must be random, heuristic, module"),
        (["CartPole-v1"], ["no_such_module:f"], {}, InvalidArgumentError, "cannot import 'no_such_module'"),
        (["CartPole-v1"], [":f"], {}, InvalidArgumentError, "cannot import ''"),
        (["CartPole-v1"], ["{mine}:nothing"], {}, InvalidArgumentError, "has no 'nothing'"),
        (["CartPole-v1"], ["{mine}:number"], {}, InvalidArgumentError, "must be a function"),
        (["{mine}:Picky"], ["random"], {}, InvalidArgumentError, "TypeError: .*size"),
        (["{mine}:right"], ["random"], {}, InvalidArgumentError, "TypeError: "),
        (["{mine}:number"], ["random"], {}, InvalidArgumentError, "must be a class of gymnasium.Env"),
    ],
)  # fmt: skip
def test_a_wrong_call_plays_nothing(
    mine: str,
    environments: list[str],
    policies: list[str],
    options: dict[str, int],
    error: type[Exception],
    message: str,
) -> None:
    def named(names: list[str]) -> list[str]:
        return [name.replace("{mine}", mine) for name in names]

    played: list[Any] = []
    with pytest.raises(error, match=message):
        run(named(environments), named(policies), on_episode=lambda *e: played.append(e), **options)
    assert not played


def test_an_edited_file_is_read_again(here: Path) -> None:
    folder = here / "files"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    for place in (here, folder):
        name = f"edited_{here.name}_in_{place.name}".replace("-", "_")
        file = place / f"{name}.py"
        for text, said in (("1", 1), ("22", 22)):
            file.write_text(f"def f(): return {text}")
            assert from_module(f"{name}:f")() == said
        file.write_text("def another(): return 1")
        with pytest.raises(InvalidArgumentError, match="has no 'f'"):
            from_module(f"{name}:f")
    assert from_module("rlcourse.errors:CourseError") is CourseError


@pytest.mark.parametrize(
    ("text", "cause", "message"),
    [
        ("def f(:", SyntaxError, "cannot import '{name}' .SyntaxError: "),
        ("import math\nmath.no_such", AttributeError, "cannot import '{name}' .AttributeError: .*no_such"),
        ("raise OSError('two\\nlines')", OSError, "cannot import '{name}' .OSError: two lines"),
    ],
)  # fmt: skip
def test_what_a_module_raises_is_told_with_its_cause(
    here: Path, text: str, cause: type[Exception], message: str
) -> None:
    name = f"faulty_{here.name}".replace("-", "_")
    (here / f"{name}.py").write_text(text)
    with pytest.raises(InvalidArgumentError, match=message.format(name=name)) as found:
        from_module(f"{name}:f")
    assert isinstance(found.value.__cause__, cause)
    with pytest.raises(InvalidArgumentError, match=r"cannot import '\.relative'"):
        from_module(".relative:f")


class Closing(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps which worlds are open."""

    open: ClassVar[set[int]] = set()

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.open.add(id(self))

    def close(self) -> None:
        self.open.discard(id(self))
        super().close()


def test_every_world_is_closed(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    opened: list[gym.Env[Any, Any]] = []

    def watched(name: str, **options: Any) -> gym.Env[Any, Any]:
        opened.append(Closing(make(name, **options)))
        return opened[-1]

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "make", watched)
    monkeypatch.setattr(policies_module, "make", watched)
    run(["CartPole-v1", "FrozenLake-v1"], ["random"], episodes=1)
    assert len(opened) == 3 and not Closing.open
    assert not run(["CartPole-v1"], ["random"], on_episode=interrupt).complete
    assert len(opened) == 4 and not Closing.open
    with pytest.raises(UnknownEnvironmentError):
        run(["CartPole-v1", "CartPool-v1"], ["random"])
    assert len(opened) == 5 and not Closing.open
    config = dqn.Config(steps=256, hidden=(8,), learning_starts=64, checkpoint_every=256)
    dqn.train(config, 3, on_checkpoint=lambda kept: checkpoint.save(Path("a.safetensors"), kept))
    run(["CartPole-v1"], ["a.safetensors"], episodes=1)
    assert len(opened) == 7 and not Closing.open


def test_whenever_ctrl_c_comes_the_file_can_be_read(here: Path) -> None:
    """It is pressed at each line of ``run`` in turn, until a run gets through."""
    before, cuts = sys.gettrace(), 0
    for moment in range(1000):
        left = moment

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal left
            if frame.f_code is not run.__code__:
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            results = run(["FrozenLake-v1"], ["random"], episodes=2)
        except KeyboardInterrupt:  # before or after the playing itself
            continue
        finally:
            sys.settrace(before)
        write(results, Path("r.json"))
        assert read(Path("r.json")).complete == results.complete
        cuts += not results.complete
        if results.complete:
            break
    assert results.complete and cuts > 20


# --- typed in -------------------------------------------------------------------------------------


def test_the_same_call_writes_the_same_bytes(here: Path) -> None:
    words = "--env CartPole-v1 --env FrozenLake-v1 --policy random --policy heuristic --episodes 4"
    for out, hashing in (("a.json", "1"), ("b.json", "2")):
        command = "import sys; from rlcourse.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", command, "playground", "run", *words.split(), "--out", out],
            env=os.environ | {"PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1, done.stderr  # no heuristic for the lake
        assert "not played: FrozenLake-v1 heuristic: " in done.stderr
    assert (here / "a.json").read_bytes() == (here / "b.json").read_bytes()


def test_a_run_ends_with_a_table(type_in: Any, here: Path) -> None:
    code, said, _ = type_in(
        "run", "--env", "MountainCar-v0", "--env", "CartPole-v1", "--policy", "random", "--policy",
        "heuristic", "--episodes", "3", "--out", "r.json",
    )  # fmt: skip
    assert code == 0 and "next: rlcourse playground dashboard r.json" in said
    head, *rows = said.splitlines()[:5]
    assert head.split()[:4] == ["environment", "policy", "episodes", "mean"]
    assert rows[0].split()[:4] == ["MountainCar-v0", "random", "3", "-200"]
    for pair, row in zip(read(Path("r.json")).pairs, rows, strict=True):
        assert len(row) == len(head) and row.startswith(pair.environment)
        mean = sum(episode.return_ for episode in pair.episodes) / 3
        assert float(row.split()[3]) == pytest.approx(mean, rel=1e-3)


def test_ctrl_c_keeps_the_finished_episodes(type_in: Any, mine: str) -> None:
    words = ("run", "--env", "CartPole-v1", "--episodes", "6", "--out")
    assert type_in(*words, "whole.json", "--policy", f"{mine}:right")[0] == 0
    code, said, complaint = type_in(*words, "cut.json", "--policy", f"{mine}:impatient")
    assert code == 130 and "kept in cut.json" in said and "stopped" in complaint
    cut, whole = read(Path("cut.json")), read(Path("whole.json"))
    assert not cut.complete and whole.complete
    finished, every = cut.pairs[0].episodes, whole.pairs[0].episodes
    assert 0 < len(finished) < 6 and finished == every[: len(finished)]
    assert sum(episode.length for episode in finished) <= 25


def test_an_interrupt_before_the_first_episode_keeps_a_readable_file(
    type_in: Any, mine: str
) -> None:
    module = sys.modules.setdefault(mine, __import__(mine)) if mine in sys.modules else None
    assert module is None
    Path(f"{mine}.py").write_text(MINE.replace("calls = 0", "calls = 99"))
    words = ("--env", "CartPole-v1", "--policy", f"{mine}:impatient", "--out", "r.json")
    assert type_in("run", *words)[0] == 130
    assert read(Path("r.json")).pairs == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--policy", "random"], "env: name at least one, with --env"),
        (["run", "--env", "CartPole-v1"], "policy: name at least one, with --policy"),
        (["run", "--env", "Taxi-v3", "--policy", "random"], "retired; use 'Taxi-v4'"),
        (
            ["run", "--env", "CartPole-v1", "--policy", "random", "--out", "no/r.json"],
            "its folder does not exist",
        ),
    ],
)
def test_what_can_be_mended_is_one_line(
    type_in: Any, here: Path, words: list[str], message: str
) -> None:
    code, said, complaint = type_in(*words)
    assert code == 2 and message in complaint and complaint.count("\n") == 1 and said == ""
    assert [path.name for path in here.iterdir() if path.suffix == ".json"] == []


def test_a_text_world_is_opened_in_text_and_others_are_not() -> None:
    assert open_env("Taxi-v4").render_mode == "ansi"
    assert open_env("CartPole-v1").render_mode is None
