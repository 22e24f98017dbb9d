"""The exercises of ``values/approximation``: the mistakes that readers make do not pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlcourse.algorithms import linear
from rlcourse.labs import verdict

# --- mistakes that readers make, each with the words that must be in the reply --------------------


def one_grid_only(s: float, tilings: int, cells: int) -> Any:
    x = np.zeros((tilings, cells + 1))
    x[:, int(s * cells)] = 1
    return x.ravel()


def cells_without_the_edge(s: float, tilings: int, cells: int) -> Any:
    x = np.zeros((tilings, cells))
    x[:, int(s * cells)] = 1
    return x.ravel()


def tiles_not_flat(s: float, tilings: int, cells: int) -> Any:
    return one_grid_only(s, tilings, cells).reshape(tilings, -1)


def shift_too_small(s: float, tilings: int, cells: int) -> Any:
    x = np.zeros((tilings, cells + 1))
    for k in range(tilings):
        x[k, int((s + k / tilings / cells / 2) * cells)] = 1
    return x.ravel()


def delta(w: Any, step: Any) -> Any:
    return step.reward + step.discount * (w @ step.next_x) - w @ step.x


def without_ratio(w: Any, h: Any, step: Any) -> Any:
    return delta(w, step) * step.x, 0 * h


def ratio_on_the_target_only(w: Any, h: Any, step: Any) -> Any:
    target = step.rho * (step.reward + step.discount * (w @ step.next_x))
    return (target - w @ step.x) * step.x, 0 * h


def full_gradient(w: Any, h: Any, step: Any) -> Any:
    return step.rho * delta(w, step) * (step.x - step.discount * step.next_x), 0 * h


def uphill(w: Any, h: Any, step: Any) -> Any:
    return -step.rho * delta(w, step) * step.x, 0 * h


def next_features(w: Any, h: Any, step: Any) -> Any:
    return step.rho * delta(w, step) * step.next_x, 0 * h


def only_one_array(w: Any, h: Any, step: Any) -> Any:
    return step.rho * delta(w, step) * step.x


def semi_gradient(w: Any, h: Any, step: Any) -> Any:
    return step.rho * delta(w, step) * step.x, 0 * h


def fixed_discount(w: Any, h: Any, step: Any) -> Any:
    error = step.reward + 0.9 * (w @ step.next_x) - w @ step.x
    return step.rho * error * step.x, 0 * h


def symmetric_part(X: Any, P: Any, d: Any, gamma: float) -> bool:
    A = X.T @ np.diag(d) @ (np.eye(len(d)) - gamma * P) @ X
    return bool(np.linalg.eigvalsh((A + A.T) / 2).min() < -1e-9)


def any_rounding(X: Any, P: Any, d: Any, gamma: float) -> bool:
    A = X.T @ np.diag(d) @ (np.eye(len(d)) - gamma * P) @ X
    return bool(np.linalg.eigvals(A).real.min() <= 0)


def visits_forgotten(X: Any, P: Any, d: Any, gamma: float) -> bool:
    A = X.T @ (np.eye(len(d)) - gamma * P) @ X
    return bool(np.linalg.eigvals(A).real.min() < -1e-9)


def features_forgotten(X: Any, P: Any, d: Any, gamma: float) -> bool:
    A = np.diag(d) @ (np.eye(len(d)) - gamma * P)
    return bool(np.linalg.eigvals(A).real.min() < -1e-9)


def gamma_forgotten(X: Any, P: Any, d: Any, gamma: float) -> bool:
    A = X.T @ np.diag(d) @ (np.eye(len(d)) - P) @ X
    return bool(np.linalg.eigvals(A).real.min() < -1e-9)


def correction_added(w: Any, h: Any, step: Any) -> Any:
    e, foreseen = delta(w, step), h @ step.x
    dw = step.rho * (e * step.x + step.discount * foreseen * step.next_x)
    return dw, (step.rho * e - foreseen) * step.x


def correction_along_x(w: Any, h: Any, step: Any) -> Any:
    e, foreseen = delta(w, step), h @ step.x
    dw = step.rho * (e - step.discount * foreseen) * step.x
    return dw, (step.rho * e - foreseen) * step.x


def correction_undiscounted(w: Any, h: Any, step: Any) -> Any:
    e, foreseen = delta(w, step), h @ step.x
    dw = step.rho * (e * step.x - foreseen * step.next_x)
    return dw, (step.rho * e - foreseen) * step.x


def no_ratio_in_h(w: Any, h: Any, step: Any) -> Any:
    e, foreseen = delta(w, step), h @ step.x
    dw = step.rho * (e * step.x - step.discount * foreseen * step.next_x)
    return dw, (e - foreseen) * step.x


def gtd2(w: Any, h: Any, step: Any) -> Any:
    e, foreseen = delta(w, step), h @ step.x
    return step.rho * foreseen * (step.x - step.discount * step.next_x), e * step.x


def looks_for_explosions(module: Any) -> bool:
    M, _ = module.expected(module.baird(), 0.99, module.semi_gradient)
    return bool(np.linalg.eigvals(M).real.min() > -1e-9)


WRONG: list[tuple[str, Any, str]] = [
    ("by-hand", [1.3, 2.0, 2.0], "value of A"),  # one weight moved instead of two
    ("by-hand", [1.6, 2.0, 2.0], "value of B"),  # as a table would
    ("by-hand", [1.6, 2.3, 2.3], "value of C"),
    ("by-hand", 1.6, "3 numbers"),
    ("by-hand", "1.6", "3 numbers"),
    ("tiles", one_grid_only, "shifted"),
    ("tiles", cells_without_the_edge, "length"),
    ("tiles", tiles_not_flat, "shape"),
    ("tiles", shift_too_small, "shifted"),
    ("tiles", 3, "expected a function"),
    ("semi-gradient", without_ratio, "ratio"),
    ("semi-gradient", ratio_on_the_target_only, "ratio"),
    ("semi-gradient", full_gradient, "which state"),
    ("semi-gradient", uphill, "sign"),
    ("semi-gradient", next_features, "which state"),
    ("semi-gradient", fixed_discount, "discount = 0.5"),
    ("semi-gradient", only_one_array, "two arrays"),
    ("oracle", symmetric_part, "A itself"),
    ("oracle", any_rounding, "eigenvalues of zero"),
    ("oracle", visits_forgotten, "visits"),
    ("oracle", features_forgotten, "Baird"),
    ("oracle", gamma_forgotten, "gamma = 0.8"),
    ("oracle", lambda X, P, d, gamma: True, "with a table"),
    ("oracle", lambda X, P, d, gamma: "no", "True or False"),
    ("oracle", lambda X, P, d, gamma: 1 / 0, "ZeroDivisionError"),
    ("tdc", semi_gradient, "h never moves"),
    ("tdc", correction_added, "sign of the correction"),
    ("tdc", correction_along_x, "features it points along"),
    ("tdc", correction_undiscounted, "its discount"),
    ("tdc", no_ratio_in_h, "target is rho * delta"),
    ("tdc", gtd2, "regression"),
    ("hunt", lambda module: True, "accused"),
    ("hunt", lambda module: False, "let the bug pass"),
    ("hunt", looks_for_explosions, "of that one is held still"),
    ("hunt", lambda module: 1 / 0, "ZeroDivisionError"),
    ("hunt", "True", "expected a function"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(name: str, answer: Any, reply: str) -> None:
    passed, message = verdict(f"approximation/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_an_update_that_breaks_in_the_rooms_is_told_so() -> None:
    calls = iter(range(100_000))

    def breaks(w: Any, h: Any, step: Any) -> Any:
        if len(w) == 8 and next(calls) > 20:
            raise ZeroDivisionError("far into training")
        return linear.semi_gradient(w, h, step)

    passed, message = verdict("approximation/semi-gradient", breaks)
    assert passed is False
    assert "in the seven rooms it raised ZeroDivisionError" in message
