r"""A recommender that reads what was watched, in its order, and is taught by stars: GRU, actor and critic.

Papers: Hidasi et al. 2016 (a GRU over sessions), Chen et al. 2019 (a softmax policy over the catalogue, from logs),
Xin et al. 2020 (a supervised loss beside that of reinforcement learning, on the same encoder). The state is
:math:`h_t = \mathrm{GRU}(i_1 r_1, \dots, i_t r_t)`, the policy is :math:`\pi(i \mid h) \propto \exp(W h \cdot e_i +
b_i)` with the items' own embeddings. First, for some epochs, it learns to say what comes next:

.. math:: -\log \pi(i_{t+1} \mid h_t) + \tfrac{c_v}{2} \bigl(\hat G_t - V(h_t)\bigr)^2

and then, on the same logs, with what came next judged by its stars and by the critic :math:`V`,

.. math:: -\bigl(\mathbb 1\{r_{t+1} \ge 4\} + c\, \hat A_t\bigr) \log \pi(i_{t+1} \mid h_t)
          + \tfrac{c_v}{2} \bigl(\hat G_t - V(h_t)\bigr)^2

where :math:`\hat A` (GAE) and :math:`\hat G = \hat A + V` count as constants. With ``advantage`` zero this is the
control: the same first stage, and then the same epochs on what was liked, without the critic. For a slate of ``K``
the first factor is multiplied by :math:`K (1 - \pi)^{K-1}` (Chen et al. 2019, section 4.3).

Deviations: the softmax is over a shared sample of items, drawn by the square root of their popularity and corrected
for it (Bengio and Senécal 2008); there is no weight of importance, since nobody knows with what probability a
user of MovieLens came upon a movie.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlcourse.checkpoint import Checkpoint, restore
from rlcourse.errors import CorruptCheckpointError, check_positive, check_settings
from rlcourse.networks import descend, flatten, seeded
from rlcourse.recommender.data import LIKED, Split
from rlcourse.recommender.metrics import coverage, top_k
from rlcourse.returns import gae
from rlcourse.seeding import streams

__all__ = [
    "Batch",
    "Config",
    "Reader",
    "Result",
    "Run",
    "log_loss",
    "restore_for",
    "score",
    "sequence_loss",
    "slate_factor",
    "train",
    "windows",
]

WATCHED = 500  # people by whom a log row's entropy, coverage and divergence are taken

STARS = np.array(
    [0.0, -0.5, -0.25, 0.25, 0.75, 1.0]
)  # reward of a rating; Config has no use for zero stars


@dataclass(frozen=True)
class Config:
    """What a run is made of; the defaults are for MovieLens 1M."""

    epochs: int = 15  # over all users, on whatever came next
    epochs_rewarded: int = 5  # and then on what was worth it
    advantage: float = 0.5  # weight of the advantage; zero is the control without a critic
    slate: int = 1  # items that are shown at once: more, and the correction for it counts
    window: int = 50  # last events that make the state
    targets: int = 30  # events of a user that are predicted in one epoch
    batch_size: int = 64  # users
    negatives: int = 600  # items that the softmax of a batch is over, beside the targets
    gamma: float = 0.9  # discount a recommendation
    lam: float = 0.8  # GAE: 0 trusts the values, 1 the stars
    value_weight: float = 0.25  # of the critic's loss
    learning_rate: float = 3e-3  # Adam's
    max_grad_norm: float = 5.0  # a longer gradient is cut to this length
    embedding: int = 64  # of an item
    hidden: tuple[int, ...] = (96,)  # units of the GRU

    def __post_init__(self) -> None:
        check_settings(
            self,
            fractions="gamma lam",
            not_negative="advantage value_weight learning_rate max_grad_norm",
            positive="epochs slate window targets batch_size negatives embedding",
        )
        if self.epochs_rewarded != 0:
            rewarded = check_positive("epochs_rewarded", self.epochs_rewarded)
            object.__setattr__(self, "epochs_rewarded", rewarded)


@dataclass(frozen=True)
class Result:
    """``scores`` ranks the catalogue for users of the split; ``log`` has one row an epoch.

    A row has ``epoch``, ``rewarded``, the mean ``loss``, and of some people at the ends of their histories: the
    policy's mean ``entropy`` (nats), the part of the catalogue that is in their first ten places (``coverage``),
    and in the rewarded epochs the divergence ``kl`` (nats) of the policy from where these began.
    """

    scores: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    network: Reader
    log: list[dict[str, float]]
    config: Config
    seed: int


class Reader(nn.Module):
    """Items and stars in, one state after each of them out; an actor and a critic on top.

    Item ``I`` is "nothing", which stands before the first event.
    """

    def __init__(self, popularity: NDArray[np.floating], embedding: int, hidden: int) -> None:
        super().__init__()
        items = len(popularity)
        self.items = nn.Embedding(items + 1, embedding, padding_idx=items)
        self.stars = nn.Embedding(6, embedding, padding_idx=0)
        self.gru = nn.GRU(embedding, hidden, batch_first=True)
        self.actor = nn.Linear(hidden, embedding)
        self.critic = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        with torch.no_grad():
            self.items.weight.mul_(0.1)
            self.stars.weight.mul_(0.1)
        # Before it has learned anything it recommends what is popular.
        self.bias = nn.Parameter(torch.from_numpy(np.log(popularity + 1.0)).float())

    def states(self, items: Tensor, stars: Tensor) -> Tensor:
        """``h`` after each event ``[N, L]``: shape ``[N, L, hidden]``."""
        states: Tensor = self.gru(self.items(items) + self.stars(stars))[0]
        return states

    def logits(self, states: Tensor, items: Tensor | None = None) -> Tensor:
        """Of the whole catalogue ``[..., I]``, or of some items ``[M]``: ``[..., M]``."""
        known = slice(None, -1) if items is None else items
        wanted: Tensor = self.actor(states)
        return (
            wanted @ self.items.weight[known].T + self.bias[slice(None) if items is None else items]
        )


# --- the loss --------------------------------------------------------------------------------------


def sequence_loss(
    target_logit: Tensor,
    negative_logits: Tensor,
    coefficient: Tensor,
    values: Tensor,
    returns: Tensor,
    value_weight: float,
) -> Tensor:
    r"""Policy and value terms of events that really happened: losses ``[B]``.

    Args:
        target_logit: of what came next, corrected for how it was sampled; ``[B]``.
        negative_logits: of the sampled items, corrected; minus infinity where one is the target; ``[B, M]``.
        coefficient: of ``log pi``: one, or whether it was liked plus the weighted advantage; ``[B]``.
        values: the critic's word before it came; ``[B]``.
        returns: their targets, constants; ``[B]``.
        value_weight: of the critic's loss.
    """
    assert target_logit.shape == coefficient.shape == values.shape == returns.shape
    everything = torch.cat([target_logit[:, None], negative_logits], dim=1)
    log_prob = target_logit - everything.logsumexp(dim=1)
    return -coefficient * log_prob + value_weight / 2 * (returns - values) ** 2


def slate_factor(log_prob: Tensor, size: int) -> Tensor:
    """How much likelier an item gets into ``size`` draws as it gets likelier in one: ``K (1 - pi)^(K - 1)``.

    A constant for the gradient; shape as ``log_prob``.
    """
    return size * (1.0 - log_prob.detach().exp()) ** (size - 1)


# --- the loop --------------------------------------------------------------------------------------


class Batch:
    """Windows of users' histories: ``items`` and ``stars`` ``[N, window + targets]``, padded in front."""

    def __init__(self, split: Split, users: NDArray[np.int64], end: NDArray[np.int64], length: int):
        history, nothing = split.history, len(split.items)
        place = end[:, None] - length + np.arange(length)
        there = place >= history.start[:-1][users][:, None]
        place = np.maximum(place, 0)
        self.items = torch.from_numpy(
            np.where(there, history.item[place], nothing).astype(np.int64)
        )
        self.stars = torch.from_numpy(np.where(there, history.rating[place], 0).astype(np.int64))


