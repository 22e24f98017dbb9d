"""``rlcourse atari train | evaluate | watch | report``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm.auto import tqdm

from rlcourse.atari.environment import Game, rom
from rlcourse.atari.evaluation import PROTOCOLS, Result, judge, reference
from rlcourse.errors import InvalidArgumentError, check_positive, require
from rlcourse.evaluation import Policy
from rlcourse.files import replace_file
from rlcourse.statistics import bootstrap_interval

__all__ = ["app"]


def train(
    game: str | None = None,
    algorithm: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    sticky: float | None = None,
    network: str | None = None,
    seed: int | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    checkpoint_minutes: float = 2.0,
    memory: bool = True,
    device: str = "cpu",
    threads: int = 0,
    tensorboard: Path | None = None,
) -> None:
    """Train on a game until its steps or the minutes are at an end, or Ctrl-C; --resume goes on.

    A checkpoint is written every few minutes, so that not even a crash loses more.

    Args:
        game: pong (if nothing is said), breakout, MsPacman, ALE/Seaquest-v5 or another of 104.
        algorithm: ppo (if nothing is said), or dqn, which takes about three times as long for a step.
        minutes: how long at most, this time.
        steps: agent steps, over which the step size falls to zero; by default the algorithm's own.
        sticky: chance a frame that the machine repeats the action before, 0.25 if nothing is said. A player
            trained without does not survive it.
        network: small (if nothing is said) for pictures of 42 x 42 pixels; mnih2013 or nature for 84 x 84.
        seed: the run's seed, 0 if nothing is said.
        out: a new folder for the run; by default ALGORITHM-GAME-SEED.
        resume: the folder of a run to go on with, with its settings and its seed.
        checkpoint_minutes: between two checkpoints.
        memory: keep DQN's replay in them: larger, and it need not be filled anew.
        device: cpu or cuda.
        threads: that step the games; 0 takes one a processor.
        tensorboard: a folder where TensorBoard finds each game's score and length.
    """
    require("deep,atari", "torch", "safetensors")
    if tensorboard is not None:
        require("tensorboard", "tensorboard")
    from rlcourse.atari import train as driver
    from rlcourse.atari.replay import memory as needed
    from rlcourse.networks import check_device

    check_device(device)
    begun: dict[str, Any] = {}
    if resume is not None:
        options = ["game", "algorithm", "steps", "sticky", "network", "seed", "out"]
        values = game, algorithm, steps, sticky, network, seed, out
        for option, given in zip(options, values, strict=True):
            if given is not None:
                raise InvalidArgumentError(
                    f"{option} = {given}: a resumed run keeps its folder and its settings; leave it out"
                )
        config, kept = driver.begun(resume)
        folder, seed, begun = resume, kept.seed, kept.facts
        del kept  # with its replay
    else:
        algorithm, seed = algorithm or "ppo", seed or 0
        config = _settings(algorithm, game or "pong", network or "small", sticky, steps)
        folder = out or Path(f"{algorithm}-{config.game.name}-{seed}")
    name = config.game.name
    if hasattr(config, "replay_size"):
        size = needed(config.replay_size, config.game.shape, config.num_envs)
        print(f"replay of {config.replay_size:,} transitions: {size / 1e9:.2f} GB of memory")
    with (
        tqdm(total=config.steps, unit="step", desc=name, delay=0.1) as bar,
        _curves(tensorboard, begun) as draw,
    ):

        def on_progress(run: Any) -> None:
            bar.update(run.episodes.steps - bar.n)
            draw(run.episodes.log)
            recent = [row["return"] for row in run.episodes.log[-driver.RECENT :]]
            told = {"frames": f"{run.episodes.steps * config.game.frame_skip / 1e6:.2f}M"}
            if recent:
                told["score"] = f"{np.mean(recent):.1f}"
            if minutes is not None:
                left = 60 * minutes - (run.seconds - begin)
                told["stops in"] = f"{max(0.0, left) / 60:.0f} min"
            bar.set_postfix(told, refresh=False)

        begin = begun.get("seconds", 0.0)
        bar.initial = bar.n = begun.get("episodes.steps", 0)  # the speed is that of this time
        run = driver.train(
            config,
            seed,
            folder=folder,
            resume=resume is not None,
            minutes=minutes,
            checkpoint_minutes=checkpoint_minutes,
            memory=memory,
            device=device,
            threads=threads,
            on_progress=on_progress,
            on_trouble=lambda said: tqdm.write(f"no checkpoint: {said}; going on", file=sys.stderr),
        )
    if run.episodes.steps < config.steps:
        print(f"stopped; go on with: rlcourse atari train --resume {folder}")
    print(driver.report(folder))
    print(f"kept in {folder}\nnext: rlcourse atari evaluate {folder}")


def evaluate(
    run: tyro.conf.Positional[Path],
    protocol: str = "sticky",
    games: int = 30,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Play whole games with a trained player, under a named protocol.

    Args:
        run: the folder of a training, its checkpoint, or a player that comes with the package: pong-ppo.
        protocol: sticky (after Machado et al. 2018), nature (Mnih et al. 2015) or greedy.
        games: how many.
        seed: of the games.
        out: a JSON file for every score and every choice.
    """
    from dataclasses import replace

    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(
            f"protocol = {protocol!r}: must be one of {', '.join(PROTOCOLS)}"
        )
    if out is not None and not out.parent.is_dir():
        raise InvalidArgumentError(f"out = {out}: its folder does not exist")
    judged = replace(PROTOCOLS[protocol], games=check_positive("games", games))
    policy, game = _player(run, judged.greedy, seed)
    width = next(n for n in (10, 6, 5, 4, 3, 2, 1) if games % n == 0)
    with tqdm(total=games, unit="game") as bar:
        result = judge(
            policy, game, judged, seed=seed, num_envs=width, on_game=lambda score: bar.update()
        )
    print(f"{protocol}: {_told(result)}")
    if out is not None:
        with replace_file(out) as file:
            file.write(json.dumps(result.as_dict()).encode())
        print(f"kept in {out}")


