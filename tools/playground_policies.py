"""Train the policies that the playgrounds of the book show, and write them where a browser finds them.

    python tools/playground_policies.py [cartpole] [mountaincar]

Each is a run of `rlcourse.algorithms.dqn` with the settings of a contract; the car's network is half as wide, and
drives as well. Two checkpoints of a run are kept: an early one, and the last. A file holds one call with
JSON in it, because a page that is opened from the disk may not fetch a file: settings, seed and versions first,
then the weights of each layer, as float32, little-endian, base64, the matrix ``[out, in]`` before the bias.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlcourse import checkpoint, evidence
from rlcourse.algorithms import dqn
from rlcourse.evaluation import play
from rlcourse.files import replace_file

FOLDER = Path(__file__).resolve().parents[1] / "book/_static/playgrounds/policies"
EPISODES = 100  # of the return that a file states
# File: the contract, what differs from its settings, the seed, the steps after which the early one is kept.
RUNS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "cartpole": ("dqn-cartpole", {}, 2, 2_000),
    "mountaincar": ("dqn-mountaincar", {"hidden": (64, 64)}, 0, 20_000),
}


def exported(kept: checkpoint.Checkpoint) -> dict[str, Any]:
    """The layers of a checkpoint's network as plain values, with the return of its greedy policy."""
    names = sorted(
        (name.removesuffix(".weight") for name in kept.arrays if name.endswith(".weight")),
        key=lambda name: [int(part) for part in name.split(".") if part.isdigit()],
    )
    names = [name for name in names if name.startswith("network.")]
    layers = [(kept.arrays[f"{name}.weight"], kept.arrays[f"{name}.bias"]) for name in names]
    flat = np.concatenate([part.ravel() for layer in layers for part in layer])
    returns = play(
        dqn.load_policy(kept), kept.config["env_id"], episodes=EPISODES, seed=kept.seed, num_envs=10
    )
    return {
        "steps": kept.facts["episodes.steps"],
        "return": {"mean": round(float(returns.mean()), 2), "episodes": EPISODES},
        "layers": [list(weight.shape) for weight, _ in layers],
        "weights": base64.b64encode(flat.astype("<f4").tobytes()).decode(),
    }


def trained(contract: str, changes: dict[str, Any], seed: int, early: int) -> dict[str, Any]:
    """Two checkpoints of one run, and what made them."""
    settings = evidence.contracts()[contract].config
    config = dqn.Config(**{**settings, **changes})
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.safetensors" for name in ("early", "trained")}

        def watch(steps: int, row: Mapping[str, float], run: dqn.Run) -> None:
            if steps >= early and not files["early"].exists():
                checkpoint.save(files["early"], run, replay=False)

        def keep(run: dqn.Run) -> None:
            checkpoint.save(files["trained"], run, replay=False)

        dqn.train(config, seed, on_progress=watch, on_checkpoint=keep)
        kept = {name: checkpoint.load(path) for name, path in files.items()}
    last = kept["trained"]
    return {
        "environment": config.env_id,
        "algorithm": last.algorithm,
        "contract": contract,
        "seed": seed,
        "config": last.config,
        "versions": last.versions,
        "policies": {name: exported(each) for name, each in kept.items()},
    }


def main(names: list[str]) -> None:
    """Train and write those that are named; all of them by default."""
    for name in names or RUNS:
        about = trained(*RUNS[name])
        with replace_file(FOLDER / f"{name}.js") as file:
            file.write(f"rlcourse.policies({json.dumps(about)});\n".encode())
        for each, policy in about["policies"].items():
            print(f"{name}, {each}: {policy['steps']:,} steps, return {policy['return']['mean']}")


if __name__ == "__main__":
    main(sys.argv[1:])
