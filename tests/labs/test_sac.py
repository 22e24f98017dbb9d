"""The exercises of ``policies/sac``: the mistakes that readers make do not pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from scipy.optimize import brentq
from scipy.special import entr, softmax
from torch import Tensor

import rlcourse.labs.sac  # registers the checks
from rlcourse.algorithms import sac
from rlcourse.labs import verdict
from rlcourse.networks import SquashedActor, TwinCritic
from rlcourse.replay import Batch

RIGHT = [0.75, 2 * math.log(4), 1.5 * math.log(3), math.log(4) - 0.75 * math.log(3)]


def by_hand(**changed: float) -> list[float]:
    """The right numbers with some of them replaced: ``at3=1.0``."""
    return [changed.get(f"at{k}", number) for k, number in enumerate(RIGHT)]


# --- mistakes that readers make, each with the words that must be in the reply --------------------


def minus_their_number(low: Any, high: Any) -> Any:
    return -float(len(low)), np.sum(np.log(high - low))


def whole_widths(low: Any, high: Any) -> Any:
    return np.sum(np.log(high - low) - 1), np.sum(np.log(high - low))


def from_the_top(low: Any, high: Any) -> Any:
    return np.sum(np.log(high) - 1), np.sum(np.log(2 * high))


def one_for_all(low: Any, high: Any) -> Any:
    half = (high - low) / 2
    return np.sum(np.log(half)) - 1, np.sum(np.log(2 * half))


def normal_entropy(low: Any, high: Any) -> Any:
    half = (high - low) / 2
    return np.sum(np.log(half) - 1), np.sum(np.log(half) + 0.5 * np.log(2 * np.pi * np.e))


def solved(P: Any, paid: Any, pi: Any, gamma: float) -> Any:
    return np.linalg.solve(np.eye(len(P)) - gamma * np.einsum("sa,sax->sx", pi, P), paid)


def hard_values(P: Any, R: Any, pi: Any, gamma: float, alpha: float) -> Any:
    return solved(P, (pi * R).sum(axis=1), pi, gamma)


def fined(P: Any, R: Any, pi: Any, gamma: float, alpha: float) -> Any:
    return solved(P, (pi * R - alpha * entr(pi)).sum(axis=1), pi, gamma)


def not_a_number(P: Any, R: Any, pi: Any, gamma: float, alpha: float) -> Any:
    with np.errstate(all="ignore"):
        return solved(P, (pi * (R - alpha * np.log(pi))).sum(axis=1), pi, gamma)


def entropy_once(P: Any, R: Any, pi: Any, gamma: float, alpha: float) -> Any:
    return hard_values(P, R, pi, gamma, alpha) + alpha * entr(pi).sum(axis=1)


def entropy_later(P: Any, R: Any, pi: Any, gamma: float, alpha: float) -> Any:
    nats = entr(pi).sum(axis=1)
    return solved(P, (pi * R).sum(axis=1) + alpha * nats, pi, gamma) - alpha * nats


def soft_optimum(P: Any, R: Any, pi: Any, gamma: float, alpha: float) -> Any:
    v = np.zeros(len(P))
    for _ in range(500):
        q = R + gamma * P @ v
        v = q.max(axis=1) if alpha == 0 else alpha * np.log(np.exp(q / alpha).sum(axis=1))
    return v


def larger(reward: Any, discount: Any, q1: Any, q2: Any, log_p: Any, alpha: float) -> Any:
    soft = (np.exp(log_p) * (np.maximum(q1, q2) - alpha * log_p)).sum(axis=1)
    return reward + discount * soft


def averages_first(reward: Any, discount: Any, q1: Any, q2: Any, log_p: Any, alpha: float) -> Any:
    p = np.exp(log_p)
    both = np.minimum((p * q1).sum(axis=1), (p * q2).sum(axis=1))
    return reward + discount * (both - alpha * (p * log_p).sum(axis=1))


def best_action(reward: Any, discount: Any, q1: Any, q2: Any, log_p: Any, alpha: float) -> Any:
    return reward + discount * np.minimum(q1, q2).max(axis=1)


def taxed(reward: Any, discount: Any, q1: Any, q2: Any, log_p: Any, alpha: float) -> Any:
    soft = (np.exp(log_p) * (np.minimum(q1, q2) + alpha * log_p)).sum(axis=1)
    return reward + discount * soft


def after_death(reward: Any, discount: Any, q1: Any, q2: Any, log_p: Any, alpha: float) -> Any:
    p = np.exp(log_p)
    value = (p * np.minimum(q1, q2)).sum(axis=1)
    return reward + discount * value - alpha * (p * log_p).sum(axis=1)


def unweighted(reward: Any, discount: Any, q1: Any, q2: Any, log_p: Any, alpha: float) -> Any:
    return reward + discount * (np.minimum(q1, q2) - alpha * log_p).mean(axis=1)


def wired_backwards(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
    return log_alpha * (log_prob.detach().mean() + target)


def sign_of_the_target(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
    return -log_alpha * (log_prob.detach().mean() - target)


def entropy_for_surprise(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
    return -log_alpha * (-log_prob.detach().mean() + target)


def leaks(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
    return -log_alpha * (log_prob.mean() + target)


def alpha_in_front(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
    return -log_alpha.exp() * (log_prob.detach().mean() + target)


def summed(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
    return -log_alpha * (log_prob.detach() + target).sum()


def a_number_each(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
    return -log_alpha * (log_prob.detach() + target)


def cut_off(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
    return -log_alpha.detach() * (log_prob.detach().mean() + target)


def narrow_search(r: Any, wanted: float) -> Any:
    return brentq(lambda a: entr(softmax(r / a)).sum() - wanted, 0.05, 50)


def hottest(r: Any, wanted: float) -> Any:
    return np.ptp(r) / wanted


def coldness(r: Any, wanted: float) -> Any:
    return 1 / price(r, wanted)


def in_bits(r: Any, wanted: float) -> Any:
    return price(r, wanted * math.log(2))


def rough(r: Any, wanted: float) -> Any:
    return float(f"{price(r, wanted):.2g}")


def price(r: Any, wanted: float) -> Any:
    spread = np.ptp(r)

    def surplus(x: float) -> float:
        return float(entr(softmax(r / spread * np.exp(-x))).sum() - wanted)

    return spread * np.exp(brentq(surplus, -12, 12, xtol=1e-12))


def loss_of(module: Any, discount: float, alpha: float) -> Tensor:
    box = Box(-1, 1, (2,))
    torch.manual_seed(0)
    actor, critics = SquashedActor(box, box, (8,)), TwinCritic(box, box, (8,))
    batch = Batch(torch.rand(16, 2), torch.rand(16, 2), torch.ones(16),
                  torch.full((16,), discount), torch.rand(16, 2), None, None)  # fmt: skip
    dice = torch.Generator().manual_seed(0)
    found: Tensor = module.critic_loss(
        critics, critics, actor, batch, torch.tensor(alpha), dice
    ).detach()
    return found


def looks_at_the_living(module: Any) -> bool:
    return not torch.equal(loss_of(module, 0.9, 0.0), loss_of(module, 0.9, 1.0))


def sets_the_price_to_zero(module: Any) -> bool:
    return not torch.equal(loss_of(module, 0.0, 0.0), loss_of(module, 0.0, 0.0))


def any_other_loss(module: Any) -> bool:
    return not torch.equal(loss_of(module, 0.9, 1.0), loss_of(sac, 0.9, 1.0))


WRONG: list[tuple[str, Any, str]] = [
    ("by-hand", by_hand(at0=0.9), "the probability of the first lever"),  # e^(2 ln 3)
    ("by-hand", by_hand(at1=math.log(4)), "the soft value"),  # without the temperature
    ("by-hand", by_hand(at2=RIGHT[1]), "the expected reward"),  # with the entropy in it
    ("by-hand", by_hand(at3=2 * RIGHT[3]), "the entropy"),  # in rewards
    ("by-hand", RIGHT[:3], "expected 4 numbers"),
    ("units", minus_their_number, "half a width"),
    ("units", whole_widths, "half widths are one"),
    ("units", from_the_top, "does not lie around zero"),
    ("units", one_for_all, "half widths are one"),
    ("units", normal_entropy, "half widths are one"),
    ("units", 3.0, "expected a function"),
    ("judge", hard_values, "entropy of every step"),
    ("judge", fined, "entropy of every step"),
    ("judge", not_a_number, "0 log 0"),
    ("judge", entropy_once, "discounted like the rewards"),
    ("judge", entropy_later, "entropy of every step"),
    ("judge", soft_optimum, "without any entropy"),
    ("buttons", larger, "the smaller for each action"),
    ("buttons", averages_first, "the smaller for each action"),
    ("buttons", best_action, "then the average"),
    ("buttons", unweighted, "then the average"),
    ("buttons", taxed, "the sign of the entropy"),
    ("buttons", after_death, "after an end"),
    ("thermostat", wired_backwards, "in which direction"),
    ("thermostat", sign_of_the_target, "too predictable"),
    ("thermostat", entropy_for_surprise, "too predictable"),
    ("thermostat", leaks, "gradient in log_prob"),
    ("thermostat", alpha_in_front, "slope"),
    ("thermostat", summed, "an average"),
    ("thermostat", a_number_each, "expected one number"),
    ("thermostat", cut_off, "no gradient flows"),
    ("thermostat", lambda *_: 1 / 0, "ZeroDivisionError"),
    ("price", narrow_search, "it raised ValueError"),
    ("price", hottest, "two levers"),
    ("price", coldness, "two levers"),
    ("price", in_bits, "two levers"),
    ("price", rough, "two levers"),
    ("hunt", lambda module: True, "accused"),
    ("hunt", lambda module: False, "let the bug pass"),
    ("hunt", looks_at_the_living, "accused"),
    ("hunt", sets_the_price_to_zero, "let the bug pass"),
    ("hunt", any_other_loss, "but pays nothing after an end"),
    ("hunt", "True", "expected a function"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(name: str, answer: Any, reply: str) -> None:
    passed, message = verdict(f"sac/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_other_roads_to_a_right_answer_pass() -> None:
    """A price by bisection on the inverse temperature; a loss written with the entropy."""

    def bisected(r: Any, wanted: float) -> float:
        low, high = 1e-6, 1e6  # inverse temperatures, in units of one over the spread
        for _ in range(200):
            middle = math.sqrt(low * high)
            sure = entr(softmax(middle * r / np.ptp(r))).sum() < wanted
            low, high = (low, middle) if sure else (middle, high)
        return float(np.ptp(r) / middle)

    def by_entropy(log_alpha: Tensor, log_prob: Tensor, target: float) -> Tensor:
        entropy = -log_prob.mean().item()
        return (log_alpha * (entropy - target)).sum()

    for name, answer in (("price", bisected), ("thermostat", by_entropy), ("price", price)):
        passed, message = verdict(f"sac/{name}", answer)
        assert passed, message


def test_the_colleagues_module_differs_only_in_what_follows_an_end() -> None:
    """Without a price on entropy nobody can tell it from the package."""
    colleague = rlcourse.labs.sac.hunt("entropy-after-death")
    assert torch.equal(loss_of(colleague, 0.9, 0.0), loss_of(sac, 0.9, 0.0))
    assert not torch.equal(loss_of(colleague, 0.0, 1.0), loss_of(sac, 0.0, 1.0))