def watch(
    run: tyro.conf.Positional[Path],
    out: Path | None = None,
    greedy: bool = False,
    seconds: int = 20,
    skip: int = 0,
    seed: int = 0,
) -> None:
    """Watch a trained player in a window, or record it; without sticky actions.

    Args:
        run: the folder of a training, its checkpoint, or a player that comes with the package: pong-ppo.
        out: a .gif or .mp4 to record into instead of a window.
        greedy: the best action always, instead of one drawn from the player's probabilities.
        seconds: how many are filmed.
        skip: seconds of the game before those.
        seed: of what is drawn.
    """
    from rlcourse.atari import film
    from rlcourse.film import require_screen

    policy, game = _player(run, greedy, seed)
    if out is not None:
        score, steps = film.record(policy, game, out, seconds=seconds, skip=skip)
        print(f"{out}: {out.stat().st_size / 1e3:,.0f} kB")
    else:
        require_screen()
        score, steps = film.play_in_window(policy, game)
    print(f"score {score:g} in {steps:,} steps")


def report(run: tyro.conf.Positional[Path]) -> None:
    """Say how a training went, as far as its last checkpoint.

    Args:
        run: its folder.
    """
    require("deep,atari", "torch", "safetensors")
    from rlcourse.atari.train import report

    print(report(run))


def app() -> Any:
    """The commands, for the command line."""
    commands = tyro.extras.SubcommandApp()
    for command in (train, evaluate, watch, report):
        commands.command(command)
    return commands


@contextmanager
def _curves(
    folder: Path | None, begun: Mapping[str, Any]
) -> Iterator[Callable[[Sequence[Mapping[str, float]]], None]]:
    """What draws the new rows of a log of games; what a crash left behind the resumed step is taken back."""
    if folder is None:
        yield lambda log: None
        return
    from torch.utils.tensorboard import SummaryWriter

    if folder.exists() and not folder.is_dir():
        raise InvalidArgumentError(f"tensorboard = {folder}: must be a folder")
    drawn, full = len(begun.get("episodes.log", ())), False
    purge = begun["episodes.steps"] + 1 if begun else None
    writer: Any = None

    def draw(log: Sequence[Mapping[str, float]]) -> None:
        nonlocal drawn, full, writer
        if full:
            return
        try:
            if writer is None:  # not before the first batch: the training may be refused
                writer = SummaryWriter(str(folder), purge_step=purge)
            for row in log[drawn:]:
                writer.add_scalar("game/score", row["return"], int(row["step"]))
                writer.add_scalar("game/length", row["length"], int(row["step"]))
            drawn = len(log)
        except OSError as error:  # a full disk ends the curves, not the training
            full = True
            tqdm.write(f"no more curves: {folder} cannot be written ({error.strerror})", sys.stderr)

    try:
        yield draw
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()


def _settings(
    algorithm: str, game: str, network: str, sticky: float | None, steps: int | None
) -> Any:
    """A preset with what was asked for; the larger networks look at larger pictures."""
    from dataclasses import replace

    from rlcourse.atari.agents import preset

    config = preset(algorithm, rom(game), **({} if steps is None else {"steps": steps}))
    world = config.game if sticky is None else replace(config.game, sticky=sticky)
    if network != "small":
        large = {"height": 84, "width": 84, "cut_top": 0, "cut_bottom": 0}
        world = replace(world, **large)  # type: ignore[arg-type]
    return replace(config, game=world, network=network)


def _player(run: Path, greedy: bool, seed: int) -> tuple[Policy, Game]:
    require("deep,atari", "torch", "safetensors")
    from rlcourse.atari import players
    from rlcourse.atari.agents import load_player
    from rlcourse.atari.train import kept_in

    if run.exists():
        kept = kept_in(run)
    else:
        try:
            kept = players.player(str(run))
        except InvalidArgumentError as error:
            hint = str(error).partition("; ")[2]
            raise InvalidArgumentError(
                f"run = {run}: no such folder, file or player; {hint}"
            ) from None
    return load_player(kept, greedy=greedy, seed=seed)


def _told(result: Result) -> str:
    mean = bootstrap_interval(result.scores, lambda scores: float(np.mean(scores)))
    told = [
        f"mean score {mean.value:,.4g} over {len(result.scores)} whole games, 95 % interval "
        f"[{mean.low:,.4g}, {mean.high:,.4g}], worst {result.scores.min():,g}, best "
        f"{result.scores.max():,g}"
    ]
    if result.won is not None:
        told.append(f"{result.won} won, {result.lost} lost")
    told.append(f"{result.lengths.mean():,.0f} steps a game, {int(result.capped.sum())} broken off")
    if (known := reference(result.game.name)) and result.normalized is not None:
        told.append(
            f"{result.normalized:.0f} % of the way from random play ({known[0]:,g}) to the human tester "
            f"({known[1]:,g})"
        )
    return "\n  ".join(told)
