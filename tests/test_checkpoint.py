"""Checkpoints: exact to go on from, whole or not there, and nothing but data."""

from __future__ import annotations

import ast
import errno
import json
import os
import pickle
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

import rlcourse
from rlcourse import files
from rlcourse.algorithms import dqn, rainbow
from rlcourse.checkpoint import Checkpoint, load, save
from rlcourse.errors import (
    CorruptCheckpointError,
    CourseError,
    InvalidArgumentError,
    UnknownEnvironmentError,
)

TINY: dict[str, Any] = {
    "steps": 640, "num_envs": 8, "gamma": 0.9, "hidden": (8,), "learning_rate": 1e-2,
    "batch_size": 8, "replay_size": 200, "learning_starts": 64, "train_every": 16, "updates": 2,
    "target_every": 3, "epsilon_end": 0.5, "epsilon_steps": 400, "checkpoint_every": 160,
    "prioritized": True, "n": 3,
}  # fmt: skip
ALGORITHMS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "dqn": (dqn, {"double": True}),
    "dqn, uniform": (dqn, {"prioritized": False, "n": 1}),
    "rainbow": (rainbow, {}),
}
algorithms = pytest.mark.parametrize(
    ("module", "options"), ALGORITHMS.values(), ids=list(ALGORITHMS)
)


def config_of(module: ModuleType, **options: Any) -> Any:
    return module.Config(**{**TINY, **options})


def weights(result: Any) -> np.ndarray:
    return torch.cat([p.detach().view(-1) for p in result.policy.network.parameters()]).numpy()


def journey(module: ModuleType, folder: Path, **options: Any) -> tuple[Any, list[Path], list[Any]]:
    """A whole run, a file for each of its checkpoints, and its policy's values at each."""
    paths, values = [], []

    def keep(run: Any) -> None:
        paths.append(folder / f"{len(paths)}.safetensors")
        save(paths[-1], run)
        values.append(run.policy().q_values(np.eye(4, dtype=np.float32)))

    result = module.train(config_of(module, **options), 7, on_checkpoint=keep)
    return result, paths, values


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint but one of a small run of DQN."""
    folder = tmp_path_factory.mktemp("kept")
    return journey(dqn, folder, replay_size=64)[1][1]


def weight_in(arrays: dict[str, Any]) -> str:
    """The name of one of a network's matrices."""
    return next(n for n in arrays if n.startswith("network.") and n.endswith("weight"))


def a_run(**options: Any) -> dqn.Run:
    return dqn.Run(config_of(dqn, **options), 7, "cpu")


# --- going on -------------------------------------------------------------------------------------


@algorithms
def test_a_resumed_run_is_the_uninterrupted_one(
    module: ModuleType, options: dict[str, Any], tmp_path: Path
) -> None:
    """From every checkpoint, among them one before the first update: all log rows, all weights."""
    whole, paths, _ = journey(module, tmp_path, learning_starts=200, **options)
    assert len(paths) >= 4 and len(whole.log) > 10
    lengths = []
    for path in paths:
        from_here = load(path)
        torch.manual_seed(0)  # what others draw meanwhile is not our business
        resumed = module.train(
            config_of(module, learning_starts=200, **options), 7, resume=from_here
        )
        assert resumed.log == whole.log
        np.testing.assert_array_equal(weights(resumed), weights(whole))
        lengths.append(len(from_here.facts["episodes.log"]))
    assert lengths == sorted(lengths) and lengths[0] < lengths[2] <= len(whole.log)


@algorithms
def test_going_on_twice_from_one_checkpoint(
    module: ModuleType, options: dict[str, Any], tmp_path: Path
) -> None:
    """What was loaded stays as it was: the second run is the first."""
    _, paths, _ = journey(module, tmp_path, **options)
    once = load(paths[1])
    facts, arrays = json.dumps(once.facts), {k: a.copy() for k, a in once.arrays.items()}
    runs = [module.train(config_of(module, **options), 7, resume=once) for _ in range(2)]
    assert runs[0].log == runs[1].log and runs[0].log is not runs[1].log
    np.testing.assert_array_equal(weights(runs[0]), weights(runs[1]))
    assert json.dumps(once.facts) == facts
    for name, array in once.arrays.items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)


