"""``rlcourse recommender prepare | train | evaluate | recommend``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm.auto import tqdm

from rlcourse.errors import InvalidArgumentError, check_positive, require
from rlcourse.recommender.data import LIKED, MovieLens, Split, cached, everything, load, sessions
from rlcourse.recommender.download import LICENCE, download
from rlcourse.recommender.metrics import Board, Scores, judge, top_k

__all__ = ["app"]

HEAD = (
    f"{'':14}{'NDCG':>9}{'':8}{'recall':>8}{'precision':>11}{'hits':>8}{'coverage':>10}{'bits':>7}"
)
FOOT = "± is one standard error over people; bits: how surprising a recommendation is on average"


def prepare(data: Path | None = None, accept_licence: bool = False, size: str = "small") -> None:
    """Find, check and describe the ratings that a recommender learns from.

    Looked for in this order: DATA, the folder that RLCOURSE_DATA names, the cache; then downloaded, if the
    licence of MovieLens is accepted; else made up, and then every table says SYNTHETIC.

    Args:
        data: a folder with ratings.dat, movies.dat and users.dat.
        accept_licence: that you accept the licence of MovieLens 1M, which is shown without this.
        size: of made-up data: tiny, small or full.
    """
    here = data or os.environ.get("RLCOURSE_DATA") or cached()
    if not here and accept_licence:
        with tqdm(unit="B", unit_scale=True, desc="ml-1m.zip") as bar:

            def on_progress(so_far: int, total: int) -> None:
                bar.total = total
                bar.update(so_far - bar.n)

            download(accept_licence=True, on_progress=on_progress)
    found = load(data, size=size)
    split = sessions(found)
    judged = np.diff(split.relevant().indptr)
    print(
        f"{found.name}: {len(found.ratings):,} ratings of {len(split.items):,} movies "
        f"({len(found.movies):,} listed) by {len(split.users):,} people\n"
        f"split: the last fifth of each person's ratings is held out; {(judged > 0).sum():,} people liked "
        f"something of it, {np.median(judged[judged > 0]):.0f} movies in the median\n"
        f"sha256 of the files: {found.digest}"
    )
    if found.synthetic:
        print(f"\n{LICENCE}\nTo fetch the real data: rlcourse recommender prepare --accept-licence")


def train(
    data: Path | None = None,
    seed: int = 0,
    epochs: int = 15,
    epochs_rewarded: int = 5,
    advantage: float = 0.5,
    out: Path | None = None,
    resume: Path | None = None,
    size: str = "small",
) -> None:
    """Train the actor-critic on histories, and judge it on what came after them.

    After each epoch the model is kept; Ctrl-C loses none but the running one, and --resume goes on.

    Args:
        data: a folder with ratings.dat, movies.dat and users.dat; else as in prepare.
        seed: of weights, windows and samples.
        epochs: over all people, on whatever they watched next.
        epochs_rewarded: and then on what they gave stars.
        advantage: weight of the critic's word; 0 is the control, with no critic in the rewarded epochs.
        out: the model's file; by default recommender-SEED.safetensors.
        resume: a model's file to go on with, with its settings and its seed; it is written to again.
        size: of made-up data: tiny, small or full.
    """
    require("deep", "torch", "safetensors")
    from rlcourse import checkpoint
    from rlcourse.recommender import actor_critic

    path = resume or out or Path(f"recommender-{seed}.safetensors")
    kept = None if resume is None else checkpoint.load(resume)
    if kept is None and path.exists():
        raise InvalidArgumentError(
            f"out = {path}: exists; go on with it (--resume {path}), name another file (--out) or delete it"
        )
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"out = {path}: its folder does not exist")
    config = actor_critic.Config(
        epochs=epochs, epochs_rewarded=epochs_rewarded, advantage=advantage
    )
    if kept is not None:
        config, seed = checkpoint.read_config(actor_critic.Config, kept, "recommender"), kept.seed
    split = sessions(load(data, size=size))
    print(
        f"{split.name}; {config.epochs} epochs on what came next, {config.epochs_rewarded} on its stars"
    )
    total = config.epochs + config.epochs_rewarded
    with tqdm(total=total, unit="epoch", initial=len(kept.facts["log"]) if kept else 0) as bar:

        def on_progress(epoch: int, row: dict[str, float], run: Any) -> None:
            checkpoint.save(path, run)
            bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
            bar.update()

        try:
            result = actor_critic.train(config, split, seed, on_progress=on_progress, resume=kept)
        except KeyboardInterrupt:
            print(f"\nstopped; go on with: rlcourse recommender train --resume {path}")
            raise
    print(f"\n{HEAD}\n{_row('actor-critic', judge(result.scores, split))}\n\n{FOOT}")
    print(f"kept in {path}\nnext: rlcourse recommender recommend --user 42 --model {path}")


def evaluate(
    data: Path | None = None, model: Path | None = None, k: int = 10, size: str = "small"
) -> None:
    """Rank the whole catalogue for everybody, by every baseline, and print the scoreboard.

    Args:
        data: a folder with ratings.dat, movies.dat and users.dat; else as in prepare.
        model: a file of rlcourse recommender train, to stand beside them.
        k: places of the ranking that count.
        size: of made-up data: tiny, small or full.
    """
    from rlcourse.recommender import baselines

    check_positive("k", k)
    split = sessions(load(data, size=size))
    ease, chain = baselines.ease(split), baselines.markov(split)
    boards: dict[str, Scores] = {
        "random": baselines.random(split),
        "popularity": baselines.popularity(split),
        "item-kNN": baselines.item_knn(split),
        "BPR": baselines.bpr(split),
        "ALS": baselines.als(split),
        "Markov chain": chain,
        "EASE": ease,
        "EASE + chain": baselines.blend(ease, chain),
    }
    if model is not None:
        boards["actor-critic"] = _model(model, split)
    print(
        f"{split.name}; the whole catalogue of {len(split.items):,} movies is ranked, {k} places count\n"
    )
    print(HEAD)
    for name, scores in boards.items():
        print(_row(name, judge(scores, split, k)), flush=True)
    print(f"\n{FOOT}")


def recommend(
    user: int,
    model: Path | None = None,
    data: Path | None = None,
    k: int = 10,
    size: str = "small",
) -> None:
    """What one person should watch next, with titles, genres, and what it stands on.

    Args:
        user: the person's id in the data.
        model: a file of rlcourse recommender train; without it, EASE and the Markov chain.
        data: a folder with ratings.dat, movies.dat and users.dat; else as in prepare.
        k: how many.
        size: of made-up data: tiny, small or full.
    """
    from rlcourse.recommender import baselines

    found = load(data, size=size)
    split = everything(found)
    number = np.flatnonzero(split.users == user)
    if not len(number):
        raise InvalidArgumentError(
            f"user = {user}: nobody of {found.name} has this id; they run from {split.users.min()} to "
            f"{split.users.max()}"
        )
    if model is None:
        scores = baselines.blend(baselines.ease(split), baselines.markov(split))
    else:
        scores = _model(model, split)
    own = slice(*split.history.start[number[0] : number[0] + 2])
    seen, stars = split.history.item[own], split.history.rating[own]
    values = np.array(scores(number), dtype=np.float64)
    values[0, seen] = -np.inf
    nearest = _cosines(split)
    print(
        f"{found.name}, user {user}: {len(seen)} ratings, the last of {_title(found, split, seen[-1])}\n"
    )
    for place, item in enumerate(top_k(values, min(k, len(split.items)))[0], 1):
        if item < 0:
            break
        liked = seen[stars >= LIKED]
        why = liked[nearest[item, liked].argmax()] if len(liked) else None
        because = "" if why is None else f"; you liked {_title(found, split, why)}"
        said = f"{_title(found, split, item)} [{_genres(found, split, item)}]{because}"
        print(f"{place:3d}. {values[0, item]:7.2f}  {said}")


def _cosines(split: Split) -> Any:
    """Of items as lists of the people who liked them; shape ``[I, I]``."""
    liked = split.history.matrix(len(split.items), liked=True)
    length = np.sqrt(liked.sum(axis=0))
    both = np.asarray((liked.T @ liked).toarray())
    return both / np.maximum(length[:, None] * length, 1.0)


def _title(found: MovieLens, split: Split, item: int) -> str:
    return str(found.movies.loc[found.movies["movie"] == split.items[item], "title"].iloc[0])


def _genres(found: MovieLens, split: Split, item: int) -> str:
    genres = found.movies.loc[found.movies["movie"] == split.items[item], "genres"].iloc[0]
    return str(genres).replace("|", ", ")


def _model(path: Path, split: Split) -> Scores:
    require("deep", "torch", "safetensors")
    from rlcourse import checkpoint
    from rlcourse.recommender import actor_critic

    kept = checkpoint.load(path)
    config = checkpoint.read_config(actor_critic.Config, kept, "recommender")
    run = actor_critic.Run(config, split, kept.seed)
    actor_critic.restore_for(run, kept)
    return run.scores


def _row(name: str, board: Board) -> str:
    return (
        f"{name:14}{board.mean('ndcg'):9.4f} ±{board.error('ndcg'):.4f}{board.mean('recall'):8.4f}"
        f"{board.mean('precision'):11.4f}{board.mean('hit_rate'):8.3f}{board.coverage:10.3f}"
        f"{board.novelty:7.2f}"
    )


def app() -> tyro.extras.SubcommandApp:
    """The commands of the recommender."""
    commands = tyro.extras.SubcommandApp()
    for command in (prepare, train, evaluate, recommend):
        commands.command(command)
    return commands
