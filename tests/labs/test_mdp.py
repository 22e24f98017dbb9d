"""The exercises of the chapter on MDPs: named wrong answers do not pass, other right ones do."""

from __future__ import annotations

import numpy as np
import pytest

from rlcourse.labs import verdict

EXERCISES = ("machine", "goal-probability", "reward", "mortal", "last-turn", "hunt-terminal")


# --- named wrong answers ------------------------------------------------------------------------


def machine(**changes):
    P = np.zeros((3, 2, 3))
    P[0, 0], P[1, 0], P[2, 0], P[:, 1] = [0.7, 0.3, 0], [0, 0.6, 0.4], [0, 0, 1], [1, 0, 0]
    R = np.array([[10.0, -5.0], [6.0, -5.0], [0.0, -5.0]])
    for place, value in changes.items():
        {"P": P, "R": R}[place[0]][value[0]] = value[1]
    return P, R


def action_first():
    P, R = machine()
    return P.transpose(1, 0, 2), R.T


def one_step_only(P, goal):
    h = P[:, goal].copy()
    h[goal] = 1.0
    return h


def forgets_the_goal_itself(P, goal):
    return np.linalg.solve(np.eye(len(P)) - P, P[:, goal])


def always_the_last_state(P, goal):
    h = np.linalg.solve(np.eye(len(P)) - P, P[:, -1])
    h[-1] = 1.0
    return h


def a_little_discount(P, goal):
    h = np.linalg.solve(np.eye(len(P)) - 0.99 * P, P[:, goal])
    h[goal] = 1.0
    return h


def mortal(stay=0.0, first=1.0, last=0.0):
    def build(P, r, gamma):
        n = len(r)
        world = np.zeros((n + 1, n + 1))
        world[:n, :n] = gamma * P + stay * (1 - gamma) * np.eye(n)
        world[:n, n] = (1 - gamma) * (1 - stay)
        world[n, n] = last
        return world, np.append(r * (gamma if first == 0 else 1.0), 0.0)

    return build


def the_chain_itself(P, r, gamma):
    n = len(r)
    world = np.zeros((n + 1, n + 1))
    world[:n, :n] = P
    return world, np.append(r, 0.0)


def leaves_it(P, terminal):
    return P


def zeroes_the_columns(P, terminal):
    return np.where(terminal[None, :], 0.0, P)


def zeroes_the_living(P, terminal):
    return np.where(terminal[:, None], P, 0.0)


def discounts_everything(P, terminal):
    return 0.999 * P


def clears_the_diagonal(P, terminal):
    return P - np.diag(np.diag(P))


WRONG = [
    ("machine", "a repair pays", machine(R=((slice(None), 1), 5.0))),
    ("machine", "wear and stay exchanged", machine(P=((0, 0), [0.3, 0.7, 0]))),
    ("machine", "a row that does not sum to one", machine(P=((1, 0), [0, 0.6, 0.3]))),
    ("machine", "a broken machine repairs itself", machine(P=((2, 0), [1, 0, 0]))),
    ("machine", "the action first", action_first()),
    ("goal-probability", "one step only", one_step_only),
    ("goal-probability", "not at the goal itself", forgets_the_goal_itself),
    ("goal-probability", "always the last state", always_the_last_state),
    ("goal-probability", "a little discount", a_little_discount),
    ("reward", "only the goal pays", {"step": 0.0, "goal": 1.0, "hole": 0.0}),
    ("reward", "holes are harmless", {"step": -1.0, "goal": 10.0, "hole": 0.0}),
    ("reward", "holes hurt less than a long way", {"step": -1.0, "goal": 0.0, "hole": -6.0}),
    ("reward", "walking pays", {"step": 1.0, "goal": 10.0, "hole": -100.0}),
    ("mortal", "the survivor stays", mortal(stay=1.0)),
    ("mortal", "a coin before the first reward", mortal(first=0.0)),
    ("mortal", "a last row that leads to itself", mortal(last=1.0)),
    ("mortal", "no coin", the_chain_itself),
    ("last-turn", "a round number", 0.97),
    ("last-turn", "the other turn", 0.85),
    ("last-turn", "two decimals", 0.98),
    ("hunt-terminal", "as it is", leaves_it),
    ("hunt-terminal", "columns for rows", zeroes_the_columns),
    ("hunt-terminal", "the mask upside down", zeroes_the_living),
    ("hunt-terminal", "a little discount", discounts_everything),
    ("hunt-terminal", "only the loops", clears_the_diagonal),
]


def test_every_exercise_refuses_two_answers():
    named = [name for name, *_ in WRONG]
    assert set(named) == set(EXERCISES)
    assert all(named.count(name) >= 2 for name in EXERCISES)


@pytest.mark.parametrize(("name", "what", "answer"), WRONG, ids=[f"{n}: {w}" for n, w, _ in WRONG])
def test_wrong_answers_do_not_pass(name, what, answer):
    passed, message = verdict(f"mdp/{name}", answer)
    assert passed is False
    assert len(message.split()) >= 5, "a message says what was expected and what to look at"


def test_a_second_right_answer_passes_too():
    """The checks judge behaviour, not the wording of our solution."""

    def by_powers(P, goal):
        h, reach = np.zeros(len(P)), P[:, goal].copy()
        for _ in range(2000):
            h, reach = h + reach, P @ reach
        h[goal] = 1.0
        return h

    def by_mask(P, terminal):
        return (1.0 - terminal)[:, None] * P

    assert verdict("mdp/goal-probability", by_powers).passed
    assert verdict("mdp/hunt-terminal", by_mask).passed
    assert verdict("mdp/reward", {"step": -0.01, "goal": 1.0, "hole": -1.0}).passed