@algorithms
def test_without_its_memory_a_run_fills_a_new_one(
    module: ModuleType, options: dict[str, Any], tmp_path: Path
) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    runs: list[Any] = []

    def keep(run: Any) -> None:
        if not small.exists():
            save(small, run, replay=False)
            save(large, run)
            runs.append((run.updates, len(run.episodes.log)))

    config = config_of(module, **options)
    whole = module.train(config, 7, on_checkpoint=keep)
    assert small.stat().st_size < large.stat().st_size - 2 * 160 * 16
    assert not any(name.startswith("replay") for name in load(small).arrays)
    last: list[Any] = []
    resumed = module.train(config, 7, resume=load(small), on_checkpoint=last.append)
    (updates, rows), run = runs[0], last[-1]
    assert resumed.log[:rows] == whole.log[:rows] and resumed.log[-1]["step"] > 400
    assert len(run.replay) == 200 and np.isfinite(weights(resumed)).all()
    assert updates < run.updates < updates + 60  # it waited until enough was remembered again


@algorithms
def test_the_policy_of_a_checkpoint_is_the_runs(
    module: ModuleType, options: dict[str, Any], tmp_path: Path
) -> None:
    whole, paths, values = journey(module, tmp_path, **options)
    obs = np.eye(4, dtype=np.float32)
    for path, q in zip(paths, values, strict=True):
        policy = module.load_policy(load(path))
        np.testing.assert_array_equal(policy.q_values(obs), q)
        assert not policy.network.training
    np.testing.assert_array_equal(values[-1], whole.policy.q_values(obs))
    assert not np.array_equal(values[0], values[-1])


def test_a_checkpoint_says_what_it_is(kept: Path) -> None:
    found = load(kept)
    assert (found.algorithm, found.seed) == ("dqn", 7)
    assert dqn.Config(**found.config) == config_of(dqn, replay_size=64)
    assert {"torch", "numpy", "gymnasium"} <= found.versions.keys()
    with safe_open(kept, "numpy") as file:  # any reader of the format can open it
        assert set(file.keys()) == found.arrays.keys()
        for name in file.keys():  # noqa: SIM118
            np.testing.assert_array_equal(file.get_tensor(name), found.arrays[name])


# --- written whole or not at all ------------------------------------------------------------------


@contextmanager
def no_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that is found to be full when the last bytes are asked for."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        yield


