"""The command line: ``rlcourse train | evidence run | evidence check | evidence show``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from tqdm.auto import tqdm

from rlcourse.algorithms import tabular
from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, InvalidArgumentError, NoModelError
from rlcourse.evaluation import exact_return, play, tabular_policy
from rlcourse.evidence import Row, check, contracts, load, run, write_atomically
from rlcourse.mdp import from_env
from rlcourse.statistics import bootstrap_interval

__all__ = ["main"]


def train(
    algorithm: Literal[
        "q_learning", "sarsa", "expected_sarsa", "double_q_learning", "n_step_sarsa"
    ],
    /,
    config: Annotated[tabular.Config, tyro.conf.arg(name="")] = tabular.Config(),  # noqa: B008
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Train a tabular agent, say how good its greedy policy is, and keep it if asked to.

    Args:
        algorithm: which one.
        config: its settings.
        seed: the run's seed.
        out: a JSON file for the settings, the table and the policy.
    """
    if out is not None and not out.parent.is_dir():
        raise InvalidArgumentError(f"out = {out}: its folder does not exist")
    with tqdm(total=config.steps, unit="step", desc=algorithm) as bar:

        def on_progress(steps: int, row: dict[str, float], table: object) -> None:
            bar.update(steps - bar.n)
            bar.set_postfix({"return": f"{row['return']:.1f}"}, refresh=False)

        result = tabular.ALGORITHMS[algorithm](config, seed, on_progress=on_progress)
        bar.update(config.steps - bar.n)
    env = make(config.env_id, **config.env_options)
    limit = env.spec.max_episode_steps if env.spec else None
    try:
        score = exact_return(from_env(env), result.policy, horizon=limit)
        print(
            f"greedy policy: expected return {score:.4f} within {limit} steps (exact, from the model)"
        )
    except NoModelError:
        policy = tabular_policy(result.policy)
        returns = play(policy, config.env_id, seed=seed, **dict(config.env_options))
        mean = bootstrap_interval(returns, lambda scores: float(np.mean(scores)))
        print(
            f"greedy policy: mean return {mean.value:.4f} over {len(returns)} episodes, "
            f"95 % interval [{mean.low:.4f}, {mean.high:.4f}]"
        )
    if out is not None:
        kept = {"algorithm": algorithm, "config": asdict(config), "seed": seed}
        arrays = {"policy": result.policy.tolist(), "q": result.q.tolist()}
        write_atomically(out, json.dumps({**kept, **arrays}))
        print(f"kept in {out}")


def evidence_run(
    ids: tyro.conf.Positional[tuple[str, ...]] = (), all: bool = False, jobs: int = 1
) -> None:
    """Measure contracts and store the results; an interrupted run goes on where it stopped.

    Args:
        ids: the contracts.
        all: every contract that is missing, stale or failed.
        jobs: seeds measured side by side.
    """
    if not ids and not all:
        raise InvalidArgumentError("ids: name at least one contract, or say --all")
    for name in ids:
        if name not in contracts():
            raise InvalidArgumentError(f"ids = {name!r}: must be among {', '.join(contracts())}")
    wanted = ids or tuple(row.contract.id for row in check() if row.state != "met")
    for name in wanted:
        _print_row(run(name, jobs=jobs))


def evidence_check() -> None:
    """Say which contracts are met, failed, missing or stale; the exit code is 1 unless all are met."""
    rows = check()
    for row in rows:
        _print_row(row)
    unmet = [row for row in rows if row.state != "met"]
    print(f"{len(rows) - len(unmet)} of {len(rows)} contracts met")
    if unmet:
        sys.exit(1)


def evidence_show(name: tyro.conf.Positional[str]) -> None:
    """Print one contract and its result.

    Args:
        name: the contract's id.
    """
    result = load(name)
    contract = contracts()[name]
    for key, value in asdict(contract).items():
        print(f"{key:>12}  {value}")
    print()
    for key, value in result.items():
        if key not in ("curves", "x", "id"):
            print(f"{key:>12}  {value}")


def _print_row(row: Row) -> None:
    contract = row.contract
    got = ""
    if row.result:
        low, high = row.result["interval"]
        got = f"{row.result['statistic']:.4g} [{low:.4g}, {high:.4g}] over {len(row.result['scores'])}"
    print(
        f"{row.state:8} {contract.id:28} {contract.statistic} {contract.comparison} "
        f"{contract.threshold}  {got}"
    )


def main() -> None:
    """Entry point: prints what a user can mend as one line and leaves with code 2."""
    evidence = tyro.extras.SubcommandApp()
    evidence.command(name="run")(evidence_run)
    evidence.command(name="check")(evidence_check)
    evidence.command(name="show")(evidence_show)
    app = tyro.extras.SubcommandApp()
    app.command(train)
    app.command(evidence, name="evidence")
    try:
        app.cli(prog="rlcourse", description="Train agents and check what the book claims.")
    except CourseError as error:
        print(f"rlcourse: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nrlcourse: stopped; what was finished is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os._exit(0)
