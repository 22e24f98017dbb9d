"""The command line: ``rlcourse train | evaluate | watch``, and ``evidence``, ``playground`` and the projects."""

from __future__ import annotations

import difflib
import importlib
import itertools
import json
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm.auto import tqdm

from rlcourse.algorithms import tabular
from rlcourse.atari import commands as atari
from rlcourse.envs.vector import make
from rlcourse.errors import (
    CourseError,
    DivergenceError,
    InvalidArgumentError,
    NoModelError,
    require,
)
from rlcourse.evaluation import Policy, exact_return, play, tabular_policy
from rlcourse.evidence import Row, check, contracts, load, run
from rlcourse.files import replace_file
from rlcourse.grading import commands as lab
from rlcourse.mdp import from_env
from rlcourse.playground.policies import DEEP, from_checkpoint, require_same_spaces
from rlcourse.recommender import commands as recommender
from rlcourse.statistics import bootstrap_interval, iqm

__all__ = ["main"]


def train(algorithm: tyro.conf.Positional[str], /) -> None:
    """Train an agent: ``rlcourse train ALGORITHM --help`` tells its settings.

    Args:
        algorithm: q_learning, sarsa, expected_sarsa, double_q_learning, n_step_sarsa, dqn, rainbow,
            reinforce, a2c, a3c, ppo or sac.
    """
    _train(algorithm, [])  # main() has taken every call with settings