@contextmanager
def small_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The system itself refuses to let a file grow beyond a thousand bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_renaming(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All is written, and then the name cannot be taken."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        yield


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (no_room, "No space left"),
        (small_files, "File too large"),
        (no_renaming, "Permission denied"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    trouble: Any, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run = tmp_path / "run.safetensors", a_run()
    save(path, run)
    before = path.read_bytes()
    run.updates = 5
    with trouble(monkeypatch), pytest.raises(CourseError, match=rf"run\.safetensors: .*{reason}"):
        save(path, run)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]
    assert load(path).facts["updates"] == 0
    save(path, run)
    assert load(path).facts["updates"] == 5
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run = tmp_path / "run.safetensors", a_run()
    save(path, run)
    before = path.read_bytes()

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(path, run)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("place", ["missing/run", "file/run", "folder", "x" * 300])
def test_places_where_no_file_can_be(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder must be")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CourseError, match=r"cannot be written"):
        save(tmp_path / place, a_run())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CourseError, match=r"cannot be written \(Permission denied\)"):
        save(tmp_path / "run", a_run())


def test_settings_that_no_file_can_hold_are_named(tmp_path: Path) -> None:
    run = a_run()
    run.config = replace(run.config, env_options={"size": np.int64(7)})
    with pytest.raises(InvalidArgumentError, match=r"config = .*int64.*must be plain"):
        save(tmp_path / "run.safetensors", run)
    assert not list(tmp_path.iterdir())


def test_saving_does_not_disturb_a_run(tmp_path: Path) -> None:
    """And the file holds a moment of it, not the run itself."""
    quiet = dqn.train(config_of(dqn), 7)
    watched, paths, _ = journey(dqn, tmp_path)
    assert quiet.log == watched.log
    first, last = (load(path).arrays for path in (paths[0], paths[-1]))
    assert not np.array_equal(first[weight_in(first)], last[weight_in(last)])


def test_a_run_that_diverges_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """A learning rate that is absurd from the first update on; the last file is from before it."""
    path = tmp_path / "run.safetensors"
    config = config_of(dqn, learning_rate=1e30, learning_starts=200)
    with pytest.raises(CourseError, match=r"gradient norm"):
        dqn.train(config, 7, on_checkpoint=lambda run: save(path, run))
    found = load(path)
    assert found.facts["episodes.steps"] == 160
    assert all(np.isfinite(a).all() for a in found.arrays.values() if a.dtype.kind == "f")
    assert np.isfinite(dqn.load_policy(found).q_values(np.eye(4, dtype=np.float32))).all()


# --- damaged --------------------------------------------------------------------------------------


def refused(path: Path, data: bytes) -> str:
    """What is said of a file of these bytes."""
    path.write_bytes(data)
    with pytest.raises(CorruptCheckpointError) as caught:
        load(path)
    said = str(caught.value)
    assert str(path) in said and "no whole checkpoint (" in said
    return said


def test_a_file_cut_short_anywhere(kept: Path, tmp_path: Path) -> None:
    raw = kept.read_bytes()
    header = 8 + int.from_bytes(raw[:8], "little")
    lengths = {0, 1, 7, 8, 9, header - 1, header, header + 1, len(raw) - 1}
    lengths |= set(np.linspace(0, len(raw) - 1, 40, dtype=int).tolist())
    for length in sorted(lengths):
        refused(tmp_path / "cut", raw[:length])
    refused(tmp_path / "long", raw + b"\0")


def test_one_bit_turned_anywhere(kept: Path, tmp_path: Path) -> None:
    """In the lengths, in the text, in the arrays: settings and counters are as precious as weights."""
    raw, rng = kept.read_bytes(), np.random.default_rng(0)
    text = raw.index(b"__metadata__")
    header = 8 + int.from_bytes(raw[:8], "little")
    places = {*range(0, 40), *range(text, header, 11), *range(header, len(raw), 37)}
    places |= {raw.index(key) + len(key) for key in (b"algorith", b"see", b"update", b'"F3')}
    for place in sorted(places):
        data = bytearray(raw)
        data[place] ^= 1 << int(rng.integers(8))
        if json_like(bytes(data), raw):
            continue
        refused(tmp_path / "bit", bytes(data))
    assert len(places) > 400


def json_like(data: bytes, raw: bytes) -> bool:
    """Whether the change is one of spaces outside all text, which changes nothing that is said."""
    try:
        parts = [
            (json.loads(d[8 : 8 + int.from_bytes(d[:8], "little")]), d[:8]) for d in (data, raw)
        ]
    except ValueError:
        return False
    header = 8 + int.from_bytes(raw[:8], "little")
    return parts[0] == parts[1] and data[header:] == raw[header:]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'\\"seed\\": 7', b'\\"seed\\": 8'),
        (b'\\"gamma\\": 0.9', b'\\"gamma\\": 0.8'),
        (b'\\"length\\": ', b'\\"length\\":-'),
        (b'"dtype":"F32"', b'"dtype":"I32"'),
        (b'"dtype":"I64"', b'"dtype":"F64"'),
    ],
)
def test_a_text_that_was_edited(old: bytes, new: bytes, kept: Path, tmp_path: Path) -> None:
    """Still good JSON, still good safetensors: only the digest can tell."""
    raw = kept.read_bytes()
    assert old in raw
    assert "changed since it was written" in refused(tmp_path / "edited", raw.replace(old, new, 1))


