"""The exercises of ``policies/policy_gradients``: the mistakes that readers make do not pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from rlcourse.algorithms import reinforce
from rlcourse.labs import hunt, verdict

# --- mistakes that readers make, each with the words that must be in the reply --------------------


def sign_turned(numbers: Any, action: int) -> Any:
    return softmax(numbers) - np.eye(len(numbers))[action]


def the_probabilities(numbers: Any, action: int) -> Any:
    return softmax(numbers)


def slope_of_pi(numbers: Any, action: int) -> Any:
    pi = softmax(numbers)
    return pi[action] * (np.eye(len(numbers))[action] - pi)


def overflows(numbers: Any, action: int) -> Any:
    e = np.exp(numbers)
    return np.eye(len(numbers))[action] - e / e.sum()


def less_the_mean_of_all(returns: Any) -> Any:
    return returns - returns.mean()


def only_the_baseline(returns: Any) -> Any:
    return (returns.sum() - returns) / (len(returns) - 1)


def normalised(returns: Any) -> Any:
    return (returns - returns.mean()) / (returns.std() + 1e-8)


def divided_by_all(returns: Any) -> Any:
    return returns - (returns.sum() - returns) / len(returns)


def the_mean_return(pi: Any, r: Any) -> Any:
    return pi @ r


def swapped_only(pi: Any, r: Any) -> Any:
    """Right for two levers."""
    return (1 - pi) @ r / (len(pi) - 1)


def lengths_not_squared(pi: Any, r: Any) -> Any:
    size = np.sqrt(((np.eye(len(pi)) - pi) ** 2).sum(axis=1))
    return (pi * size * r).sum() / (pi * size).sum()


def one_for_each(pi: Any, r: Any) -> Any:
    """Right numbers, too many of them."""
    size = ((np.eye(len(pi)) - pi) ** 2).sum(axis=1)
    return np.full(len(pi), (pi * size * r).sum() / (pi * size).sum())


def log_normal(u: float, mu: float, sigma: float) -> float:
    return float(-0.5 * ((u - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi))


def width_forgotten(a: float, mu: float, sigma: float, low: float, high: float) -> float:
    x = (a - (low + high) / 2) / ((high - low) / 2)
    return log_normal(np.arctanh(x), mu, sigma) - float(np.log(1 - x**2))


def slope_forgotten(a: float, mu: float, sigma: float, low: float, high: float) -> float:
    x = (a - (low + high) / 2) / ((high - low) / 2)
    return log_normal(np.arctanh(x), mu, sigma) - float(np.log((high - low) / 2))


def slope_added(a: float, mu: float, sigma: float, low: float, high: float) -> float:
    x = (a - (low + high) / 2) / ((high - low) / 2)
    return slope_forgotten(a, mu, sigma, low, high) + float(np.log(1 - x**2))


def even_in_the_box(a: float, mu: float, sigma: float, low: float, high: float) -> float:
    """A density, but of another variable."""
    return float(-np.log(high - low))


def start_forgotten(P: Any, R: Any, mu: Any, theta: Any, gamma: float) -> Any:
    return theorem(P, R, np.full(len(P), 1 / len(P)), theta, gamma)


def chain_not_transposed(P: Any, R: Any, mu: Any, theta: Any, gamma: float) -> Any:
    return theorem(P, R, mu, theta, gamma, transposed=False)


def no_pi(P: Any, R: Any, mu: Any, theta: Any, gamma: float) -> Any:
    return theorem(P, R, mu, theta, gamma) / softmax(theta, axis=1)


def no_value(P: Any, R: Any, mu: Any, theta: Any, gamma: float) -> Any:
    return theorem(P, R, mu, theta, gamma, less_v=False)


def undiscounted_visits(P: Any, R: Any, mu: Any, theta: Any, gamma: float) -> Any:
    """What is followed without gamma^t: the visits count alike, here for ever, so all sum to one."""
    pi = softmax(theta, axis=1)
    chain = np.einsum("sa,sax->sx", pi, P)
    rest = np.linalg.matrix_power(chain, 500)[0]
    full = theorem(P, R, rest, theta, gamma)
    return full * (1 - gamma)


def theorem(
    P: Any,
    R: Any,
    mu: Any,
    theta: Any,
    gamma: float,
    transposed: bool = True,
    less_v: bool = True,
) -> Any:
    pi = softmax(theta, axis=1)
    chain, one = np.einsum("sa,sax->sx", pi, P), np.eye(len(P))
    v = np.linalg.solve(one - gamma * chain, (pi * R).sum(axis=1))
    d = np.linalg.solve(one - gamma * (chain.T if transposed else chain), mu)
    q = R + gamma * P @ v
    return d[:, None] * pi * (q - v[:, None] * less_v)


def exact_numbers(module: Any) -> bool:
    log_prob = torch.zeros(4, requires_grad=True)
    module.policy_loss(log_prob, torch.tensor([1.0, -1.0, 2.0, 0.0]), 2).backward()
    return not torch.allclose(log_prob.grad, -torch.tensor([1.0, -1.0, 2.0, 0.0]) / 2)  # type: ignore[arg-type]


def same_advantages(module: Any) -> bool:
    log_prob = torch.zeros(2, requires_grad=True)
    module.policy_loss(log_prob, torch.tensor([1.0, 1.0]), 2).backward()
    return not torch.allclose(log_prob.grad, torch.tensor([-0.5, -0.5]))  # type: ignore[arg-type]


WRONG: list[tuple[str, Any, str]] = [
    ("score", sign_turned, "what you did"),
    ("score", the_probabilities, "what you did"),
    ("score", slope_of_pi, "what you did"),
    ("score", overflows, "hundreds"),
    ("score", 1.0, "expected a function"),
    ("weights", [6.0, 2.0, 0.5, 1.0, 0.5], "the whole return"),  # no discount
    ("weights", [3.0, 4.0, 0.5, 1.0, 0.5], "the reward-to-go"),  # no discount
    ("weights", [3.0, 1.0, 0.5, 1.0, 0.5], "the reward-to-go"),  # discounted from the start
    ("weights", [3.0, 2.0, 1.5, 1.0, 0.5], "less the value"),
    ("weights", [3.0, 2.0, 0.5, 2.0, 0.5], "drops"),  # gamma^t forgotten
    ("weights", [3.0, 2.0, 0.5, 1.0, 1 / 3], "its own baseline"),  # the mean of all three
    ("weights", "3", "5 numbers"),
    ("neighbours", less_the_mean_of_all, "mean of the others"),
    ("neighbours", only_the_baseline, "mean of the others"),
    ("neighbours", normalised, "mean of the others"),
    ("neighbours", divided_by_all, "mean of the others"),
    ("best", the_mean_return, "rare actions"),
    ("best", swapped_only, "the variance is"),
    ("best", lengths_not_squared, "rare actions"),
    ("best", one_for_each, "shape"),
    ("density", width_forgotten, "adds up to 2.0"),
    ("density", slope_forgotten, "adds up to"),
    ("density", slope_added, "adds up to"),
    ("density", even_in_the_box, "where mu and sigma belong"),
    ("theorem", start_forgotten, "where do they start"),
    ("theorem", chain_not_transposed, "which way does P go"),
    ("theorem", no_pi, "pi"),
    ("theorem", no_value, "advantage"),
    ("theorem", undiscounted_visits, "visits"),
    ("hunt", lambda module: True, "accused"),
    ("hunt", lambda module: False, "let the bug pass"),
    ("hunt", exact_numbers, "keeps its own weight"),
    ("hunt", same_advantages, "let the bug pass"),
    ("hunt", lambda module: 1 / 0, "ZeroDivisionError"),
    ("hunt", lambda module: "yes", "True or False"),
    ("hunt", "True", "expected a function"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(name: str, answer: Any, reply: str) -> None:
    passed, message = verdict(f"policy_gradients/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_the_right_theorem_passes() -> None:
    """The helper that the wrong answers are made of is right when nothing is left out."""
    assert verdict("policy_gradients/theorem", theorem).passed is True


def test_the_other_fault_of_the_hunt_changes_the_length_alone() -> None:
    from rlcourse.labs.policy_gradients import _mean_over_steps

    advantages, slopes = torch.tensor([1.0, -3.0, 0.5]), {}
    modules = {
        "sound": reinforce,
        "other": SimpleNamespace(policy_loss=_mean_over_steps),
        "buggy": hunt("one-weight-for-all"),
    }
    for name, module in modules.items():
        log_prob = torch.zeros(3, requires_grad=True)
        module.policy_loss(log_prob, advantages, 2).backward()
        assert log_prob.grad is not None
        slopes[name] = log_prob.grad / log_prob.grad.norm()
    torch.testing.assert_close(slopes["sound"], slopes["other"])
    assert float(slopes["buggy"].std()) == 0
    assert not torch.allclose(slopes["sound"], slopes["buggy"])
