"""What every learner of a policy must do: solve the probes, repeat itself, go on, and say what is wrong."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from scipy.stats import norm
from torch import Tensor

from rlcourse.algorithms import a2c, a3c, ppo, reinforce, sac
from rlcourse.checkpoint import load, save
from rlcourse.envs.probes import PROBES, Probe
from rlcourse.errors import CourseError, DivergenceError, InvalidArgumentError
from rlcourse.evaluation import play

# Big steps on small worlds.
QUICK: dict[str, dict[str, Any]] = {
    "reinforce": {
        "steps": 1200, "num_envs": 8, "gamma": 0.9, "hidden": (32,), "learning_rate": 1e-2,
        "max_grad_norm": 1e9, "value_updates": 20,
    },
    "a2c": {
        "steps": 2400, "num_envs": 8, "gamma": 0.9, "hidden": (32,), "learning_rate": 2e-2,
        "max_grad_norm": 1e9, "value_weight": 1.0,
    },
    "ppo": {
        "steps": 1200, "num_envs": 8, "gamma": 0.9, "hidden": (32,), "learning_rate": 1e-2,
        "max_grad_norm": 1e9, "value_weight": 1.0, "horizon": 5, "epochs": 8, "batch_size": 20,
    },
}  # fmt: skip
# For what does not need to learn anything: several batches, episodes and checkpoints.
TINY: dict[str, dict[str, Any]] = {
    "reinforce": {"steps": 400, "num_envs": 4, "hidden": (8,), "checkpoint_every": 2},
    "a2c": {"steps": 320, "num_envs": 4, "hidden": (8,), "checkpoint_every": 5},
    "ppo": {"steps": 384, "num_envs": 4, "hidden": (8,), "checkpoint_every": 2, "horizon": 16,
            "batch_size": 32, "epochs": 2},
    "sac": {"steps": 240, "num_envs": 4, "hidden": (8,), "checkpoint_every": 80, "batch_size": 8,
            "replay_size": 160, "learning_starts": 60},
}  # fmt: skip
CARTPOLE = {"env_id": "CartPole-v1", "env_options": {"max_episode_steps": 25}}
PENDULUM = {"env_id": "Pendulum-v1", "env_options": {"max_episode_steps": 20}}
SWITCHES = {"normalize_observations": True, "value_clip": True, "max_kl": 0.01, "entropy": 0.01}
# Each learner, on actions of each kind that it takes, with its switches.
CASES: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "reinforce": (reinforce, CARTPOLE),
    "reinforce, box": (reinforce, {**PENDULUM, "baseline": "batch", "entropy": 0.01}),
    "a2c": (a2c, {**CARTPOLE, "entropy": 0.01}),
    "a2c, box": (a2c, PENDULUM),
    "ppo": (ppo, CARTPOLE),
    "ppo, box": (ppo, {**PENDULUM, **SWITCHES}),
    "sac": (sac, PENDULUM),
}
cases = pytest.mark.parametrize(("module", "options"), CASES.values(), ids=list(CASES))
LOSS = {reinforce: reinforce.policy_loss, a2c: a2c.actor_critic_loss, ppo: ppo.clipped_loss}
learners = pytest.mark.parametrize("module", [reinforce, a2c, ppo], ids=list(QUICK))


def name_of(module: ModuleType) -> str:
    return module.__name__.rsplit(".", 1)[-1]


def tiny(module: ModuleType, **options: Any) -> Any:
    return module.Config(**{**TINY[name_of(module)], **options})


class World(gym.Env[Any, Any]):
    """Five steps with nothing to see; a reward that the caller names, and a record of all actions.

    Args:
        box: two real actions, or else three numbered ones.
        goal: each step pays minus the squared distance to it, of the first action.
        bad: ``"obs"`` or ``"reward"`` is no number ...
        since: ... from this step on.
        length: steps of an episode.
    """

    acted: list[Any] = []  # noqa: RUF012  (by all worlds together)

    def __init__(
        self, box: bool, goal: float | None = None, bad: str = "", since: int = 0, length: int = 5
    ) -> None:
        self.observation_space = Box(-1, 1, (2,))
        low, high = np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)
        self.action_space = Box(low, high) if box else Discrete(3)
        self.goal, self.bad, self.since, self.length = goal, bad, since, length
        self.steps = self.at = 0

    def look(self) -> Any:
        bad = self.bad == "obs" and self.steps >= self.since
        return np.full(2, np.nan if bad else 0.5, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.at = 0
        return self.look(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        World.acted.append(np.array(action))
        self.steps, self.at = self.steps + 1, self.at + 1
        reward = 0.0 if self.goal is None else -float((action[0] - self.goal) ** 2)
        reward = np.nan if self.bad == "reward" and self.steps >= self.since else reward
        return self.look(), reward, self.at == self.length, False, {}


class Strange(gym.Env[Any, Any]):
    """Actions that no learner here takes."""

    observation_space = Box(-1, 1, (2,))

    def __init__(self, actions: Any) -> None:
        self.action_space = actions

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}


gym.register("tests/World-v0", World)
gym.register("tests/Strange-v0", Strange)


# --- learning -------------------------------------------------------------------------------------


@learners
@pytest.mark.parametrize("world", PROBES, ids=lambda world: world.env_id.split("-")[1])
def test_every_probe_is_solved(module: ModuleType, world: Probe) -> None:
    """The closed-form value of every state, and the right action wherever there is a choice."""
    runs: list[Any] = []
    config = module.Config(env_id=world.env_id, **QUICK[name_of(module)])
    policy = module.train(config, seed=1, on_checkpoint=runs.append).policy
    critic = runs[-1].critic if module is reinforce else runs[-1].network.critic
    states = np.flatnonzero(~world.model().terminal)
    with torch.no_grad():
        values = critic(torch.from_numpy(states)).numpy()
    np.testing.assert_allclose(values, np.array(world.values(0.9))[states], atol=0.08)
    if world.model().num_actions > 1:
        np.testing.assert_array_equal(policy(states), world.model().reward[states].argmax(1))


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (reinforce, {**QUICK["reinforce"], "steps": 6400, "num_envs": 32, "learning_rate": 2e-2,
                     "baseline": "batch"}),
        (ppo, {**QUICK["ppo"], "steps": 1600}),
        (sac, {"steps": 800, "num_envs": 4, "hidden": (64,), "learning_rate": 1e-2, "updates": 4,
               "batch_size": 128, "replay_size": 800, "learning_starts": 400, "temperature": 1e-3,
               "target_entropy": -8.0}),
    ],
    ids=["reinforce", "ppo", "sac"],
)  # fmt: skip
def test_the_best_of_all_real_actions_is_found(module: ModuleType, options: dict) -> None:
    """One step that pays -(a - 0.7)^2: the mode of the policy goes to 0.7."""
    config = module.Config(
        env_id="tests/World-v0", env_options={"box": True, "goal": 0.7, "length": 1}, **options
    )
    action = module.train(config, seed=1).policy(np.full((1, 2), 0.5, np.float32))
    assert action.shape == (1, 2) and action[0, 0] == pytest.approx(0.7, abs=0.15)


@learners
@pytest.mark.parametrize("box", [False, True], ids=["numbered", "box"])
def test_entropy_rises_when_only_the_bonus_acts(module: ModuleType, box: bool) -> None:
    """No reward, a critic of zero: whatever moves the policy is the bonus."""

    def entropy_after(weight: float) -> tuple[float, float]:
        config = tiny(module, env_id="tests/World-v0", env_options={"box": box}, entropy=weight,
                      learning_rate=1e-2)  # fmt: skip
        run = module.Run(config, 0, "cpu")
        actor = run.actor if module is reinforce else run.network.actor
        critic = run.critic if module is reinforce else run.network.critic
        with torch.no_grad():
            critic[-2].weight.zero_()
            actor.layers[-1].bias += torch.tensor([0.0, 1.5, 0.5])[: len(actor.layers[-1].bias)]
        ends = []
        for _ in range(6):
            ends.append(float(actor(torch.full((1, 2), 0.5)).entropy().detach()))
            length = () if module is reinforce else (config.horizon,)
            module.update(run, run.episodes.play(run.act, *length), LOSS[module])
        return ends[0], ends[-1]

    first, last = entropy_after(0.1)
    assert last > first + 0.01
    first, last = entropy_after(0.0)
    assert last == pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize("module", [reinforce, a2c, ppo], ids=list(QUICK))
def test_the_loss_hears_the_density_of_what_the_environment_was_given(module: ModuleType) -> None:
    """Two squashed actions, computed backward by scipy from what arrived: tanh, widths and their sum."""
    heard: list[Tensor] = []

    def loss(log_prob: Tensor, *others: Any) -> Tensor:
        heard.append(log_prob.detach())
        return LOSS[module](log_prob, *others)

    World.acted = []
    options = {"batch_size": 64, "epochs": 1} if module is ppo else {}
    runs: list[Any] = []
    config = tiny(module, env_id="tests/World-v0", env_options={"box": True}, learning_rate=0.0,
                  steps=20, **options)  # fmt: skip
    module.train(config, loss=loss, on_checkpoint=runs.append)
    actor = runs[0].actor if module is reinforce else runs[0].network.actor
    with torch.no_grad():
        mean = actor(torch.full((1, 2), 0.5)).mode().double().numpy()
    unit = (np.stack(World.acted).astype(float) - [0.0, 0.5]) / [2.0, 0.5]
    normal = norm.logpdf(np.arctanh(unit), mean, 1.0)
    expected = (normal - np.log([2.0, 0.5]) - np.log(1 - unit**2)).sum(axis=1)
    np.testing.assert_allclose(
        np.sort(torch.cat(heard).numpy()), np.sort(expected), rtol=1e-3, atol=1e-3
    )


# --- the same again -------------------------------------------------------------------------------


@cases
def test_a_run_is_its_seed(module: ModuleType, options: dict[str, Any]) -> None:
    config = tiny(module, **options)
    torch.manual_seed(1)
    first = module.train(config, 4)
    torch.manual_seed(2)  # what others draw is not our business
    np.random.seed(3)  # noqa: NPY002
    again, other = module.train(config, 4), module.train(config, 5)
    assert first.log == again.log != other.log and len(first.log) > 5
    assert any("loss" in row for row in first.log)
    pairs = zip(
        first.policy.network.state_dict().values(),
        again.policy.network.state_dict().values(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)


@cases
def test_looking_at_a_run_does_not_disturb_it(module: ModuleType, options: dict[str, Any]) -> None:
    config, state = tiny(module, **options), torch.random.get_rng_state()

    def watch(steps: int, row: dict[str, float], run: Any) -> None:
        limit = options["env_options"]["max_episode_steps"]
        play(run.policy(), options["env_id"], episodes=1, max_episode_steps=limit)

    assert module.train(config).log == module.train(config, on_progress=watch).log
    assert torch.equal(torch.random.get_rng_state(), state)


@cases
def test_a_policy_is_frozen(module: ModuleType, options: dict[str, Any]) -> None:
    """Taken in the middle of a run it stays what it was, whatever the run learns and counts afterwards."""
    size = 3 if options["env_id"] == "Pendulum-v1" else 4
    obs = np.random.default_rng(0).normal(size=(50, size)).astype(np.float32)
    taken: list[tuple[Any, list[Tensor], Any]] = []

    def watch(steps: int, row: dict[str, float], run: Any) -> None:
        policy = run.policy()
        state = [x.clone() for x in policy.network.state_dict().values()]
        taken.append((policy, state, policy(obs)))

    module.train(tiny(module, **options), on_progress=watch)
    assert len(taken) > 2
    for policy, state, actions in taken:
        np.testing.assert_array_equal(policy(obs), actions)
        pairs = zip(policy.network.state_dict().values(), state, strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert not all(torch.equal(a, b) for a, b in zip(taken[0][1], taken[-1][1], strict=True))


@cases
def test_a_resumed_run_is_the_uninterrupted_one(
    module: ModuleType, options: dict[str, Any], tmp_path: Path
) -> None:
    """From every checkpoint: all log rows, and every array and number of the last file."""
    config, paths = tiny(module, **options), []

    def keep(run: Any) -> None:
        paths.append(tmp_path / f"{len(paths)}.safetensors")
        save(paths[-1], run)

    whole = module.train(config, 7, on_checkpoint=keep)
    files, last = paths[:], load(paths[-1])
    assert len(files) >= 3
    for path in files:
        torch.manual_seed(0)
        resumed = module.train(config, 7, resume=load(path), on_checkpoint=keep)
        assert resumed.log == whole.log
        again = load(paths[-1])
        assert again.arrays.keys() == last.arrays.keys()
        for name, array in again.arrays.items():
            np.testing.assert_array_equal(array, last.arrays[name], err_msg=name)
        assert again.facts == last.facts


@cases
def test_the_policy_of_a_checkpoint_is_the_runs(
    module: ModuleType, options: dict[str, Any], tmp_path: Path
) -> None:
    size = 3 if options["env_id"] == "Pendulum-v1" else 4
    obs = 3 * np.random.default_rng(0).normal(size=(200, size)).astype(np.float32)
    path, actions = tmp_path / "run.safetensors", []

    def keep(run: Any) -> None:
        save(path, run)
        actions.append(run.policy()(obs))
        np.testing.assert_array_equal(module.load_policy(load(path))(obs), actions[-1])

    result = module.train(tiny(module, **options), on_checkpoint=keep)
    np.testing.assert_array_equal(result.policy(obs), actions[-1])
    assert not np.array_equal(actions[0], actions[-1])
    other = a2c if module is not a2c else ppo
    with pytest.raises(InvalidArgumentError, match=f"algorithm = '{name_of(module)}' made"):
        other.load_policy(load(path))


# --- what cannot go well --------------------------------------------------------------------------


POISONS = [(m, box, bad, since) for m in (reinforce, a2c, ppo, sac) for box in (False, True)
           for bad in ("obs", "reward") for since in (18, 20) if box or m is not sac]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*NaN value:UserWarning")
@pytest.mark.parametrize(
    ("module", "box", "bad", "since"),
    POISONS,
    ids=lambda value: name_of(value) if isinstance(value, ModuleType) else str(value),
)
def test_what_is_no_number_stops_the_run_and_is_named(
    module: ModuleType, box: bool, bad: str, since: int
) -> None:
    """In the midst of a stretch and at its end; the weights are those from before."""
    runs: list[Any] = []
    options = {"box": box, "bad": bad, "since": since}
    config = tiny(module, env_id="tests/World-v0", env_options=options, checkpoint_every=8000)
    with pytest.raises(DivergenceError, match=r"must be finite") as caught:
        module.train(config, on_progress=lambda steps, row, run: runs.append(run))
    named = (
        r"(obs|reward|returns|advantages) in \[[^]]*\] with \d+ not finite|observations.*not finite"
    )
    assert re.search(named, str(caught.value)), caught.value
    network = runs[0].actor if module in (reinforce, sac) else runs[0].network
    assert all(torch.isfinite(p).all() for p in network.parameters())


@pytest.mark.parametrize(
    "module", [reinforce, a2c, a3c, ppo, sac], ids=["reinforce", "a2c", "a3c", "ppo", "sac"]
)
def test_settings_below_zero_or_no_numbers_are_named(module: ModuleType) -> None:
    """Each numeric setting there is, also those of tomorrow."""
    names = [f.name for f in dataclasses.fields(module.Config)
             if str(f.type).split()[0] in ("int", "float")]  # fmt: skip
    assert len(names) >= 8
    for name in names:
        for value in (-1, math.nan, math.inf, "high"):
            if name == "target_entropy" and value == -1:
                continue  # an entropy may be
            with pytest.raises(InvalidArgumentError) as caught:
                module.Config(**{name: value})
                pytest.fail(f"{name} = {value} was accepted")
            assert f"{name} = {value!r}" in str(caught.value)
    for value in ((0,), (8, -1), "wide", None):
        with pytest.raises(InvalidArgumentError, match=r"hidden = "):
            module.Config(hidden=value)


@pytest.mark.parametrize(
    "module", [reinforce, a2c, a3c, ppo], ids=["reinforce", "a2c", "a3c", "ppo"]
)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env_id": "tests/Strange-v0", "env_options": {"actions": MultiDiscrete([2, 2])}},
         r"action_space = MultiDiscrete\(\[2 2\]\): must be Discrete from 0 on, or a bounded"),
        ({"env_id": "tests/Strange-v0", "env_options": {"actions": Box(-np.inf, np.inf, (1,))}},
         r"action_space = Box\(-inf, inf.*must be Discrete from 0 on, or a bounded"),
        ({"env_id": "tests/Strange-v0", "env_options": {"actions": Box(-1, 1, (2, 2))}},
         r"action_space = Box.*bounded vector"),
        ({"env_id": "tests/Strange-v0", "env_options": {"actions": Discrete(3, start=1)}},
         r"action_space = Discrete\(3, start=1\): must be Discrete from 0 on"),
        ({"env_id": "Blackjack-v1"}, r"observation_space = Tuple.*must be Discrete"),
        ({"env_id": "CartPole-v7"}, r"env_id = 'CartPole-v7'.*CartPole-v1"),
    ],
    ids=["many numbers", "no bounds", "a table", "from one on", "a tuple to see", "not there"],
)  # fmt: skip
def test_environments_that_no_learner_takes(
    module: ModuleType, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CourseError, match=message):
        module.train(module.Config(**options))


@cases
def test_devices_and_seeds_that_are_not_there(module: ModuleType, options: dict[str, Any]) -> None:
    config = tiny(module, **options)
    with pytest.raises(InvalidArgumentError, match=r"device = 'bogus': must be cpu"):
        module.train(config, device="bogus")
    for seed in (-1, 1.5, None):
        with pytest.raises(InvalidArgumentError, match=r"seed = "):
            module.train(config, seed)


def test_settings_from_a_file_are_mended() -> None:
    """JSON knows no tuples, and some writers no whole numbers."""
    for module in (reinforce, a2c, ppo, sac):
        plain = TINY[name_of(module)]
        written = {k: [8.0] if k == "hidden" else float(v) for k, v in plain.items()}
        assert module.Config(**written) == module.Config(**plain)
