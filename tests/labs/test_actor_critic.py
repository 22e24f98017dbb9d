"""The exercises of ``policies/actor_critic``: the mistakes that readers make do not pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rlcourse.labs.actor_critic  # registers the checks
from rlcourse.algorithms import a2c
from rlcourse.labs import verdict

RIGHT = [1.0, -3.5, -0.75, 0.5, 0.4375, 0.1875, 0.125]


def by_hand(**changed: float) -> list[float]:
    """The right numbers with some of them replaced: ``at4=1.0``."""
    return [changed.get(f"at{k}", number) for k, number in enumerate(RIGHT)]


# --- mistakes that readers make, each with the words that must be in the reply --------------------


def leaking(log_prob: Tensor, entropy: Tensor, V: Tensor, G: Tensor, c_v: float, c_e: float) -> Any:
    return -log_prob * (G - V) + c_v / 2 * (G - V) ** 2 - c_e * entropy


def dead_critic(
    log_prob: Tensor, entropy: Tensor, V: Tensor, G: Tensor, c_v: float, c_e: float
) -> Any:
    A = (G - V).detach()
    return -log_prob * A + c_v / 2 * A**2 - c_e * entropy


def uphill(log_prob: Tensor, entropy: Tensor, V: Tensor, G: Tensor, c_v: float, c_e: float) -> Any:
    return log_prob * (G - V).detach() + c_v / 2 * (G - V) ** 2 - c_e * entropy


def likes_certainty(
    log_prob: Tensor, entropy: Tensor, V: Tensor, G: Tensor, c_v: float, c_e: float
) -> Any:
    return -log_prob * (G - V).detach() + c_v / 2 * (G - V) ** 2 + c_e * entropy


def no_half(log_prob: Tensor, entropy: Tensor, V: Tensor, G: Tensor, c_v: float, c_e: float) -> Any:
    return -log_prob * (G - V).detach() + c_v * (G - V) ** 2 - c_e * entropy


def averaged(*given: Any) -> Any:
    return a2c.actor_critic_loss(*given).mean()


def fixed_weights(
    log_prob: Tensor, entropy: Tensor, V: Tensor, G: Tensor, c_v: float, c_e: float
) -> Any:
    return a2c.actor_critic_loss(log_prob, entropy, V, G, 0.5, 0.1)


def numbers(*given: Any) -> Any:
    return a2c.actor_critic_loss(*given).detach()


def masked_gae(value_mask: Any, sum_mask: Any) -> Any:
    def answer(
        reward: Any, value: Any, ahead: Any, end: Any, late: Any, gamma: float, lam: float
    ) -> Any:
        A, total = np.zeros(len(reward)), 0.0
        for t in reversed(range(len(reward))):
            delta = reward[t] + gamma * value_mask(end[t], late[t]) * ahead[t] - value[t]
            A[t] = total = delta + gamma * lam * sum_mask(end[t], late[t]) * total
        return A

    return answer


limit_is_death = masked_gae(
    lambda end, late: not (end or late), lambda end, late: not (end or late)
)
no_mask = masked_gae(lambda end, late: True, lambda end, late: True)
sum_crosses_limits = masked_gae(lambda end, late: not end, lambda end, late: not end)
limit_wins = masked_gae(lambda end, late: late or not end, lambda end, late: not (end or late))


def without_lambda(
    reward: Any, value: Any, ahead: Any, end: Any, late: Any, gamma: float, lam: float
) -> Any:
    return masked_gae(lambda end, late: not end, lambda end, late: not (end or late))(
        reward, value, ahead, end, late, gamma, 1.0
    )


def without_gamma(
    reward: Any, value: Any, ahead: Any, end: Any, late: Any, gamma: float, lam: float
) -> Any:
    A, total = np.zeros(len(reward)), 0.0
    for t in reversed(range(len(reward))):
        total = 0.0 if end[t] or late[t] else total
        A[t] = total = reward[t] + gamma * (not end[t]) * ahead[t] - value[t] + lam * total
    return A


REWARD, VALUE = np.random.default_rng(0).normal(size=(2, 12))


def uses_the_critic(estimator: Any) -> bool:
    return bool(np.abs(estimator(REWARD, VALUE + 1) - estimator(REWARD, VALUE)).max() > 1e-9)


def to_the_last_digit(estimator: Any) -> bool:
    for s in range(12):
        change = estimator(REWARD, VALUE + np.eye(12)[s]) - estimator(REWARD, VALUE)
        if np.delete(change, s).any():
            return True
    return False


def does_it_fall_by_one(estimator: Any) -> bool:
    return not np.allclose(estimator(REWARD, VALUE + 1), estimator(REWARD, VALUE) - 1)


def looks_at_the_last_moment(estimator: Any) -> bool:
    change = estimator(REWARD, VALUE + np.eye(12)[11]) - estimator(REWARD, VALUE)
    return bool(abs(change[0]) > 1e-9)


def looks_at_the_second_moment(estimator: Any) -> bool:
    change = estimator(REWARD, VALUE + np.eye(12)[5]) - estimator(REWARD, VALUE)
    return bool(np.abs(np.delete(change, 5)).max() > 1e-9)


def swapped(times: Any) -> Any:
    alone = times.sum()
    return alone / times.sum(axis=0).max(), alone / times.max(axis=1).sum()


def one_barrier_for_all(times: Any) -> Any:
    return times.sum() / (len(times) * times.max()), times.sum() / times.sum(axis=0).max()


def across(times: Any) -> Any:
    return times.sum() / times.max(axis=0).sum(), times.sum() / times.sum(axis=1).max()


def perfect(times: Any) -> Any:
    return times.sum() / times.max(axis=1).sum(), times.shape[1]


def turned(P: Any, R: Any, pi: Any, V: Any, gamma: float, n: int, square_gamma: bool = True) -> Any:
    m, m2 = V, V**2
    for _ in range(n):
        q = R + gamma * P @ m
        q2 = R**2 + 2 * gamma * R * (P @ m) + (gamma**2 if square_gamma else gamma) * P @ m2
        m, m2 = (pi * q).sum(axis=1), (pi * q2).sum(axis=1)
    return m, m2


def no_coin(P: Any, R: Any, pi: Any, V: Any, gamma: float, n: int) -> Any:
    m, m2 = turned(P, R, pi, V, gamma, n - 1) if n > 1 else (V, V**2)
    q = R + gamma * P @ m
    q2 = R**2 + 2 * gamma * R * (P @ m) + gamma**2 * P @ m2
    return (pi * (q2 - q**2)).sum(axis=1)


def single_gamma(P: Any, R: Any, pi: Any, V: Any, gamma: float, n: int) -> Any:
    m, m2 = turned(P, R, pi, V, gamma, n, square_gamma=False)
    return m2 - m**2


def mean_square(P: Any, R: Any, pi: Any, V: Any, gamma: float, n: int) -> Any:
    return turned(P, R, pi, V, gamma, n)[1]


def one_turn(P: Any, R: Any, pi: Any, V: Any, gamma: float, n: int) -> Any:
    m, m2 = turned(P, R, pi, V, gamma, 1)
    return m2 - m**2


def started(module: Any) -> tuple[Any, Any]:
    run = module.Run(module.Config(workers=1), 0)
    return run, module.Worker(run.config, 0, 0, run.shared)


def weights_after(module: Any) -> bool:
    """Compares with the shared weights when the stretch is over: they have moved, in a sound one too."""
    run, worker = started(module)
    worker.stretch(a2c.actor_critic_loss)
    return not torch.equal(worker.weights.data, run.shared.weights)


def nothing_moves(module: Any) -> bool:
    run, worker = started(module)
    before = run.shared.weights.clone()
    worker.stretch(a2c.actor_critic_loss)
    return torch.equal(before, run.shared.weights)


def unequal_gradients(module: Any) -> bool:
    _, worker = started(module)
    stretch = worker.episodes.play(worker.act, 5)
    first = worker.gradient(stretch, a2c.actor_critic_loss).clone()
    return not torch.equal(worker.gradient(stretch, a2c.actor_critic_loss), first)


def anything_wrong(module: Any) -> bool:
    run, worker = started(module)
    before = run.shared.weights.clone()
    worker.stretch(a2c.actor_critic_loss)
    return not torch.equal(worker.weights.data, before) or unequal_gradients(module)


WRONG: list[tuple[str, Any, str]] = [
    ("by-hand", by_hand(at0=3.0), "the error of the first step"),  # its own value forgotten
    ("by-hand", by_hand(at2=-2.5), "the two-step advantage"),  # gamma forgotten
    ("by-hand", by_hand(at3=2.5), "the three-step advantage"),  # the yardstick forgotten
    ("by-hand", by_hand(at4=0.5), "gamma times lambda"),
    ("by-hand", by_hand(at5=0.4375), "what the third error is"),
    ("by-hand", by_hand(at6=0.4375), "belong to this episode"),
    ("by-hand", by_hand(at6=0.0), "belong to this episode"),  # the limit as a death
    ("by-hand", RIGHT[:4], "expected 7 numbers"),
    ("loss", leaking, "who may move the critic"),
    ("loss", dead_critic, "who may move the critic"),
    ("loss", uphill, "the sign of the policy term"),
    ("loss", likes_certainty, "the sign of the entropy"),
    ("loss", no_half, "who may move the critic"),
    ("loss", averaged, "shape"),
    ("loss", fixed_weights, "c_v = 2.0"),
    ("loss", numbers, "no gradient flows"),
    ("loss", lambda *_: 1 / 0, "ZeroDivisionError"),
    ("loss", 1.0, "expected a function"),
    ("gae", limit_is_death, "a time limit"),
    ("gae", no_mask, "a true end"),
    ("gae", sum_crosses_limits, "the sum is cut"),
    ("gae", limit_wins, "the end is true"),
    ("gae", without_lambda, "the recursion"),
    ("gae", without_gamma, "the recursion"),
    ("judge", lambda estimator: True, "is not asked"),
    ("judge", lambda estimator: False, "is asked"),
    ("judge", uses_the_critic, "the return less the value"),
    ("judge", to_the_last_digit, "GAE with lambda = 1"),
    ("judge", does_it_fall_by_one, "the bare return"),
    ("judge", looks_at_the_last_moment, "the one-step advantage"),
    ("judge", looks_at_the_second_moment, "one step in the first moment"),
    ("judge", lambda estimator: "yes", "expected True or False"),
    ("waiting", swapped, "the slowest of each round"),
    ("waiting", one_barrier_for_all, "a single worker"),
    ("waiting", across, "expected"),
    ("waiting", perfect, "own times"),
    ("variance", no_coin, "the actions make noise"),
    ("variance", single_gamma, "squared in a square"),
    ("variance", mean_square, "expected"),
    ("variance", one_turn, "the second turn"),
    ("hunt", lambda module: True, "accused"),
    ("hunt", lambda module: False, "let the bug pass"),
    ("hunt", weights_after, "accused"),
    ("hunt", nothing_moves, "let the bug pass"),
    ("hunt", unequal_gradients, "let the bug pass"),
    ("hunt", anything_wrong, "it fetches the weights"),
    ("hunt", "True", "expected a function"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(name: str, answer: Any, reply: str) -> None:
    passed, message = verdict(f"actor_critic/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_a_loss_written_in_another_way_passes() -> None:
    """The target held still by the reader as well, and a norm in the place of a square."""

    def other(
        log_prob: Tensor, entropy: Tensor, V: Tensor, G: Tensor, c_v: float, c_e: float
    ) -> Any:
        goal = G.detach()
        return c_v * torch.nn.functional.mse_loss(V, goal, reduction="none") / 2 - (
            log_prob * (goal - V.detach()) + c_e * entropy
        )

    passed, message = verdict("actor_critic/loss", other)
    assert passed, message


def test_a_judge_found_by_slopes_passes() -> None:
    def slopes(estimator: Any) -> bool:
        table = [estimator(REWARD, VALUE + 1e-3 * row) for row in np.eye(12)]
        change = (np.array(table) - estimator(REWARD, VALUE)) / 1e-3
        return bool(np.abs(change - np.diag(np.diag(change))).max() > 1e-6)

    passed, message = verdict("actor_critic/judge", slopes)
    assert passed, message


def test_the_estimators_of_the_check_are_what_they_are_called() -> None:
    """By the package's own targets, for an episode with a true end."""
    from rlcourse.returns import discounted_returns, gae, n_step_returns

    end = np.arange(12) == 11
    ahead = np.append(VALUE[1:], 99.0)
    given = REWARD, 0.9 * ~end
    named = {
        name: estimator(REWARD, VALUE)
        for name, estimator, _ in rlcourse.labs.actor_critic.ESTIMATORS
    }
    for name, right in (
        ("the return less the value", discounted_returns(*given) - VALUE),
        ("the one-step advantage", n_step_returns(*given, ahead, 1, end) - VALUE),
        ("the five-step advantage", n_step_returns(*given, ahead, 5, end) - VALUE),
        ("GAE with lambda = 0.9", gae(*given, VALUE, ahead, 0.9, end)),
        ("GAE with lambda = 1, a sum of errors", gae(*given, VALUE, ahead, 1.0, end)),
    ):
        np.testing.assert_allclose(named[name], right, atol=1e-12)
