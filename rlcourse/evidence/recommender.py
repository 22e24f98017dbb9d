"""What contracts measure on recommenders: ``measure(config, seed, **options) -> (score, extra)``.

All of them need MovieLens 1M (``rlcourse recommender prepare``), of which nothing is stored but means over many
people. What has no dice is judged on ten parts of the people, drawn by lot: a seed is the number of a part. A
policy that learns is judged on everybody, and its seed is that of its weights and samples.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import softmax

from rlcourse import checkpoint
from rlcourse.errors import InvalidArgumentError
from rlcourse.recommender import actor_critic, baselines, off_policy, on_policy, simulator
from rlcourse.recommender.data import Events, Split, blocks, leave_last_out, load, sessions
from rlcourse.recommender.metrics import Board, Scores, judge, top_k

__all__ = [
    "boards",
    "chosen",
    "estimators",
    "future",
    "last_one",
    "learned",
    "narrowed",
    "ranked",
]

Measured = tuple[float, dict[str, Any]]
PARTS = 10  # of the people, for what has no dice
CANDIDATES = 200  # first places of EASE, within which a policy may be asked to choose
PLACES = 20  # of EASE, for the first recommendation of a session
LAST = ("popularity", "knn", "bpr", "als", "ease", "chain", "blend")  # tables beside `last_one`
PEOPLE = 500  # who come to the simulator, for one number
MANY = 2000  # the same, where two numbers are close


@cache
def _data() -> Any:
    found = load()
    if not found.name.startswith("ml-1m"):
        raise InvalidArgumentError(
            f"the data are {found.name}: this is measured on MovieLens 1M; name its folder in RLCOURSE_DATA or "
            "fetch it with `rlcourse recommender prepare --accept-licence`"
        )
    return found


@cache
def _split() -> Split:
    return sessions(_data())


@cache
def _audience() -> simulator.Audience:
    return simulator.fit(_data(), _split())


def _blend(split: Split) -> Scores:
    return baselines.blend(_fitted("ease", split), _fitted("chain", split))


BASELINES: dict[str, Callable[..., Scores]] = {
    "random": baselines.random,
    "popularity": baselines.popularity,
    "knn": baselines.item_knn,
    "bpr": baselines.bpr,
    "als": baselines.als,
    "chain": baselines.markov,
    "ease": baselines.ease,
    "blend": _blend,
}
# What `learned` keeps of either policy: its name, its return in the simulator, its NDCG in reality.
LEARNED = (
    ("actor-critic", "paid", "ndcg"),
    ("control", "control_paid", "control"),
    ("leaning", "leaning_paid", "leaning"),  # the actor-critic, on EASE
    ("taught", "taught_paid", "taught"),  # the same, after a stage in the simulator
)
_kept: dict[tuple[str, str], Scores] = {}


def _fitted(name: str, split: Split) -> Scores:
    """A baseline, fitted once for a split."""
    if (name, split.name) not in _kept:
        _kept[name, split.name] = BASELINES[name](split)
    return _kept[name, split.name]


@cache
def _board(name: str) -> Board:
    return judge(_fitted(name, _split()), _split())


def _facts(board: Board) -> dict[str, Any]:
    """A row of the table, over everybody."""
    means = {metric: board.mean(metric) for metric in board.by_user}
    return {
        **means,
        "error": board.error("ndcg"),
        "coverage": board.coverage,
        "novelty": board.novelty,
    }


def _part(board: Board, seed: int) -> Measured:
    """NDCG@10 over one part of the people, and the row over all of them."""
    values = board.by_user["ndcg"]
    part = np.array_split(np.random.default_rng(0).permutation(len(values)), PARTS)[seed]
    return float(values[part].mean()), _facts(board)


def ranked(config: Mapping[str, Any], seed: int, *, name: str) -> Measured:
    """NDCG@10 of one of ``BASELINES`` in the sessions that were held out, the whole catalogue ranked."""
    return _part(_board(name), seed)


def narrowed(config: Mapping[str, Any], seed: int, *, name: str) -> Measured:
    """The same, ranked within the first places of EASE."""
    return _part(judge(_within(_fitted(name, _split())), _split()), seed)


def future(config: Mapping[str, Any], seed: int, *, leak: bool) -> Measured:
    """Two checks of the yardstick: EASE that was fitted on what is held out, or a chain of shuffled histories."""
    return _part(_checked(leak), seed)


@cache
def _checked(leak: bool) -> Board:
    split = _split()
    if leak:
        both = (split.history, split.held_out)
        user = np.concatenate([part.user for part in both])
        order = np.argsort(user, kind="stable")
        item, rating = (
            np.concatenate([getattr(part, field) for part in both])[order]
            for field in ("item", "rating")
        )
        seen = Events(item, rating, both[0].start + both[1].start)
        return judge(baselines.ease(replace(split, history=seen)), split)
    history = split.history
    order = np.lexsort((np.random.default_rng(0).random(len(history.item)), history.user))
    mixed = Events(history.item[order], history.rating[order], history.start)
    return judge(baselines.markov(replace(split, history=mixed)), split)


def chosen(config: Mapping[str, Any], seed: int, *, name: str) -> Measured:
    """NDCG@10 of the package's own settings less that of the best of ``config["grid"]``, on a part of the people.

    Judged on the last fifth of the histories, so that what is held out has no say. Zero in each part if the
    package's own settings are the best of the grid.
    """
    grid = [tuple(settings.items()) for settings in config["grid"]]
    values = [_searched(name, settings).mean("ndcg") for settings in grid]
    best = _searched(name, grid[int(np.argmax(values))])
    ours = _searched(name, ())
    facts = {"grid": values, "own": ours.mean("ndcg"), "best": best.mean("ndcg")}
    return _part(ours, seed)[0] - _part(best, seed)[0], facts


@cache
def _searched(name: str, settings: tuple[tuple[str, Any], ...]) -> Board:
    inner = _split().inner()
    return judge(BASELINES[name](inner, **dict(settings)), inner)


def last_one(config: Mapping[str, Any], seed: int) -> Measured:
    """NDCG@10 where only each person's last rating is held out, whatever its stars: the literature's setting.

    By the first stage alone, which learns whatever comes next; beside it the tables, on the same targets.
    """
    start, split = time.process_time(), _last()
    result = actor_critic.train(actor_critic.Config(**config), split, seed)
    minutes = (time.process_time() - start) / 60
    board = judge(result.scores, split)
    tables = {name: judge(_fitted(name, split), split).mean("ndcg") for name in LAST}
    return board.mean("ndcg"), {**_facts(board), **tables, "minutes": minutes}


@cache
def _last() -> Split:
    split = leave_last_out(_data())
    target = split.held_out
    stars = np.full_like(target.rating, 5)  # "liked": every target counts
    return replace(split, held_out=Events(target.item, stars, target.start))


def learned(
    config: Mapping[str, Any], seed: int, *, weight: float, stage: Mapping[str, Any]
) -> Measured:
    """NDCG@10 of the actor-critic; beside it all else that is asked of it, and its control without a critic.

    Both go on from one first stage: until its end they are the same run. Then the actor-critic leans on EASE, with
    this weight, and goes on learning in the simulator.
    """
    settings, split = actor_critic.Config(**config), _split()
    start = time.process_time()
    with tempfile.TemporaryDirectory(prefix="rlcourse-") as folder:
        path = Path(folder) / "first"

        def keep(epoch: int, row: dict[str, float], run: actor_critic.Run) -> None:
            if epoch == settings.epochs:
                checkpoint.save(path, run)

        ours = actor_critic.train(settings, split, seed, on_progress=keep)
        minutes = (time.process_time() - start) / 60
        first = checkpoint.load(path)
    plain = replace(first, config={**first.config, "advantage": 0.0})
    control = actor_critic.train(replace(settings, advantage=0.0), split, seed, resume=plain)
    board, other = (judge(result.scores, split) for result in (ours, control))
    people = np.random.default_rng(seed).permutation(len(split.users))[:PEOPLE]
    facts = {
        **_facts(board),
        "control": other.mean("ndcg"),
        "control_coverage": other.coverage,
        "difference": board.mean("ndcg") - other.mean("ndcg"),
        "ahead": board.mean("ndcg") - _board("blend").mean("ndcg"),
        "candidates": judge(_within(ours.scores), split).mean("ndcg"),
        "control_candidates": judge(_within(control.scores), split).mean("ndcg"),
        "paid": _paid(on_policy.greedy(ours.network), people, seed),
        "control_paid": _paid(on_policy.greedy(control.network), people, seed),
        "minutes": minutes,
        "epoch": [row["epoch"] for row in ours.log],
        "entropies": [row["entropy"] for row in ours.log],
        "coverages": [row["coverage"] for row in ours.log],
        "divergence": ours.log[-1].get("kl", 0.0),
        "entropy": ours.log[-1]["entropy"],
        "control_entropy": control.log[-1]["entropy"],
        "weights": sum(part.numel() for part in ours.network.parameters()),
        **_taught(ours, control, on_policy.Config(**stage), weight, seed),
    }
    facts["gained"] = facts["leaning"] - facts["control"]
    return board.mean("ndcg"), facts


def _taught(
    ours: actor_critic.Result,
    control: actor_critic.Result,
    stage: on_policy.Config,
    weight: float,
    seed: int,
) -> dict[str, float]:
    """What a policy is worth that leans on EASE, before and after it has learned in the simulator.

    ``earned``: what a session pays afterwards, less the most that one pays by popularity, by EASE, or before;
    ``kept``: NDCG afterwards, less that before, and a standard error over people for it to lose.
    """
    split, audience = _split(), _audience()
    prior = on_policy.prior_of(_fitted("ease", split), split, weight)
    start = time.process_time()
    taught = on_policy.train(stage, audience, ours, seed, prior=prior)
    minutes = (time.process_time() - start) / 60
    before, other, after = (
        judge(_leaning(result.scores, prior), split) for result in (ours, control, taught)
    )
    people = np.random.default_rng(seed).permutation(len(split.users))[:MANY]
    paid = {
        name: _paid(simulator.by_scores(_fitted(name, split), people), people, seed)
        for name in ("popularity", "ease")
    }
    for name, result in (("before", ours), ("after", taught)):
        paid[name] = _paid(on_policy.greedy(result.network, prior), people, seed)
    earned = paid.pop("after")
    return {
        "leaning": before.mean("ndcg"),
        "leaning_paid": paid["before"],
        "leaning_control": other.mean("ndcg"),
        "taught": after.mean("ndcg"),
        "taught_paid": earned,
        "earned": earned - max(paid.values()),
        "kept": after.mean("ndcg") - before.mean("ndcg") + before.error("ndcg"),
        "stage_minutes": minutes,
    }


def _leaning(scores: Scores, prior: NDArray[np.float32]) -> Scores:
    return lambda users: scores(users) + prior[users]


def _within(scores: Scores) -> Scores:
    """The order of a policy among the first places of EASE: nothing else is recommended."""
    return lambda users: np.where(_candidates()[users], scores(users), -np.inf)


@cache
def _candidates() -> NDArray[np.bool_]:
    """The first places of EASE of each person, what was seen left out; shape ``[U, I]``."""
    split = _split()
    seen, ease = split.history.matrix(len(split.items)), _fitted("ease", split)
    inside = np.zeros(seen.shape, dtype=bool)
    for block in blocks(len(split.users)):
        users = np.arange(len(split.users))[block]
        first = np.array(ease(users), dtype=np.float64)
        first[seen[users].nonzero()] = -np.inf
        inside[users[:, None], top_k(first, CANDIDATES)] = True
    return inside


# --- the simulator ----------------------------------------------------------------------------------


def _paid(choose: simulator.Choose, people: NDArray[np.int64], seed: int) -> float:
    """The mean return of a session, over some people."""
    return float(simulator.play(_audience(), people, choose, seed).mean())


@cache
def _of_stars() -> Board:
    return judge(_audience().ratings.predict, _split())


def boards(config: Mapping[str, Any], seed: int, *, of: str) -> Measured:
    """Spearman's correlation of two boards: what a session pays in the simulator, and NDCG@10 in reality.

    Over the baselines, the predicted stars, and the policies of ``of``, a contract of :func:`learned`. Beside it
    what each earned, and what one earns in the same sessions who knows the audience's own probabilities.
    """
    from rlcourse.evidence import load as stored

    people = np.random.default_rng(seed).permutation(len(_split().users))[:PEOPLE]
    rankings = {name: _fitted(name, _split()) for name in BASELINES}
    rankings["stars"] = _audience().ratings.predict
    paid = {
        name: _paid(simulator.by_scores(scores, people), people, seed)
        for name, scores in rankings.items()
    }
    bound = _paid(simulator.clairvoyant, people, seed)
    real = {name: _board(name).mean("ndcg") for name in BASELINES}
    real["stars"] = _of_stars().mean("ndcg")
    taught = stored(of)
    for name, earned, worth in LEARNED:
        paid[name], real[name] = (float(np.mean(taught[key])) for key in (earned, worth))
    names = sorted(paid)
    found = stats.spearmanr([paid[name] for name in names], [real[name] for name in names])
    return float(found.statistic), {"paid": paid, "real": real, "bound": bound}


def estimators(config: Mapping[str, Any], seed: int, *, logs: int, rounds: int) -> Measured:
    """The error of doubly robust estimates over that of importance sampling, root mean squares over some logs.

    The log's policy is the softmax of EASE over its first places, with half of it by lot; the one that is judged is
    the softmax of the blend, twice as sure. Both choose the first recommendation of a session.
    """
    people = np.arange(len(_split().users))
    shown = off_policy.shelf(_audience(), _fitted("ease", _split()), people, PLACES)
    logging, target = (
        _sure(name, shown, people, sure) for name, sure in (("ease", 1), ("blend", 2))
    )
    logging = 0.5 * logging + 0.5 / PLACES
    truth = float((target * shown.pays()).sum(axis=1).mean())
    rng, said = np.random.default_rng(seed), []
    for _ in range(logs):
        said.append(
            off_policy.estimates(*shown.log(logging, rounds, rng), logging=logging, target=target)
        )
    facts: dict[str, Any] = {"truth": truth}
    for name in said[0]:
        errors = np.array([found[name].value - truth for found in said])
        facts[name] = float(np.sqrt(np.mean(errors**2)))
        facts[f"{name}_bias"] = float(errors.mean())
        inside = [abs(found[name].value - truth) <= 1.96 * found[name].error for found in said]
        facts[f"{name}_covers"] = float(np.mean(inside))
    return facts["dr"] / facts["ips"], facts


def _sure(
    name: str, shown: off_policy.Shelf, people: NDArray[np.int64], sure: float
) -> NDArray[np.float64]:
    """The softmax of a ranking over what is shown, in units of its spread there; shape ``[N, K]``."""
    scores = np.concatenate(
        [_fitted(name, _split())(people[block]) for block in blocks(len(people))]
    )
    values = np.take_along_axis(scores, shown.items, axis=1)
    spread = np.maximum(values.std(axis=1, keepdims=True), 1e-9)  # who liked nothing: all alike
    return np.asarray(softmax(sure * (values / spread), axis=1))