def about(kept: Path, **changes: Any) -> bytes:
    """The file anew, with other words in its text; a change to None takes a key away."""
    with safe_open(kept, "numpy") as file:
        text = json.loads(file.metadata()["rlcourse"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = {k: v for k, v in {**text, **changes}.items() if v is not None}
    return bytes(to_bytes(arrays, {"rlcourse": json.dumps(text)}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda kept: b"", ""),
        (lambda kept: b"\0" * 1000, ""),
        (lambda kept: b"\xff" * 1000, ""),
        (lambda kept: b"not a checkpoint at all", ""),
        (lambda kept: to_bytes({"a": np.zeros(3)}), "rlcourse"),
        (lambda kept: to_bytes({"a": np.zeros(3)}, {"format": "pt"}), "rlcourse"),
        (lambda kept: to_bytes({}, {"rlcourse": ""}), ""),
        (lambda kept: to_bytes({}, {"rlcourse": "{"}), ""),
        (lambda kept: to_bytes({}, {"rlcourse": "3"}), ""),
        (lambda kept: to_bytes({}, {"rlcourse": "null"}), ""),
        (lambda kept: to_bytes({}, {"rlcourse": "[]"}), ""),
        (lambda kept: to_bytes({}, {"rlcourse": "{}"}), "format"),
        (lambda kept: about(kept, format=99), "format 99, this version reads 1"),
        (lambda kept: about(kept, format="1"), "format"),
        (lambda kept: about(kept, sha256=None), "sha256"),
        (lambda kept: about(kept, sha256="0" * 64), "changed"),
        (lambda kept: about(kept, facts=None), "changed"),
        (lambda kept: about(kept, seed=8), "changed"),
        (lambda kept: pickle.dumps({"weights": [1.0]}), ""),
    ],
)
def test_what_is_no_checkpoint(
    data: Callable[[Path], bytes], said: str, kept: Path, tmp_path: Path
) -> None:
    assert said in refused(tmp_path / "other.safetensors", data(kept))


def test_no_file_at_all(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InvalidArgumentError, match=r"path = .*: no such file; must be"):
            load(path)


class Malice:
    """Unpickling this runs it."""

    def __init__(self, footprint: Path) -> None:
        self.footprint = footprint

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.footprint),)


def test_foreign_code_is_never_run(tmp_path: Path) -> None:
    footprint, path = tmp_path / "it-ran", tmp_path / "run.safetensors"
    refused(path, pickle.dumps(Malice(footprint)))
    torch.save({"weights": Malice(footprint)}, path)
    with pytest.raises(CorruptCheckpointError):
        load(path)
    assert not footprint.exists()
    trap = path.rename(tmp_path / "run.pt")
    torch.load(trap, weights_only=False)  # it was real
    assert footprint.exists()


def test_nothing_in_the_package_can_unpickle() -> None:
    forbidden = {"pickle", "cPickle", "dill", "marshal", "shelve", "cloudpickle"}
    calls = {"torch.load", "torch.save", "np.load", "joblib.load", "torch.jit.load"}
    for path in Path(rlcourse.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names}
                names.add(str(getattr(node, "module", "")).split(".")[0])
                assert not names & forbidden, path
            elif isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in calls, path


