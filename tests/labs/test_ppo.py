"""The exercises of ``policies/ppo``: the mistakes that readers make do not pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rlcourse.labs.ppo  # registers the checks
from rlcourse.algorithms import ppo
from rlcourse.labs import verdict

RIGHT = [2.4, 1.0, -1.5, -0.8, 0.0, 2.0, -1.0, 0.0]


def by_hand(**changed: float) -> list[float]:
    """The right numbers with some of them replaced: ``at4=1.0``."""
    return [changed.get(f"at{k}", number) for k, number in enumerate(RIGHT)]


# --- mistakes that readers make, each with the words that must be in the reply --------------------


def ratio_of(log_prob: Tensor, old: Tensor) -> Tensor:
    return (log_prob - old).exp()


def no_min(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    return -ratio_of(log_prob, old).clamp(1 - clip, 1 + clip) * gain


def no_clip(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    return -ratio_of(log_prob, old) * gain


def maximised(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    return -ppo.clipped_loss(log_prob, old, gain, clip)


def with_max(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    ratio = ratio_of(log_prob, old)
    return -torch.max(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)


def upside_down(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    return ppo.clipped_loss(old, log_prob, gain, clip)


def not_a_ratio(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    ratio = log_prob - old
    return -torch.min(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)


def averaged(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    return ppo.clipped_loss(log_prob, old, gain, clip).mean()


def detached(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    return ppo.clipped_loss(log_prob.detach(), old, gain, clip)


def always_a_fifth(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
    return ppo.clipped_loss(log_prob, old, gain, 0.2) * (1.0 if clip == 0.2 else 0.0)


def swapped(values: Any, returns: Any) -> Any:
    spread = np.var(values)
    return math.nan if spread == 0 else 1 - np.var(returns - values) / spread


def squares(values: Any, returns: Any) -> Any:
    spread = np.var(returns)
    return math.nan if spread == 0 else 1 - np.mean((returns - values) ** 2) / spread


def correlation(values: Any, returns: Any) -> Any:
    if np.var(values) == 0 or np.var(returns) == 0:
        return 0.0
    return np.corrcoef(values, returns)[0, 1] ** 2


def nothing_to_explain(values: Any, returns: Any) -> Any:
    return 1 - np.var(returns - values) / max(np.var(returns), 1e-12)


def sample_deviation(x: Any) -> Any:
    return (x - x.mean()) / (np.std(x, ddof=1) if len(x) > 1 else 1.0)


def bare(x: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return (x - x.mean()) / x.std()


def only_scaled(x: Any) -> Any:
    return x / (x.std() + 1e-12)


def coarse(x: Any) -> Any:
    return (x - x.mean()) / (x.std() + 1e-5)


def first(log_ratio: Any) -> Any:
    return -np.mean(log_ratio)


def second(log_ratio: Any) -> Any:
    return np.mean(log_ratio**2) / 2


def other_way(log_ratio: Any) -> Any:
    return np.mean(np.expm1(-log_ratio) + log_ratio)


def summed(log_ratio: Any) -> Any:
    return np.sum(np.expm1(log_ratio) - log_ratio)


def plain_gradient(g: Any, F: Any, delta: float) -> Any:
    return np.sqrt(2 * delta / (g @ F @ g)) * g


def not_scaled(g: Any, F: Any, delta: float) -> Any:
    return delta * np.linalg.pinv(F) @ g


def half_forgotten(g: Any, F: Any, delta: float) -> Any:
    way = np.linalg.pinv(F) @ g
    return np.sqrt(delta / (way @ F @ way)) * way


def damped(g: Any, F: Any, delta: float) -> Any:
    way = np.linalg.solve(F + 0.1 * np.eye(len(g)), g)
    return np.sqrt(2 * delta / (way @ F @ way)) * way


def inverted(g: Any, F: Any, delta: float) -> Any:
    way = np.linalg.inv(F) @ g
    if abs(way).max() > 1e6:  # what the rounding of a singular matrix may come to
        raise np.linalg.LinAlgError("Singular matrix")
    return np.sqrt(2 * delta / (way @ F @ way)) * way


def ratios(module: Any, **settings: Any) -> list[Tensor]:
    seen: list[Tensor] = []

    def spy(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        seen.append((log_prob - old).detach().exp())
        return ppo.clipped_loss(log_prob, old, gain, clip)

    module.train(module.Config(**settings), loss=spy)
    return seen


def looks_at_the_first_pass(module: Any) -> bool:
    return bool((ratios(module, steps=1024, epochs=4)[0] == 1).all())


def plays_one_batch(module: Any) -> bool:
    return all(bool((ratio == 1).all()) for ratio in ratios(module, steps=256, epochs=4))


def makes_one_pass(module: Any) -> bool:
    return all(bool((ratio == 1).all()) for ratio in ratios(module, steps=1024, epochs=1))


def judges_the_loss(module: Any) -> bool:
    losses = module.clipped_loss(torch.zeros(1), torch.zeros(1), torch.ones(1), 0.2)
    return bool(losses != -1)


def descends(module: Any) -> bool:
    """Whether the agent does not walk uphill: true of another bug as well."""
    pulls: list[float] = []

    def spy(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        pulls.append(float((ratio_of(log_prob, old).detach() * gain).mean()))
        return ppo.clipped_loss(log_prob, old, gain, clip)

    module.train(module.Config(steps=1024, epochs=4), loss=spy)
    return max(pulls) < 1e-6 or pulls[3] < pulls[0] + 1e-6 or module is not ppo


WRONG: list[tuple[str, Any, str]] = [
    ("by-hand", by_hand(at0=3.0), "a good action at ratio 1.5"),  # not clipped
    ("by-hand", by_hand(at1=1.6), "a good action at ratio 0.5"),  # clipped on the other side, too
    ("by-hand", by_hand(at2=-1.2), "a bad action at ratio 1.5"),  # the larger product
    ("by-hand", by_hand(at3=-0.5), "a bad action at ratio 0.5"),
    ("by-hand", by_hand(at4=2.0), "the derivative for a good action at ratio 1.5"),
    ("by-hand", by_hand(at6=0.0), "the derivative for a bad action at ratio 1.5"),  # no min
    ("by-hand", by_hand(at7=-1.0), "the derivative for a bad action at ratio 0.5"),
    ("by-hand", RIGHT[:4], "expected 8 numbers"),
    ("loss", no_min, "the min"),
    ("loss", no_clip, "what is clipped"),
    ("loss", maximised, "the sign"),
    ("loss", with_max, "the min"),
    ("loss", upside_down, "at ratio 1.5"),
    ("loss", not_a_ratio, "at ratio 1.5"),
    ("loss", averaged, "shape"),
    ("loss", detached, "no gradient"),
    ("loss", always_a_fifth, "clip 0.5"),
    ("loss", lambda *_: 1 / 0, "ZeroDivisionError"),
    ("loss", 1.0, "expected a function"),
    ("explained", swapped, "denominator"),
    ("explained", squares, "variances, not mean squares"),
    ("explained", correlation, "expected"),
    ("explained", nothing_to_explain, "expected nan"),
    ("normalise", sample_deviation, "divides by B"),
    ("normalise", bare, "a batch of one"),
    ("normalise", only_scaled, "the mean"),
    ("normalise", coarse, "small differences"),
    ("kl", first, "negative"),
    ("kl", second, "average over the batch"),
    ("kl", other_way, "the sign of the logarithm"),
    ("kl", summed, "average"),
    ("natural", plain_gradient, "the direction"),
    ("natural", not_scaled, "the length"),
    ("natural", half_forgotten, "the length"),
    ("natural", damped, "the direction"),
    ("natural", inverted, "Singular"),
    ("natural", lambda g, F, delta: 1.0, "shape"),
    ("hunt", lambda module: True, "accused"),
    ("hunt", lambda module: False, "let the bug pass"),
    ("hunt", looks_at_the_first_pass, "accused"),
    ("hunt", plays_one_batch, "accused"),
    ("hunt", makes_one_pass, "accused"),
    ("hunt", judges_the_loss, "let the bug pass"),
    ("hunt", descends, "its ratios are honest"),
    ("hunt", "True", "expected a function"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(name: str, answer: Any, reply: str) -> None:
    passed, message = verdict(f"ppo/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_a_loss_written_in_another_way_passes() -> None:
    """By cases, without min or clamp: gradients are the same, not the order of operations."""

    def by_cases(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        ratio = ratio_of(log_prob, old)
        edge = torch.where(gain > 0, 1 + clip, 1 - clip)
        paid = (gain > 0) & (ratio > edge) | (gain < 0) & (ratio < edge)
        return -torch.where(paid, edge, ratio) * gain

    passed, message = verdict("ppo/loss", by_cases)
    assert passed, message


def test_the_other_fault_of_the_hunt_walks_downhill() -> None:
    config = ppo.Config(steps=4096, learning_rate_end=1e-3)
    good = [row["return"] for row in ppo.train(config).log[-20:]]
    bad = [row["return"] for row in rlcourse.labs.ppo._downhill(config).log[-20:]]
    assert np.mean(bad) < 12 < np.mean(good)