class Run:
    """All of a run that changes; ``kept`` is what a checkpoint holds."""

    algorithm = "recommender"
    kept = ("network", "supervised", "optimizer", "dice", "epoch", "log", "items")

    def __init__(self, config: Config, split: Split, seed: int) -> None:
        self.config, self.split, self.seed, self.epoch = config, split, seed, 0
        self.log: list[dict[str, float]] = []
        self.items = split.items.copy()
        random = streams(seed)
        popularity = np.bincount(split.history.item, minlength=len(split.items)).astype(np.float64)
        with seeded(random.network):
            self.network = Reader(popularity, config.embedding, config.hidden[0])
        self.supervised = deepcopy(self.network)  # as the first stage leaves it
        self.weights = flatten(self.network)
        self.optimizer = torch.optim.Adam([self.weights], fused=True)
        self.dice = random.exploration
        share = np.sqrt(popularity + 1.0)
        self.share = share / share.sum()
        # The logarithm of how often an item is drawn in a batch, on average.
        self.expected = torch.from_numpy(np.log(config.negatives * self.share)).float()

    def scores(self, users: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of the whole catalogue for users of the split; shape ``[N, I]``."""
        return score(self.network, self.split, users, self.config.window)


def train(
    config: Config,
    split: Split,
    seed: int = 0,
    *,
    loss: Callable[..., Tensor] = sequence_loss,
    on_progress: Callable[[int, dict[str, float], Run], None] | None = None,
    resume: Checkpoint | None = None,
) -> Result:
    """Learn from the histories of a split, and from nothing else.

    Args:
        config: its settings.
        split: whose ``history`` is read.
        seed: of weights, windows and samples.
        loss: in the place of :func:`sequence_loss`.
        on_progress: called after each epoch, with its number, its log row and the run.
        resume: a checkpoint to go on from, of the same settings and seed.

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
        CorruptCheckpointError: the checkpoint is of another catalogue.
    """
    run = Run(config, split, seed)
    if resume is not None:
        restore_for(run, resume)
    while run.epoch < config.epochs + config.epochs_rewarded:
        rewarded, losses = run.epoch >= config.epochs, []
        order = run.dice.permutation(len(split.users))
        for users in np.array_split(order, -(-len(order) // config.batch_size)):
            drawn = run.dice.choice(len(run.share), size=config.negatives, p=run.share)
            batch = windows(split, users, config, run.dice)
            value = descend(
                log_loss(run, batch, torch.from_numpy(drawn), rewarded, loss),
                run.weights,
                run.optimizer,
                config.learning_rate,
                config.max_grad_norm,
                facts={"epoch": run.epoch},
            )
            losses.append(value)
        run.epoch += 1
        if not rewarded:
            run.supervised.load_state_dict(run.network.state_dict())
        row = {"epoch": run.epoch, "rewarded": float(rewarded), "loss": float(np.mean(losses))}
        row.update(_watch(run, rewarded))
        run.log.append(row)
        if on_progress:
            on_progress(run.epoch, row, run)
    return Result(run.scores, run.network, run.log, config, seed)


def restore_for(run: Run, kept: Checkpoint) -> None:
    """Put a run into the state of a checkpoint, if that knows the same movies.

    Raises:
        CorruptCheckpointError: it knows others.
        InvalidArgumentError: it is of another algorithm, seed or settings.
    """
    theirs = kept.arrays.get("items")
    if theirs is not None and not np.array_equal(theirs, run.items):
        raise CorruptCheckpointError(
            f"the checkpoint knows {len(theirs):,} movies, these data have {len(run.items):,} or others: "
            "give it the data that it was trained on"
        )
    restore(run, kept)


def windows(
    split: Split, users: NDArray[np.int64], config: Config, rng: np.random.Generator
) -> Batch:
    """One stretch of each user, that ends anywhere behind its first ``targets`` events."""
    first, last = split.history.start[:-1][users], split.history.start[1:][users]
    earliest = np.minimum(first + config.targets, last)
    return Batch(split, users, rng.integers(earliest, last + 1), config.window + config.targets)


def log_loss(
    run: Run, batch: Batch, sampled: Tensor, rewarded: bool, loss: Callable[..., Tensor]
) -> Tensor:
    """The mean loss of a batch of histories, over a sample of the catalogue."""
    network, config, expected = run.network, run.config, run.expected
    count, nothing = config.targets, len(expected)
    states = network.states(batch.items, batch.stars)[:, -count - 1 :]
    values = network.critic(states).squeeze(-1)
    items, stars = batch.items[:, -count:], batch.stars[:, -count:]
    there = items != nothing
    reward = torch.from_numpy(STARS)[stars].numpy()
    known = values.detach().double().numpy()
    boundary = np.zeros(reward.T.shape, dtype=bool)
    boundary[-1] = True
    advantages = gae(
        reward.T,
        np.full(reward.T.shape, config.gamma),
        known[:, :-1].T,
        known[:, 1:].T,
        config.lam,
        boundary,
    ).T
    advantage = torch.from_numpy(advantages).float()
    coefficient = torch.ones_like(advantage)
    if rewarded:
        coefficient = (stars >= LIKED).float() + config.advantage * advantage
    coefficient = coefficient[there]
    chosen, item = states[:, :-1][there], items[there]
    target_logit = (network.actor(chosen) * network.items(item)).sum(-1) + network.bias[item]
    others = network.logits(chosen, sampled) - expected[sampled]
    others = others.masked_fill(sampled == item[:, None], -torch.inf)
    target_logit = target_logit - expected[item]
    if rewarded and config.slate > 1:
        log_prob = target_logit - torch.cat([target_logit[:, None], others], 1).logsumexp(1)
        coefficient = coefficient * slate_factor(log_prob, config.slate)
    return loss(
        target_logit,
        others,
        coefficient,
        values[:, :-1][there],
        (advantage + values[:, :-1].detach())[there],
        config.value_weight if not rewarded or config.advantage else 0.0,
    ).mean()


@torch.no_grad()
def _watch(run: Run, rewarded: bool) -> dict[str, float]:
    """How sure the policy is, how much of the catalogue it shows, how far it is from its supervised start."""
    split, window = run.split, run.config.window
    users = np.arange(min(WATCHED, len(split.users)))  # fixed, so that rows can be compared
    logits = score(run.network, split, users, window)
    log_probs = torch.from_numpy(logits).log_softmax(1)
    rows, columns = split.history.matrix(len(split.items))[users].nonzero()
    logits[rows, columns] = -np.inf
    ranked = top_k(logits, min(10, len(split.items)))
    facts = {
        "entropy": float(-(log_probs.exp() * log_probs).sum(1).mean()),
        "coverage": coverage(ranked, len(split.items)),
    }
    if rewarded:
        before = torch.from_numpy(score(run.supervised, split, users, window)).log_softmax(1)
        facts["kl"] = float((log_probs.exp() * (log_probs - before)).sum(1).mean())
    return facts


@torch.no_grad()
def score(
    network: Reader, split: Split, users: NDArray[np.int64], window: int
) -> NDArray[np.float32]:
    """Logits of the whole catalogue after each user's history; shape ``[N, I]``."""
    batch = Batch(split, users, split.history.start[1:][users], window)
    return np.asarray(network.logits(network.states(batch.items, batch.stars)[:, -1]).numpy())