# --- the wrong checkpoint -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env_id": "Acrobot-v1"}, r"env_id = 'Acrobot-v1': the checkpoint has 'CartPole-v1'"),
        ({"env_options": {"max_episode_steps": 9}}, r"env_options = \{'max_episode_steps': 9\}: .*\{\}"),
        ({"gamma": 0.5}, r"gamma = 0\.5: the checkpoint has 0\.9"),
        ({"hidden": (16,)}, r"hidden = \[16\]: the checkpoint has \[8\]"),
        ({"steps": 800}, r"steps = 800: the checkpoint has 640"),
        ({"prioritized": False}, r"prioritized = False: the checkpoint has True"),
    ],
)  # fmt: skip
def test_other_settings(options: dict[str, Any], message: str, kept: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        dqn.train(config_of(dqn, **{"replay_size": 64, **options}), 7, resume=load(kept))


def test_another_seed_and_another_algorithm(kept: Path, tmp_path: Path) -> None:
    found = load(kept)
    with pytest.raises(InvalidArgumentError, match=r"seed = 8: the checkpoint has 7"):
        dqn.train(config_of(dqn, replay_size=64), 8, resume=found)
    with pytest.raises(InvalidArgumentError, match=r"algorithm = 'rainbow'.*'dqn'"):
        rainbow.train(config_of(rainbow, replay_size=64), 7, resume=found)
    with pytest.raises(
        InvalidArgumentError, match=r"algorithm = 'dqn' made the checkpoint.*'rainbow'"
    ):
        rainbow.load_policy(found)
    other = load(journey(rainbow, tmp_path, steps=160)[1][0])
    with pytest.raises(
        InvalidArgumentError, match=r"algorithm = 'dqn': the checkpoint has 'rainbow'"
    ):
        dqn.train(config_of(dqn, steps=160), 7, resume=other)
    with pytest.raises(InvalidArgumentError, match=r"algorithm = 'rainbow' made the checkpoint"):
        dqn.load_policy(other)


def test_an_environment_that_is_not_here(kept: Path) -> None:
    found = load(kept)
    gone = replace(found, config={**found.config, "env_id": "CartPole-v7"})
    with pytest.raises(UnknownEnvironmentError, match=r"env_id = 'CartPole-v7'"):
        dqn.load_policy(gone)


class Shifting(gym.Env[Any, Any]):
    """An environment that a new version gave another observation."""

    size = 3
    action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (Shifting.size,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return np.zeros(Shifting.size, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        return np.zeros(Shifting.size, np.float32), 1.0, True, False, {}


gym.register("tests/Shifting-v0", Shifting)


def test_an_environment_that_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    config = config_of(dqn, env_id="tests/Shifting-v0", steps=160)
    dqn.train(config, 7, on_checkpoint=lambda run: save(path, run))
    monkeypatch.setattr(Shifting, "size", 5)
    for call in (
        lambda: dqn.train(config, 7, resume=load(path)),
        lambda: dqn.load_policy(load(path)),
    ):
        with pytest.raises(CorruptCheckpointError, match=r"does not fit this run: .*network|size"):
            call()


def without(found: Checkpoint, kind: str, name: str) -> Checkpoint:
    part = {k: v for k, v in getattr(found, kind).items() if k != name}
    assert len(part) == len(getattr(found, kind)) - 1
    return replace(found, **{kind: part})


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: without(found, "arrays", weight_in(found.arrays)),
        lambda found: without(found, "arrays", "replay.reward"),
        lambda found: without(found, "facts", "updates"),
        lambda found: without(found, "facts", "exploration"),
        lambda found: without(found, "facts", "episodes.steps"),
        lambda found: replace(found, arrays={**found.arrays, "replay.obs": np.zeros((64, 4))}),
        lambda found: replace(found, arrays={**found.arrays, "replay.reward": np.zeros(8, "f4")}),
        lambda found: replace(found, facts={**found.facts, "exploration": {"state": 3}}),
    ],
)
def test_parts_that_are_missing_or_do_not_fit(
    damage: Callable[[Checkpoint], Checkpoint], kept: Path
) -> None:
    with pytest.raises(CorruptCheckpointError, match=r"the checkpoint does not fit this run"):
        dqn.train(config_of(dqn, replay_size=64), 7, resume=damage(load(kept)))


def test_settings_that_no_version_knows(kept: Path) -> None:
    found = load(kept)
    for config in ({**found.config, "colour": "red"}, {**found.config, "gamma": 7.0}):
        with pytest.raises(CorruptCheckpointError, match=r"settings do not fit: .*(colour|gamma)"):
            dqn.load_policy(replace(found, config=config))
