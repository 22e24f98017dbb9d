"""Checkpoints: all of a run in one file, from which it goes on exactly as if it had never stopped.

The file is in the safetensors format: weights, the optimiser's moments and the replay memory as plain
arrays, and one JSON text with the settings, the counters, the log and the state of every random generator.
Nothing in it can be executed, so a checkpoint from a stranger is data and no more. It is written beside its
name and then renamed: whoever looks sees the old file or the new one, never half of either.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from rlcourse.errors import CorruptCheckpointError, InvalidArgumentError
from rlcourse.files import replace_file

__all__ = ["Checkpoint", "load", "read_config", "restore", "save"]

FORMAT = 1
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: of which algorithm, with which settings, and the state to go on from."""

    algorithm: str
    config: dict[str, Any]
    seed: int
    facts: dict[str, Any]  # numbers, logs and the states of random generators
    arrays: Arrays
    versions: dict[str, str]


def save(path: Path, run: Any, *, replay: bool = True) -> None:
    """Write a checkpoint of a run, all or nothing.

    Args:
        path: the file; its folder must exist.
        run: an object with ``algorithm``, ``config``, ``seed`` and the names of what to keep in ``kept``.
        replay: keep the memory too. Without it the file is small, and a resumed run fills a new one.

    Raises:
        InvalidArgumentError: settings that are no plain values.
        CourseError: the file cannot be written; an older one of this name is untouched.
    """
    arrays: Arrays = {}
    facts: dict[str, Any] = {}
    for name in run.kept:
        if replay or name != "replay":
            _collect(name, getattr(run, name), arrays, facts)
    about = {
        "format": FORMAT,
        "algorithm": run.algorithm,
        "config": dataclasses.asdict(run.config),
        "seed": run.seed,
        "facts": facts,
        "versions": {
            lib: importlib.metadata.version(lib) for lib in ("torch", "numpy", "gymnasium")
        },
    }
    try:
        about["sha256"] = _digest(about, arrays)
    except TypeError as error:
        raise InvalidArgumentError(
            f"config = {run.config}: {error}; its values must be plain numbers, texts, lists or tables"
        ) from error
    with replace_file(path) as file:
        file.write(to_bytes(arrays, {"rlcourse": json.dumps(about)}))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InvalidArgumentError: there is no such file.
        CorruptCheckpointError: it is damaged, cut short, or no checkpoint of this package.
    """
    if not path.is_file():
        raise InvalidArgumentError(f"path = {path}: no such file; must be a checkpoint")
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["rlcourse"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}, this version reads {FORMAT}")
        if about.pop("sha256") != _digest(about, arrays):
            raise ValueError("it has changed since it was written")
        return Checkpoint(
            algorithm=about["algorithm"],
            config=dict(about["config"]),
            seed=about["seed"],
            facts=dict(about["facts"]),
            arrays=arrays,
            versions=dict(about["versions"]),
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptCheckpointError(f"path = {path}: no whole checkpoint ({error})") from error


def read_config(kind: type[Any], kept: Checkpoint, algorithm: str) -> Any:
    """A checkpoint's settings as an algorithm's ``Config``.

    Raises:
        InvalidArgumentError: the checkpoint is of another algorithm.
        CorruptCheckpointError: its settings do not fit.
    """
    if kept.algorithm != algorithm:
        raise InvalidArgumentError(
            f"algorithm = {kept.algorithm!r} made the checkpoint: must be {algorithm!r}"
        )
    try:
        return kind(**kept.config)
    except (TypeError, ValueError) as error:
        raise CorruptCheckpointError(f"the checkpoint's settings do not fit: {error}") from error


def restore(run: Any, kept: Checkpoint, only: tuple[str, ...] | None = None) -> None:
    """Put a run into the state of a checkpoint.

    A memory that was not kept stays empty.

    Raises:
        InvalidArgumentError: the checkpoint is of another algorithm, seed or settings.
        CorruptCheckpointError: something is missing or has another shape.
    """
    here = json.loads(json.dumps(dataclasses.asdict(run.config)))
    ours = {"algorithm": run.algorithm, "seed": run.seed, **here}
    theirs = {"algorithm": kept.algorithm, "seed": kept.seed, **kept.config}
    for name in ours:
        if ours[name] != theirs.get(name):
            raise InvalidArgumentError(
                f"{name} = {ours[name]!r}: the checkpoint has {theirs.get(name)!r}; a run goes on with the "
                "settings that it began with"
            )
    has_replay = any(name.startswith("replay.") for name in kept.arrays)
    try:
        for name in only or run.kept:
            if has_replay or name != "replay":
                setattr(run, name, _put_back(name, getattr(run, name), kept))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptCheckpointError(f"the checkpoint does not fit this run: {error}") from error


def _collect(name: str, value: Any, arrays: Arrays, facts: dict[str, Any]) -> None:
    """Sort one part of a run into arrays and facts."""
    if isinstance(value, torch.nn.Module):
        for key, tensor in value.state_dict().items():
            arrays[f"{name}.{key}"] = tensor.detach().cpu().numpy().copy()
    elif isinstance(value, torch.optim.Optimizer):
        for index, slots in value.state_dict()["state"].items():
            for key, tensor in slots.items():
                arrays[f"{name}.{index}.{key}"] = torch.as_tensor(tensor).cpu().numpy().copy()
    elif isinstance(value, torch.Generator):
        arrays[name] = value.get_state().numpy()
    elif isinstance(value, np.random.Generator):
        facts[name] = value.bit_generator.state
    elif isinstance(value, np.ndarray):
        arrays[name] = value
    elif hasattr(value, "kept"):
        for part in value.kept:
            _collect(f"{name}.{part}", getattr(value, part), arrays, facts)
    else:
        facts[name] = value


def _put_back(name: str, value: Any, kept: Checkpoint) -> Any:
    """The inverse: ``value`` in the state of the checkpoint."""
    prefix = f"{name}."
    parts = {
        key.removeprefix(prefix): a for key, a in kept.arrays.items() if key.startswith(prefix)
    }
    if isinstance(value, torch.nn.Module):
        value.load_state_dict({key: torch.from_numpy(array) for key, array in parts.items()})
    elif isinstance(value, torch.optim.Optimizer):
        state = value.state_dict()
        for key, array in parts.items():
            index, slot = key.split(".")
            state["state"].setdefault(int(index), {})[slot] = torch.tensor(array)  # a copy
        value.load_state_dict(state)
    elif isinstance(value, torch.Generator):
        value.set_state(torch.from_numpy(kept.arrays[name]))
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = kept.facts[name]
    elif isinstance(value, np.ndarray):
        if value.shape != kept.arrays[name].shape or value.dtype != kept.arrays[name].dtype:
            raise ValueError(f"{name} of shape {kept.arrays[name].shape}: must be {value.shape}")
        value[...] = kept.arrays[name]
    elif hasattr(value, "kept"):
        for part in value.kept:
            setattr(value, part, _put_back(prefix + part, getattr(value, part), kept))
        if hasattr(value, "restart"):
            value.restart()
    else:
        return deepcopy(kept.facts[name])
    return value


def _digest(about: dict[str, Any], arrays: Arrays) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