def _train(algorithm: str, arguments: list[str]) -> None:
    """The command of one algorithm, with its own settings; torch is loaded only for one that needs it."""
    names = (*tabular.ALGORITHMS, *DEEP)
    if algorithm not in names:
        near = difflib.get_close_matches(algorithm, names, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InvalidArgumentError(
            f"algorithm = {algorithm!r}: must be one of {', '.join(names)}{hint}"
        )
    command: Callable[..., None] = partial(_train_tabular, algorithm)
    if algorithm in DEEP:
        require("deep", "torch", "safetensors")
        command = _deep_command(algorithm, _settings(algorithm, arguments))
    tyro.cli(command, prog=f"rlcourse train {algorithm}", args=arguments)


def _train_tabular(
    algorithm: str,
    config: Annotated[tabular.Config, tyro.conf.arg(name="")] = tabular.Config(),  # noqa: B008
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Train a table, say how good its greedy policy is, and keep it if asked to.

    Args:
        algorithm: which one.
        config: its settings.
        seed: the run's seed.
        out: a JSON file for the settings, the table and the policy.
    """
    if out is not None and not out.parent.is_dir():
        raise InvalidArgumentError(f"out = {out}: its folder does not exist")
    env = make(config.env_id, **config.env_options)  # before the bar: a wrong name shows none
    with tqdm(total=config.steps, unit="step", desc=algorithm) as bar:

        def on_progress(steps: int, row: dict[str, float], table: object) -> None:
            bar.update(steps - bar.n)
            bar.set_postfix({"return": f"{row['return']:.1f}"}, refresh=False)

        result = tabular.ALGORITHMS[algorithm](config, seed, on_progress=on_progress)
        bar.update(config.steps - bar.n)
    limit = env.spec.max_episode_steps if env.spec else None
    try:
        score = exact_return(from_env(env), result.policy, horizon=limit)
        print(
            f"greedy policy: expected return {score:.4f} within {limit} steps (exact, from the model)"
        )
    except NoModelError:
        policy = tabular_policy(result.policy)
        _tell(play(policy, config.env_id, seed=seed, **dict(config.env_options)))
    if out is not None:
        kept = {"algorithm": algorithm, "config": asdict(config), "seed": seed}
        arrays = {"policy": result.policy.tolist(), "q": result.q.tolist()}
        with replace_file(out) as file:
            file.write(json.dumps({**kept, **arrays}).encode())
        print(f"kept in {out}")


def _deep_command(algorithm: str, settings: Any) -> Callable[..., None]:
    """The command of an algorithm on networks, whose settings are the given ones unless told otherwise."""

    def command(
        config: Any = settings,
        seed: int = 0,
        device: str = "cpu",
        out: Path | None = None,
        memory: bool = True,
        resume: Path | None = None,
    ) -> None:
        _train_deep(algorithm, config, seed, device, out, memory, resume)

    command.__doc__ = _train_deep.__doc__
    command.__annotations__.update(
        config=Annotated[type(settings), tyro.conf.arg(name="")],
        **{"seed": int, "device": str, "memory": bool, "out": Path | None, "resume": Path | None},
    )
    return command


def _train_deep(
    algorithm: str,
    config: Any,
    seed: int,
    device: str,
    out: Path | None,
    memory: bool,
    resume: Path | None,
) -> None:
    """Train a network, keep it as a checkpoint on the way, and say how good its greedy policy is.

    The settings begin as those of the book's contract for this environment, if it has one. Ctrl-C stops; the
    last checkpoint stays, and --resume goes on from it exactly.

    Args:
        config: its settings.
        seed: the run's seed.
        device: cpu or cuda.
        out: the checkpoint; by default ALGORITHM-ENVIRONMENT-SEED.safetensors in this folder.
        memory: keep the replay memory in the checkpoint: larger, and resumed exactly.
        resume: a checkpoint to go on from, with its settings and its seed; it is written to again.
    """
    from rlcourse import checkpoint, networks

    module = importlib.import_module(f"rlcourse.algorithms.{algorithm}")
    networks.check_device(device)
    kept = None
    if resume is not None:
        kept = checkpoint.load(resume)
        seed, out = kept.seed, out or resume
    name = f"{algorithm}-{config.env_id.replace('/', '-')}-{seed}.safetensors"
    path = out or Path(name)
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"out = {path}: its folder does not exist")
    if path.exists() and resume is None:
        raise InvalidArgumentError(
            f"out = {path}: exists; go on with it (--resume {path}), name another file (--out) or delete it"
        )
    make(config.env_id, **config.env_options).close()  # before the bar: a wrong name shows none
    latest: list[Any] = []
    start = time.perf_counter()
    with tqdm(total=config.steps, unit="step", desc=f"{algorithm} {config.env_id}") as bar:

        def on_progress(steps: int, row: dict[str, float], learner: Any) -> None:
            latest[:] = [learner]
            bar.update(steps - bar.n)
            recent = [row["return"] for row in learner.episodes.log[-20:]]
            told = {"return of the last 20": f"{np.mean(recent):.1f}"}
            if "loss" in row:
                told["loss"] = f"{row['loss']:.3g}"
            bar.set_postfix(told, refresh=False)

        def on_checkpoint(learner: Any) -> None:
            checkpoint.save(path, learner, replay=memory)

        try:
            result = module.train(
                config,
                seed,
                device=device,
                on_progress=on_progress,
                on_checkpoint=on_checkpoint,
                resume=kept,
            )
        except DivergenceError as error:
            stopped = path.with_suffix(".diverged.safetensors")
            if latest:
                checkpoint.save(stopped, latest[0], replay=memory)
                raise DivergenceError(f"{error} The weights before it are in {stopped}.") from None
            raise
        except KeyboardInterrupt:
            bar.close()
            if path.exists():
                print(f"\nstopped; go on with: rlcourse train {algorithm} --resume {path}")
            raise
        bar.update(config.steps - bar.n)
    print(f"{config.steps:,} steps in {time.perf_counter() - start:.0f} s")
    _tell(_judge(result.policy, config.env_id, dict(config.env_options), 100, seed))
    print(f"kept in {path}\nnext: rlcourse evaluate {path}   rlcourse watch {path} --out film.gif")


def evaluate(
    file: tyro.conf.Positional[Path],
    episodes: int = 100,
    seed: int = 0,
    env: str | None = None,
) -> None:
    """Play whole episodes with a checkpoint's frozen greedy policy and say how it did.

    Args:
        file: the checkpoint.
        episodes: how many.
        seed: of the environments.
        env: another environment, with the same observations and actions than the one it was trained on.
    """
    policy, env_id, options = _policy(file, env)
    _tell(_judge(policy, env_id, options, episodes, seed))


def watch(
    file: tyro.conf.Positional[Path],
    out: Path | None = None,
    episodes: int = 1,
    seed: int = 0,
    env: str | None = None,
) -> None:
    """Watch a checkpoint's policy in a window, or record it.

    Args:
        file: the checkpoint.
        out: a .gif or .mp4 to record into instead of a window.
        episodes: how many.
        seed: of the environment.
        env: another environment, with the same observations and actions than the one it was trained on.
    """
    from rlcourse.film import play_in_window, record, require_screen

    policy, env_id, options = _policy(file, env)
    if out is None:
        require_screen()
        returns = play_in_window(policy, env_id, episodes=episodes, seed=seed, **options)
    else:
        returns = record(policy, env_id, out, episodes=episodes, seed=seed, **options)
        print(f"{out}: {out.stat().st_size / 1e3:,.0f} kB")
    print("returns:", ", ".join(f"{value:g}" for value in returns))


def _policy(file: Path, env_id: str | None) -> tuple[Policy, str, dict[str, Any]]:
    """A checkpoint's policy, its environment and that one's options."""
    require("deep", "torch", "safetensors")
    policy, trained_on, options = from_checkpoint(file)
    if env_id is None or env_id == trained_on:
        return policy, trained_on, options
    require_same_spaces(make(env_id), make(trained_on, **options), f"the policy of {file}")
    return policy, env_id, {}


def _judge(policy: Policy, env_id: str, options: dict[str, Any], episodes: int, seed: int) -> Any:
    width = next(n for n in (20, 10, 5, 4, 2, 1) if episodes % n == 0)
    return play(
        policy, env_id, episodes=episodes, num_envs=width, seed=seed, progress=True, **options
    )


def _tell(returns: Any) -> None:
    mean = bootstrap_interval(returns, lambda scores: float(np.mean(scores)))
    print(
        f"greedy policy: mean return {mean.value:.4g} over {len(returns)} episodes, 95 % interval "
        f"[{mean.low:.4g}, {mean.high:.4g}]; interquartile mean {iqm(returns):.4g}, worst "
        f"{returns.min():.4g}, best {returns.max():.4g}"
    )


def _settings(algorithm: str, arguments: list[str]) -> Any:
    """The settings that a command's own begin as: a checkpoint's, a contract's, or the defaults."""
    from rlcourse import checkpoint

    module = importlib.import_module(f"rlcourse.algorithms.{algorithm}")
    given = dict(itertools.pairwise(arguments))
    if "--resume" in given:
        kept = checkpoint.load(Path(given["--resume"]))
        if kept.algorithm != algorithm:
            raise InvalidArgumentError(
                f"resume = {given['--resume']}: a run of {kept.algorithm!r}; "
                f"say rlcourse train {kept.algorithm}"
            )
        return checkpoint.read_config(module.Config, kept, algorithm)
    env_id = given.get("--env-id", module.Config().env_id)
    for contract in contracts().values():
        learner = contract.measure.removeprefix("policies.").removesuffix("_return")
        if contract.measure == "deep.played_return":
            learner = contract.options.get("algorithm", "dqn")
        if (learner, contract.config.get("env_id")) == (algorithm, env_id):
            return module.Config(**contract.config)
    return replace(module.Config(), env_id=env_id)


def evidence_run(
    ids: tyro.conf.Positional[tuple[str, ...]] = (),
    all: bool = False,
    jobs: int = 1,
    cluster: str | None = None,
) -> None:
    """Measure contracts and store the results; an interrupted run goes on where it stopped.

    Args:
        ids: the contracts.
        all: every contract that is missing, stale or failed.
        jobs: seeds measured side by side.
        cluster: a Ray cluster's address to spread the seeds over, or local for one on this machine.
    """
    if not ids and not all:
        raise InvalidArgumentError("ids: name at least one contract, or say --all")
    for name in ids:
        if name not in contracts():
            near = difflib.get_close_matches(name, contracts(), n=3) or contracts()
            raise InvalidArgumentError(f"ids = {name!r}: must be among {', '.join(near)}")
    wanted = ids or tuple(row.contract.id for row in check() if row.state != "met")
    for name in wanted:
        _print_row(run(name, jobs=jobs, cluster=cluster))


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


def playground_run(
    env: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    policy: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    episodes: int = 20,
    seed: int = 0,
    out: Path = Path("results.json"),
) -> None:
    """Play several policies in several environments, on the same seeds; the same call writes the same file.

    The exit code is 1 if something could not be played; the rest is. Ctrl-C keeps the finished episodes.

    Args:
        env: an environment's id, or module:Class of your own; once for each.
        policy: random, heuristic, a checkpoint's file, or module:function of your own, which answers
            observations [N, ...] with N actions; once for each.
        episodes: whole episodes of each pair.
        seed: from which the seeds of the episodes come; every policy meets the same.
        out: the file of results.
    """
    from rlcourse.playground.results import Episode, table, write
    from rlcourse.playground.run import run

    for name, given in (("env", env), ("policy", policy)):
        if not given:
            raise InvalidArgumentError(f"{name}: name at least one, with --{name}")
    if not out.parent.is_dir():
        raise InvalidArgumentError(f"out = {out}: its folder does not exist")
    steps: dict[tuple[str, str], int] = defaultdict(int)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    total = len(env) * len(policy) * episodes
    with tqdm(total=total, unit="episode", delay=0.1) as bar:  # a wrong name shows none

        def on_episode(world: str, who: str, episode: Episode, took: float) -> None:
            steps[world, who] += episode.length
            seconds[world, who] += took
            bar.set_description(f"{world} {who}", refresh=False)
            bar.update()

        results = run(env, policy, episodes=episodes, seed=seed, on_episode=on_episode)
    write(results, out)
    if results.pairs:
        speed = {pair: steps[pair] / seconds[pair] for pair in steps}
        print(table(results, speed))
    for problem in results.problems:
        who = f" {problem.policy}" if problem.policy else ""
        print(f"not played: {problem.environment}{who}: {problem.message}", file=sys.stderr)
    print(f"kept in {out}\nnext: rlcourse playground dashboard {out}")
    if not results.complete:
        raise KeyboardInterrupt
    if results.problems:
        sys.exit(1)


def playground_dashboard(
    files: tyro.conf.Positional[tuple[Path, ...]], out: Path = Path("dashboard.html")
) -> None:
    """Show files of results as one interactive page that needs no network.

    Args:
        files: what rlcourse playground run has written; several are compared.
        out: the page.
    """
    from rlcourse.playground.dashboard import write_dashboard

    write_dashboard(files, out)
    print(f"{out}: {out.stat().st_size / 1e3:,.0f} kB; open it in a browser")


def main() -> None:
    """Entry point: prints what a user can mend as one line and leaves with code 2."""
    arguments = sys.argv[1:]
    evidence = tyro.extras.SubcommandApp()
    evidence.command(name="run")(evidence_run)
    evidence.command(name="check")(evidence_check)
    evidence.command(name="show")(evidence_show)
    app = tyro.extras.SubcommandApp()
    for command in (train, evaluate, watch):
        app.command(command)
    app.command(evidence, name="evidence")
    playground = tyro.extras.SubcommandApp()
    playground.command(name="run")(playground_run)
    playground.command(name="dashboard")(playground_dashboard)
    app.command(playground, name="playground")
    app.command(atari.app(), name="atari")
    app.command(recommender.app(), name="recommender")
    app.command(lab.app(), name="lab")
    try:
        if arguments[:1] == ["train"] and arguments[1:] and not arguments[1].startswith("-"):
            settings = [re.sub("^--env(?==|$)", "--env-id", given) for given in arguments[2:]]
            settings = [part for given in settings for part in given.split("=", 1)]
            _train(arguments[1], settings)
        else:
            app.cli(
                prog="rlcourse",
                description="Train agents, watch them, and check what the book claims.",
                args=arguments,
            )
    except CourseError as error:
        print(f"rlcourse: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nrlcourse: stopped; what was finished is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os._exit(0)
