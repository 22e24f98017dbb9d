r"""A reader of histories goes on learning in the simulator, from what it recommends itself, and does not forget.

From a network that :mod:`rlcourse.recommender.actor_critic` has trained: people are met, the policy recommends by
lot, they watch or do not, tire and leave, and with the advantages of the critic (GAE)

.. math:: -\hat A_t \log \pi(a_t \mid h_t) - c_H\, \mathcal H(\pi(\cdot \mid h_t))
          + \tfrac{c_v}{2} \bigl(\hat G_t - V(h_t)\bigr)^2 + c_s L_s

where :math:`L_s` is the supervised loss on real histories, which keeps the policy from becoming an expert in the
simulator alone (A2C, Mnih et al. 2016; the auxiliary loss after Xin et al. 2020).

The policy may lean on a prior, somebody else's ranking that stays as it is: :math:`\pi(i \mid h) \propto
\exp((f(h)_i + p_i) / T)`, where the network has only to learn what the other does not know.

Deviations: advantages are divided by their spread; the state is carried on from step to step, and what was not
watched does not change it, as in the histories.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import zscore
from torch import Tensor

from rlcourse.envs.vector import Step
from rlcourse.errors import InvalidArgumentError, check_fraction, check_not_negative, check_positive
from rlcourse.networks import descend
from rlcourse.recommender import actor_critic
from rlcourse.recommender.actor_critic import Reader, log_loss, sequence_loss, windows
from rlcourse.recommender.data import Split, blocks
from rlcourse.recommender.metrics import Scores
from rlcourse.recommender.simulator import LENGTH, Audience, Choose, Sessions
from rlcourse.returns import gae
from rlcourse.seeding import streams

__all__ = ["Config", "greedy", "prior_of", "session_loss", "train"]


@dataclass(frozen=True)
class Config:
    """What the stage is made of."""

    updates: int = 100
    sessions: int = 128  # people who are met for one update
    gamma: float = 0.9  # discount a recommendation
    lam: float = 0.8  # GAE
    temperature: float = (
        1.0  # of the lot: the lower, the nearer to what is shown when nothing is drawn
    )
    entropy: float = 0.0  # weight of the policy's entropy
    auxiliary: float = 1.0  # weight of the supervised loss on real histories
    value_weight: float = 0.25  # of the critic's loss
    learning_rate: float = (
        1e-2  # Adam's step size in the first update; it falls to nothing in the last
    )
    max_grad_norm: float = 5.0  # a longer gradient is cut to this length

    def __post_init__(self) -> None:
        for name in ("gamma", "lam"):
            check_fraction(name, getattr(self, name))
        for name in ("updates", "sessions"):
            check_positive(name, getattr(self, name))
        if not 0 < self.temperature < np.inf:
            raise InvalidArgumentError(
                f"temperature = {self.temperature!r}: must be more than zero and finite"
            )
        for name in ("entropy", "auxiliary", "value_weight", "learning_rate", "max_grad_norm"):
            check_not_negative(name, getattr(self, name))


def prior_of(scores: Scores, split: Split, weight: float) -> NDArray[np.float32]:
    """A ranking as a prior, ``[U, I]``: in units of its spread over what a person has not seen, times ``weight``.

    Raises:
        InvalidArgumentError: ``weight`` is negative.
    """
    check_not_negative("weight", weight)
    seen = split.history.matrix(len(split.items)).toarray() > 0
    prior = np.zeros(seen.shape, dtype=np.float32)
    for block in blocks(len(seen)):
        values = np.where(seen[block], np.nan, scores(np.arange(len(seen))[block]))
        with np.errstate(invalid="ignore"):  # who gets no opinion, all alike, gets zeros
            prior[block] = np.nan_to_num(weight * zscore(values, axis=1, nan_policy="omit"))
    return prior


def session_loss(
    log_prob: Tensor,
    entropy: Tensor,
    values: Tensor,
    advantages: Tensor,
    returns: Tensor,
    config: Config,
) -> Tensor:
    """Policy, entropy and value terms of recommendations that were made; every argument and the losses ``[B]``."""
    assert log_prob.shape == entropy.shape == values.shape == advantages.shape == returns.shape
    policy = -advantages * log_prob - config.entropy * entropy
    return policy + config.value_weight / 2 * (returns - values) ** 2


def train(
    config: Config,
    audience: Audience,
    start: actor_critic.Result,
    seed: int = 0,
    *,
    prior: NDArray[np.float32] | None = None,
    loss: Callable[..., Tensor] = session_loss,
    on_progress: Callable[[int, dict[str, float]], None] | None = None,
) -> actor_critic.Result:
    """Go on from ``start``, which stays as it is.

    Args:
        config: of this stage.
        audience: who is met; its split's histories are what is not forgotten.
        start: a trained reader of the same split.
        seed: of people, recommendations and samples.
        prior: added to the logits of each person, shape ``[U, I]``, as :func:`prior_of` makes it; minus
            infinity is never recommended.
        loss: in the place of :func:`session_loss`.
        on_progress: called after each update, with its number and its log row: the mean ``paid`` of a session
            in which one recommends by lot, the ``entropy`` of that (nats), and the supervised loss (``log``).

    Raises:
        InvalidArgumentError: ``prior`` is of other people or items, or leaves somebody fewer than a session.
        DivergenceError: a loss or its gradient is no longer finite.
    """
    if prior is not None:
        seen = audience.split.history.matrix(len(audience.split.items)).toarray() > 0
        if prior.shape != seen.shape or (np.isfinite(prior) & ~seen).sum(axis=1).min() < LENGTH:
            raise InvalidArgumentError(
                f"prior has shape {prior.shape}: must be {seen.shape}, with at least {LENGTH} unseen items each "
                "that are not at minus infinity"
            )
    run = actor_critic.Run(start.config, audience.split, seed)
    run.network.load_state_dict(start.network.state_dict())
    dice, log = streams(seed).replay, deepcopy(start.log)
    for update in range(1, config.updates + 1):
        people = dice.integers(len(audience.split.users), size=config.sessions)
        leaning = None if prior is None else prior[people]
        terms, row = _sessions(run.network, audience, people, leaning, config, dice, loss)
        users = dice.permutation(len(audience.split.users))[: start.config.batch_size]
        drawn = dice.choice(len(run.share), size=start.config.negatives, p=run.share)
        batch = windows(audience.split, users, start.config, dice)
        remembered = log_loss(run, batch, torch.from_numpy(drawn), False, _without_values)
        descend(
            terms + config.auxiliary * remembered,
            run.weights,
            run.optimizer,
            config.learning_rate * (1 - (update - 1) / config.updates),
            config.max_grad_norm,
            facts={"update": update},
        )
        row["log"] = float(remembered.detach())
        log.append(row)
        if on_progress:
            on_progress(update, row)
    return actor_critic.Result(run.scores, run.network, log, start.config, seed)


def greedy(network: Reader, prior: NDArray[np.float32] | None = None) -> Choose:
    """The most probable of what is not used up, after what each person has watched so far.

    With the ``prior`` that the network has learned to lean on, shape ``[U, I]``.
    """

    @torch.no_grad()
    def choose(sessions: Sessions, used: NDArray[np.bool_]) -> NDArray[np.int64]:
        logits = network.logits(_after(network, sessions.obs)).numpy()
        if prior is not None:
            logits = logits + prior[sessions.users]
        return np.asarray(np.where(used, -np.inf, logits).argmax(axis=1))

    return choose


def _without_values(
    target: Tensor, others: Tensor, coefficient: Tensor, values: Tensor, returns: Tensor, _: float
) -> Tensor:
    """The supervised loss alone: here the critic is asked about sessions, not about stars."""
    return sequence_loss(target, others, coefficient, values, returns, 0.0)


def _after(network: Reader, obs: NDArray[np.int64]) -> Tensor:
    """The state after what is in observations of :class:`Sessions`; shape ``[N, hidden]``."""
    nothing = network.items.num_embeddings - 1
    items = torch.from_numpy(np.where(obs[..., 0] > 0, obs[..., 0] - 1, nothing))
    return network.states(items, torch.from_numpy(obs[..., 1]))[:, -1]


def _sessions(
    network: Reader,
    audience: Audience,
    people: NDArray[np.int64],
    prior: NDArray[np.float32] | None,
    config: Config,
    dice: np.random.Generator,
    loss: Callable[..., Tensor],
) -> tuple[Tensor, dict[str, float]]:
    """The mean loss of one session of each person, by lot, and what it paid."""
    sessions = Sessions(audience, people, int(dice.integers(2**31)))
    never = np.zeros_like(sessions.seen) if prior is None else np.isneginf(prior)
    leaning = torch.from_numpy(np.where(never, 0.0, 0.0 if prior is None else prior)).float()
    used, rows = torch.from_numpy(sessions.seen | never), torch.arange(len(people))
    state = _after(network, sessions.obs)
    steps: list[Step] = []
    log_probs, entropies, values, there = [], [], [], []
    while len(steps) < LENGTH:
        there.append(~sessions.left)
        logits = (network.logits(state) + leaning) / config.temperature
        log_pi = logits.masked_fill(used, -torch.inf).log_softmax(1)
        noise = torch.from_numpy(dice.gumbel(size=log_pi.shape)).float()
        item = (log_pi.detach() + noise).argmax(1)
        log_probs.append(log_pi[rows, item])
        entropies.append(-(log_pi.exp() * log_pi.masked_fill(used, 0.0)).sum(1))
        values.append(network.critic(state).squeeze(-1))
        steps.append(sessions.step(item.numpy()))
        used = used.clone()
        used[rows, item] = True
        watched = torch.from_numpy(sessions.obs[:, -1:])
        event = network.items(watched[..., 0] - 1) + network.stars(watched[..., 1])
        ahead = network.gru(event, state[None].contiguous())[1][0]
        state = torch.where(torch.from_numpy(sessions.consumed)[:, None], ahead, state)
    values.append(network.critic(state).squeeze(-1))
    value = torch.stack(values)
    known = value.detach().double().numpy()
    reward = np.stack([step.reward for step in steps])
    advantages = gae(
        reward,
        np.stack([step.discount(config.gamma) for step in steps]),
        known[:-1],
        known[1:],
        config.lam,
        np.stack([step.boundary for step in steps]),
    )
    here = np.stack(there)
    advantage = torch.from_numpy(advantages).float()
    chosen = torch.from_numpy(here)
    terms = loss(
        torch.stack(log_probs)[chosen],
        torch.stack(entropies)[chosen],
        value[:-1][chosen],
        advantage[chosen] / max(float(advantages[here].std()), 1e-6),
        (advantage + value[:-1].detach())[chosen],
        config,
    )
    paid = float(reward.sum(axis=0).mean())
    entropy = float(torch.stack(entropies).detach()[chosen].mean())
    return terms.mean(), {"paid": paid, "entropy": entropy}
