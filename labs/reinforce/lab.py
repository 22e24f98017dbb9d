# ---
# lab: reinforce
# title: REINFORCE, every episode of it
# minutes: 90
# extras: ""
# version: 1
# ---

# %% [markdown]
# # REINFORCE, every episode of it
#
# A colleague has the best critic that there can be.
# It knows, exactly, what each action is worth on average.
# He subtracts it from the returns, as one subtracts a baseline, and the noise of his gradient falls
# to a fortieth of what it was.
# His agent then trains for a night and learns nothing at all.
#
# At the end of this lab you will know why, you will have predicted the number zero without running
# anything, and you will have mended his estimate without taking the critic away from it.
#
# Nothing here is drawn at random until the last task.
# The world is so small that you can write down *every* episode it can produce, with its chance.
# A mean is then a sum, and "right on average" is something that you check, not something that you
# hope.
#
# You need the chapter on policy gradients up to baselines.
# Six tasks, about ninety minutes.

# %%
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

# %% [markdown]
# ## The baker's three evenings
#
# Each evening a baker looks at the shelf.
# It is *empty* (state 0) or has bread *left over* (state 1).
# He can *rest* (action 0) or *bake* (action 1).
#
# - Empty shelf, rest: takes 2. Tomorrow it is empty.
# - Empty shelf, bake: takes 4. Tomorrow something is left over in 60 of 100 cases.
# - Bread left, rest: takes 5, for yesterday's bread is sold. Tomorrow it is empty in 75 of 100
#   cases.
# - Bread left, bake: takes 3, and there is always something left over.
#
# After three evenings the shop closes.
# There is no discount.
# `everything(pi)` lists all that can happen under a policy `pi`, an array `[states, actions]`.


# %%
class Episode(NamedTuple):
    """One thing that can happen: its chance, and three arrays ``[T]``."""

    chance: float
    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray


PAY = np.array([[2.0, 4.0], [5.0, 3.0]])  # [state, action]
NEXT = np.array([[[1.0, 0.0], [0.4, 0.6]], [[0.75, 0.25], [0.0, 1.0]]])  # [state, action, next]
EVENINGS = 3
THETA = np.array([[0.5, -0.5], [-0.5, 0.5]])  # the policy of this lab is softmax(THETA)


def everything(pi):
    """All episodes that can happen, by writing them down."""
    found = [(1.0, [0], [], [])]
    for _ in range(EVENINGS):
        longer = []
        for (chance, s, a, r), action, following in product(found, range(2), range(2)):
            p = chance * pi[s[-1], action] * NEXT[s[-1], action, following]
            if p > 0:
                longer.append((p, [*s, following], [*a, action], [*r, PAY[s[-1], action]]))
        found = longer
    return [Episode(p, np.array(s[:-1]), np.array(a), np.array(r)) for p, s, a, r in found]


def expected_takings(theta):
    """The mean return, by enumeration; no logarithm and no score in it."""
    return sum(e.chance * e.rewards.sum() for e in everything(softmax(theta, axis=1)))


def exact_worth(pi):
    """What each action is worth on each evening, ``[T, S, A]``, and each state, ``[T, S]``."""
    q, v = np.zeros((EVENINGS, 2, 2)), np.zeros((EVENINGS + 1, 2))
    for t in reversed(range(EVENINGS)):
        q[t] = PAY + NEXT @ v[t + 1]
        v[t] = (pi * q[t]).sum(axis=1)
    return q, v[:-1]


def slope(function, theta, h=1e-5):
    """The gradient of a function of the numbers behind the softmax, by central differences."""
    found = np.zeros_like(theta)
    for index in np.ndindex(theta.shape):
        step = np.zeros_like(theta)
        step[index] = h
        found[index] = (function(theta + step) - function(theta - step)) / (2 * h)
    return found


can_happen = everything(softmax(THETA, axis=1))
print(
    f"{len(can_happen)} episodes, their chances add up to {sum(e.chance for e in can_happen):.3f}"
)
for e in sorted(can_happen, key=lambda e: -e.chance)[:3]:
    print(f"chance {e.chance:.3f}   shelf {e.states}   does {e.actions}   takes {e.rewards}")
print("gradient of the mean takings, by differences:")
print(slope(expected_takings, THETA).round(4))

# %% [markdown]
# That last array is what every estimate in this lab must average to.
# Note how small it is beside the returns: everything he does earns between 6 and 14.
# A signal of one, under a weight of ten, is why this lab exists.
#
# ## Task 1: what followed
#
# A batch arrives as one long stream: several episodes, one behind the other.
# `ends[t]` is true where step `t` is the *last* of its episode.
# Write `returns_to_go(rewards, ends, gamma)`: for each step the discounted sum of its own reward
# and those that follow *in the same episode*.
# `rewards` is `[B]` of floats, `ends` is `[B]` of bools; the result is `[B]`.
#
# By hand, with `gamma = 0.5`: rewards 2, 4, 6 and 8, and the second step ends an episode.
# The returns are $2 + 0.5 \cdot 4 = 4$, then $4$, then $6 + 0.5 \cdot 8 = 10$, then $8$.


# %% tags=["task"] q="returns"
def returns_to_go(rewards, ends, gamma):
    """Discounted rewards from each step on, ``[B]``; ``ends[t]``: step t is an episode's last."""
    # BEGIN SOLUTION
    returns, future = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        future = rewards[t] + (0.0 if ends[t] else gamma * future)
        returns[t] = future
    return returns
    # END SOLUTION


# %% tags=["test"] q="returns" points=1
def test_returns_by_hand(returns_to_go):
    """Two episodes in one stream: 4, 4, 10, 8."""
    got = returns_to_go(np.array([2.0, 4.0, 6.0, 8.0]), np.array([False, True, False, True]), 0.5)
    look = "what a step may hear of the episode behind its own: nothing"
    expect(got, [4.0, 4.0, 10.0, 8.0], look=look, what="rewards 2, 4 | 6, 8 at gamma 0.5")


# %% tags=["test"] q="returns" points=1 hidden=true
def test_returns_by_double_loop(returns_to_go, rng):
    """Random streams, against the definition written as a sum for each step."""
    for _ in range(5):
        rewards, ends = rng.normal(size=30), rng.random(30) < 0.25
        gamma, wanted = float(rng.uniform(0.5, 1.0)), []
        for t in range(30):
            until = next((k for k in range(t, 30) if ends[k]), 29)
            wanted.append(sum(gamma ** (k - t) * rewards[k] for k in range(t, until + 1)))
        look = "where the sum of a step begins, where it stops, and the power of gamma in between"
        expect(returns_to_go(rewards, ends, gamma), wanted, look=look, what="a random stream")


# %% tags=["mutant"] q="returns" kills="test_returns_by_hand test_returns_by_double_loop"
def returns_to_go(rewards, ends, gamma):
    """A batch is one long episode: the next episode's takings flow into this one."""
    returns, future = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        future = rewards[t] + gamma * future
        returns[t] = future
    return returns


# %% tags=["mutant"] q="returns" kills="test_returns_by_hand test_returns_by_double_loop"
def returns_to_go(rewards, ends, gamma):
    """The flag says that an episode begins here, not that it ends here: off by one."""
    returns, future = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        returns[t] = future = rewards[t] + gamma * future
        if ends[t]:
            future = 0.0
    return returns


# %% tags=["mutant"] q="returns" kills="test_returns_by_hand test_returns_by_double_loop"
def returns_to_go(rewards, ends, gamma):
    """Every step of an episode is credited with the whole of it, what came before included."""
    returns, first = np.zeros(len(rewards)), 0
    for t in range(len(rewards)):
        if ends[t] or t == len(rewards) - 1:
            part = rewards[first : t + 1]
            returns[first : t + 1] = (gamma ** np.arange(len(part)) * part).sum()
            first = t + 1
    return returns


# %% tags=["mutant"] q="returns" kills="test_returns_by_hand test_returns_by_double_loop"
def returns_to_go(rewards, ends, gamma):
    """Discounts are counted from the start of the stream and not from the step that is judged."""
    weighted, future = gamma ** np.arange(len(rewards)) * rewards, 0.0
    returns = np.zeros(len(rewards))
    for t in reversed(range(len(rewards))):
        returns[t] = future = weighted[t] + (0.0 if ends[t] else future)
    return returns


# %% [markdown]
# ## Task 2: one episode, one estimate
#
# Write `estimate(theta, states, actions, weights)`, the sum over the steps of an episode of weight
# times score:
#
# $$
# \hat g = \sum_t w_t\, \nabla_\theta \log \pi(A_t \mid S_t; \theta), \qquad
# \frac{\partial \log \pi(a \mid s; \theta)}{\partial \theta_{s,b}} = \mathbb{1}\{a = b\} - \pi(b
# \mid s; \theta)
# $$
#
# `theta` is `[S, A]`, the numbers behind the softmax of each state; `states` and `actions` are
# whole numbers `[T]`, `weights` is `[T]`; the result is `[S, A]`.
# What the weights are is not this function's business: returns, returns less a baseline, anything.
#
# By hand: one state, two even actions.
# The baker does action 1 with weight 4, then action 0 with weight 2.
# The scores are $(-\tfrac12, \tfrac12)$ and $(\tfrac12, -\tfrac12)$, so the estimate is $(-1, 1)$.
#
# Two traps, both real.
# A state may come up more than once in an episode.
# And the numbers behind the softmax may be in the hundreds.


# %% tags=["task"] q="estimate"
def estimate(theta, states, actions, weights):
    """The sum of weight times score over an episode's steps, ``[S, A]``."""
    # BEGIN SOLUTION
    chances = np.exp(theta - theta.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    g = np.zeros_like(chances)
    for s, a, w in zip(states, actions, weights, strict=True):
        g[s] -= w * chances[s]
        g[s, a] += w
    return g
    # END SOLUTION


# %% tags=["test"] q="estimate" points=1
def test_estimate_by_hand(estimate):
    """One state, two steps: (-1, 1)."""
    zeros, steps = np.zeros((1, 2)), np.array([1, 0])
    got = estimate(zeros, np.array([0, 0]), steps, np.array([4.0, 2.0]))
    look = "whether both visits of the state have been counted"
    expect(got, [[-1.0, 1.0]], look=look, what="weights 4 and 2 in one state")
    got = estimate(np.zeros((2, 4)), np.array([1]), np.array([2]), np.array([4.0]))
    look = "what you did, less what you would have done on average"
    expect(got, [[0.0] * 4, [-1.0, -1.0, 3.0, -1.0]], look=look, what="one step, four actions")


# %% tags=["test"] q="estimate" points=2 hidden=true
def test_estimate_by_differences(estimate, rng):
    """Long random episodes, against differences of the weighted log-probability."""
    from scipy.special import log_softmax

    for shift in (0.0, 900.0, -900.0):
        theta, steps = rng.normal(size=(3, 4)) + shift, 12
        states, actions = rng.integers(3, size=steps), rng.integers(4, size=steps)
        weights, wanted, h = rng.normal(size=steps), np.zeros((3, 4)), 1e-4
        for index in np.ndindex(3, 4):
            sides = []
            for sign in (1, -1):
                moved = theta.copy()
                moved[index] += sign * h
                sides.append(weights @ log_softmax(moved, axis=1)[states, actions])
            wanted[index] = (sides[0] - sides[1]) / (2 * h)
        look = "states that come up again; a weight for each step; and, in the hundreds, exp"
        what = f"12 steps, 3 states, numbers around {shift:.0f}"
        expect(estimate(theta, states, actions, weights), wanted, look, 1e-5, what)


# %% tags=["mutant"] q="estimate" kills="test_estimate_by_hand test_estimate_by_differences"
def estimate(theta, states, actions, weights):
    """``g[states] += rows`` adds up: but of equal indices numpy keeps only the last."""
    chances = softmax(theta, axis=1)
    g = np.zeros_like(chances)
    g[states] += weights[:, None] * (np.eye(theta.shape[1])[actions] - chances[states])
    return g


# %% tags=["mutant"] q="estimate" kills="test_estimate_by_hand test_estimate_by_differences"
def estimate(theta, states, actions, weights):
    """The mean log-probability times the sum of the weights: every step is pushed alike."""
    chances = softmax(theta, axis=1)
    g = np.zeros_like(chances)
    for s, a in zip(states, actions, strict=True):
        g[s] += weights.sum() * (np.eye(theta.shape[1])[a] - chances[s]) / len(states)
    return g


# %% tags=["mutant"] q="estimate" kills="test_estimate_by_hand test_estimate_by_differences"
def estimate(theta, states, actions, weights):
    """The score is a one at the action taken; what one does on average is forgotten."""
    g = np.zeros(theta.shape)
    for s, a, w in zip(states, actions, weights, strict=True):
        g[s, a] += w
    return g


# %% tags=["mutant"] q="estimate" kills="test_estimate_by_differences"
def estimate(theta, states, actions, weights):
    """Numbers behind a softmax stay small: exp of all of them, as they come."""
    chances = np.exp(theta) / np.exp(theta).sum(axis=1, keepdims=True)
    g = np.zeros_like(chances)
    for s, a, w in zip(states, actions, weights, strict=True):
        g[s] -= w * chances[s]
        g[s, a] += w
    return g


# %% [markdown]
# ## Task 3: the mean and the noise, exactly
#
# Each episode has a chance $p_n$ and an estimate $\hat g_n$, an array `[S, A]`.
# Write `moments(chances, estimates)`: the mean estimate, and the *total variance*, one number: the
# mean squared distance of the estimate from its mean, summed over all entries.
# `chances` is `[N]`, `estimates` is `[N, S, A]`; return a pair, an array `[S, A]` and a float.
#
# By hand: two outcomes with chances 3/4 and 1/4 and the estimates 0 and 4 (arrays of one entry).
# The mean is 1, the variance $\tfrac34 \cdot 1 + \tfrac14 \cdot 9 = 3$.
# Rare episodes count rarely: no plain average over the list will do.


# %% tags=["task"] q="moments"
def moments(chances, estimates):
    """The mean ``[S, A]`` and the total variance, a number, over everything that can happen."""
    # BEGIN SOLUTION
    mean = np.tensordot(chances, estimates, axes=1)
    distance = ((estimates - mean) ** 2).sum(axis=(1, 2))
    return mean, float(chances @ distance)
    # END SOLUTION


# %% tags=["test"] q="moments" points=1
def test_moments_by_hand(moments):
    """Chances 3/4 and 1/4, estimates 0 and 4: mean 1, variance 3."""
    got = moments(np.array([0.75, 0.25]), np.array([[[0.0]], [[4.0]]]))
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        fail("moments: expected a pair, the mean and the variance; look at your return")
    expect(got[0], [[1.0]], look="how often each outcome happens", what="the mean")
    expect(got[1], 3.0, look="how far each outcome is from the mean", what="the variance")


# %% tags=["test"] q="moments" points=1 hidden=true
def test_moments_of_many(moments, rng):
    """Against a list in which each outcome stands as often as it happens."""
    for _ in range(5):
        times = rng.integers(1, 9, size=6)
        estimates = rng.normal(size=(6, 2, 3)) + 5.0
        repeated = np.repeat(estimates, times, axis=0)
        got = moments(times / times.sum(), estimates)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            fail("moments: expected a pair, the mean and the variance; look at your return")
        expect(got[0], repeated.mean(axis=0), look="the chances", what="the mean of six outcomes")
        look = "distances from the mean, weighed by the chances, summed over the entries"
        expect(got[1], repeated.var(axis=0).sum(), look=look, what="their total variance")


# %% tags=["mutant"] q="moments" kills="test_moments_by_hand test_moments_of_many"
def moments(chances, estimates):
    """All episodes are equally likely: a plain average over the list."""
    return estimates.mean(axis=0), float(estimates.var(axis=0).sum())


# %% tags=["mutant"] q="moments" kills="test_moments_by_hand test_moments_of_many"
def moments(chances, estimates):
    """The mean square is the variance, whatever the mean is."""
    mean = np.tensordot(chances, estimates, axes=1)
    return mean, float(chances @ (estimates**2).sum(axis=(1, 2)))


# %% [markdown]
# Now the table that this lab is about.
# **Before you run the next cell, put the five rows in order of their noise**, the calmest first:
#
# 1. the whole return;
# 2. the return-to-go;
# 3. the return-to-go less a constant, 6;
# 4. the return-to-go less the value of the shelf on that evening;
# 5. the colleague's: the return-to-go less what *this action on that evening* is worth.
#
# And which of them will have the wrong mean?

# %% tags=["trial"] q="moments"
if written(returns_to_go, estimate, moments):
    pi = softmax(THETA, axis=1)
    q, v = exact_worth(pi)
    evening = np.arange(EVENINGS)
    last = evening == EVENINGS - 1
    chances = np.array([e.chance for e in can_happen])
    to_go = [returns_to_go(e.rewards, last, 1.0) for e in can_happen]
    ROWS = {
        "whole return": [np.full(EVENINGS, g[0]) for g in to_go],
        "to go": to_go,
        "to go, less a constant 6": [g - 6.0 for g in to_go],
        "to go, less v": [g - v[evening, e.states] for g, e in zip(to_go, can_happen)],
        "to go, less q: the colleague's": [
            g - q[evening, e.states, e.actions] for g, e in zip(to_go, can_happen)
        ],
    }
    print(f"{'weights':32s} variance   mean, empty shelf   mean, bread left")
    for name, weights in ROWS.items():
        every = [estimate(THETA, e.states, e.actions, w) for e, w in zip(can_happen, weights)]
        mean, noise = moments(chances, np.array(every))
        print(f"{name:32s} {noise:8.2f}   {mean[0].round(3) + 0.0}   {mean[1].round(3) + 0.0}")
    print("by differences                              ", *slope(expected_takings, THETA).round(3))

# %% [markdown]
# The colleague's row is the calmest, and its mean is zero.
# Not small: zero, to the last digit, in every entry.
# Hold that thought until Task 5.
#
# ## Task 4: the best constant
#
# Back to honest baselines.
# Subtract one number $b$ from every weight, and the estimate of an episode becomes
# $\hat g_n - b\,\hat z_n$, where $\hat z_n$ is the sum of its bare scores: the same estimate with
# all weights one.
# The mean does not move, because $\hat z$ has the mean zero.
# The variance is a parabola in $b$.
#
# Write `best_constant(chances, plain, scores)`: the $b$ at its lowest point.
# `chances` is `[N]`; `plain` ($\hat g_n$, without a baseline) and `scores` ($\hat z_n$) are `[N, S,
# A]`; return a float.
#
# The formula holds for whole returns, returns-to-go, any world, any policy, because it never asks
# what the numbers stand for.
# It is the slope of a regression; derive it, it takes three lines.
#
# By hand: two outcomes, each with chance 1/2, with scores $+1$ and $-1$ and plain estimates $5$ and
# $-3$.
# With $b = 4$ both become $1$: no noise is left.


# %% tags=["task"] q="constant"
def best_constant(chances, plain, scores):
    """The number b for which plain - b * scores has the least total variance."""
    # BEGIN SOLUTION
    along = chances @ (plain * scores).sum(axis=(1, 2))
    return float(along / (chances @ (scores**2).sum(axis=(1, 2))))
    # END SOLUTION


# %% tags=["test"] q="constant" points=1
def test_constant_by_hand(best_constant):
    """Scores +1 and -1, estimates 5 and -3: the best constant is 4."""
    plain, scores = np.array([[[5.0]], [[-3.0]]]), np.array([[[1.0]], [[-1.0]]])
    got = best_constant(np.array([0.5, 0.5]), plain, scores)
    look = "for which b the two estimates are equal"
    expect(got, 4.0, look=look, what="two outcomes")


# %% tags=["test"] q="constant" points=1 hidden=true
def test_constant_is_lowest(best_constant, rng):
    """A hundredth to either side of it the exact variance is larger, in random worlds."""
    for _ in range(8):
        actions = int(rng.integers(2, 5))
        pi, pay = rng.dirichlet(np.ones(actions)), rng.normal(size=(actions, 2)) * 3 + 5
        lucky = float(rng.uniform(0.2, 0.8))
        # a bandit whose levers pay one of two sums: outcome (action, luck)
        chances = np.concatenate([pi * lucky, pi * (1 - lucky)])
        scores = np.tile((np.eye(actions) - pi)[:, None, :], (2, 1, 1))  # [2A, 1, A]
        plain = np.concatenate([pay[:, 0], pay[:, 1]])[:, None, None] * scores
        got = best_constant(chances, plain, scores)
        expect(np.shape(got), (), look="one number for all", what="the shape of your answer")

        def noise(b, p=chances, g=plain, z=scores):
            x = (g - b * z).reshape(len(p), -1)
            return p @ ((x - p @ x) ** 2).sum(axis=1)

        if not noise(got) < min(noise(got - 0.01), noise(got + 0.01)):
            fail(
                f"{actions} levers: with your b = {got:.4f} the variance is {noise(got):.6f}, with "
                f"{got - 0.01:.4f} it is {noise(got - 0.01):.6f}, with {got + 0.01:.4f} "
                f"{noise(got + 0.01):.6f}; look at the chances, and at which square you divide by"
            )


# %% tags=["mutant"] q="constant" kills="test_constant_by_hand test_constant_is_lowest"
def best_constant(chances, plain, scores):
    """The parabola opens the other way round: the sign of the slope."""
    along = chances @ (plain * scores).sum(axis=(1, 2))
    return -float(along / (chances @ (scores**2).sum(axis=(1, 2))))


# %% tags=["mutant"] q="constant" kills="test_constant_is_lowest"
def best_constant(chances, plain, scores):
    """All outcomes count alike, the rare and the common."""
    return float((plain * scores).sum() / (scores**2).sum())


# %% tags=["mutant"] q="constant" kills="test_constant_is_lowest"
def best_constant(chances, plain, scores):
    """The mean return is the best constant: what one takes on average is what to expect."""
    sizes = np.sqrt((scores**2).sum(axis=(1, 2)))
    returns = (plain * scores).sum(axis=(1, 2)) / np.maximum(sizes, 1e-12) ** 2
    return float(chances @ returns)


# %% tags=["mutant"] q="constant" kills="test_constant_by_hand"
def best_constant(chances, plain, scores):
    """The denominator of a regression is forgotten."""
    return float(len(chances) * (chances @ (plain * scores).sum(axis=(1, 2))))


# %% tags=["trial"] q="constant"
if written(returns_to_go, estimate, moments, best_constant):
    from IPython.display import display

    from rlcourse.plotting import COLOURS, new_figure, show_figure

    def parabola(weights):
        """The variance against b, and your best b."""
        plain = np.array(
            [estimate(THETA, e.states, e.actions, w) for e, w in zip(can_happen, weights)]
        )
        bare = np.array(
            [estimate(THETA, e.states, e.actions, np.ones(EVENINGS)) for e in can_happen]
        )
        b = np.linspace(0, 14, 57)
        return b, [moments(chances, plain - x * bare)[1] for x in b], plain, bare

    fig, axes = new_figure(height=3.2)
    said = []
    for colour, name in zip(COLOURS, ("whole return", "to go")):
        b, noise, plain, bare = parabola(ROWS[name])
        best = best_constant(chances, plain, bare)
        least = moments(chances, plain - best * bare)[1]
        axes.plot(b, noise, color=colour, label=name)
        axes.plot(best, least, "o", markersize=9, color=colour)
        said.append(f"{name}: least {least:.2f} at b = {best:.2f}")
        print(said[-1])
    takings = expected_takings(THETA)
    axes.axvline(takings, linestyle="--", linewidth=1.2, color="gray", label="mean takings")
    axes.set(xlabel="constant baseline b", ylabel="total variance", ylim=(0, 60))
    axes.legend(fontsize=9, loc="upper center")
    display(show_figure(fig, alt=f"Variance against a constant baseline: {'; '.join(said)}."))

# %% [markdown]
# Two surprises.
# Neither lowest point is at the mean takings.
# And with its best constant the *whole* return is calmer than the return-to-go: early in the
# evening much is still to come, late in the evening little, and one constant cannot be right for
# both.
# The whole return has the same size on every evening; the return-to-go wants a baseline that knows
# the clock.
# That is why row 4 of your table, $v$ of the evening, beats both.
#
# ## Task 5: a baseline that has seen the action
#
# May a baseline look at the action?
# Take one state with probabilities $\pi_a$, and let $g_a$ be a guess for each action.
# Subtracting it from the weight adds $-g_A \nabla \log \pi(A)$ to the estimate.
#
# Write `bias(pi, guess)`: the *mean* of what it adds, by the numbers behind the softmax.
# Both arguments and the result are `[A]`.
#
# Derive it before you code it.
# Two checks by hand: for a guess that is the same for all actions the bias is zero.
# For two even actions and the guess $(1, 0)$ it is
# $\tfrac12 \cdot (-1) \cdot (\tfrac12, -\tfrac12) = (-\tfrac14, \tfrac14)$.


# %% tags=["task"] q="bias"
def bias(pi, guess):
    """What subtracting ``guess[A]`` from the weight adds to the estimate on average, ``[A]``."""
    # BEGIN SOLUTION
    return -pi * (guess - pi @ guess)
    # END SOLUTION


# %% tags=["test"] q="bias" points=1
def test_bias_by_hand(bias):
    """Even actions, guess (1, 0): (-1/4, 1/4); and a constant costs nothing."""
    even = np.array([0.5, 0.5])
    look = "the sign: the guess is subtracted"
    expect(bias(even, np.array([1.0, 0.0])), [-0.25, 0.25], look=look, what="guess (1, 0)")
    look = "the average guess: only what differs between actions can do harm"
    expect(bias(even, np.array([7.0, 7.0])), [0.0, 0.0], look=look, what="guess (7, 7)")


# %% tags=["test"] q="bias" points=1 hidden=true
def test_bias_is_a_sum(bias, rng):
    """Random policies and guesses, against the sum over all actions."""
    for actions in (2, 3, 6):
        pi, guess = rng.dirichlet(np.ones(actions)), rng.normal(size=actions) + 3
        wanted = sum(pi[a] * -guess[a] * (np.eye(actions)[a] - pi) for a in range(actions))
        look = "each action's probability, its score, and the sign"
        expect(bias(pi, guess), wanted, look=look, what=f"{actions} actions")


# %% tags=["mutant"] q="bias" kills="test_bias_by_hand test_bias_is_a_sum"
def bias(pi, guess):
    """Any baseline is free: scores have the mean zero."""
    return np.zeros(len(pi))


# %% tags=["mutant"] q="bias" kills="test_bias_by_hand test_bias_is_a_sum"
def bias(pi, guess):
    """The guess is added, not subtracted."""
    return pi * (guess - pi @ guess)


# %% tags=["mutant"] q="bias" kills="test_bias_by_hand test_bias_is_a_sum"
def bias(pi, guess):
    """The guess itself counts, not how it differs from the average guess."""
    return -pi * guess


# %% [markdown]
# Look at your formula with $g_a = q(s, a)$.
# You know that vector: it is *minus the policy gradient*.
# A perfect critic of actions, subtracted, takes away exactly the signal and leaves exactly the
# noise.
# The colleague's night was not bad luck.
#
# ## Task 6: the repair
#
# But a guess about actions is worth having, and now you know by how much it spoils the mean.
# So add that back, for each step, as a number that needs no chance:
#
# $$
# \hat g = \sum_t \Bigl[ \bigl(G_t - g_t(A_t)\bigr)\,\nabla \log \pi(A_t \mid S_t)
#          \;+\; \sum_a \pi(a \mid S_t)\, g_t(a)\, \nabla \log \pi(a \mid S_t) \Bigr]
# $$
#
# Write `repaired(theta, states, actions, returns, guess)`: `returns` is `[T]`, `guess` is `[T, A]`
# (the guess about every action in the state of step `t`); the result is `[S, A]`.
#
# By hand: one state, two even actions, one step: action 0, return 3, guess $(2, 0)$.
# The first part is $(3 - 2)(\tfrac12, -\tfrac12)$.
# The second is $\tfrac12 \cdot 2 \cdot (\tfrac12, -\tfrac12)$.
# Together $(1, -1)$.


# %% tags=["task"] q="repaired"
def repaired(theta, states, actions, returns, guess):
    """An estimate with a guess about every action, right on average for any guess; ``[S, A]``."""
    # BEGIN SOLUTION
    chances = np.exp(theta - theta.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    weights = returns - guess[np.arange(len(states)), actions]
    g = estimate(theta, states, actions, weights)
    for s, worth in zip(states, guess, strict=True):
        g[s] -= bias(chances[s], worth)
    return g
    # END SOLUTION


# %% tags=["test"] q="repaired" points=1
def test_repaired_by_hand(repaired):
    """One step, return 3, guess (2, 0): (1, -1)."""
    got = repaired(
        np.zeros((1, 2)), np.array([0]), np.array([0]), np.array([3.0]), np.array([[2.0, 0.0]])
    )
    look = "both parts: what was drawn, less the guess; and the guess, averaged over all actions"
    expect(got, [[1.0, -1.0]], look=look, what="one step")


# %% tags=["test"] q="repaired" points=1 hidden=true
def test_repaired_is_calm(repaired, rng):
    """Where the guess is exact and the world without luck, no noise is left."""
    from scipy.special import softmax

    for _ in range(3):
        theta, pay = rng.normal(size=(2, 3)), rng.normal(size=3) + 4
        pi, wanted = softmax(theta, axis=1)[1], np.zeros((2, 3))
        for b in range(3):  # the slope of the mean pay, action by action
            wanted[1, b] = sum(pi[a] * pay[a] * ((a == b) - pi[b]) for a in range(3))
        for a in range(3):
            got = repaired(theta, np.array([1]), np.array([a]), pay[[a]], pay[None, :])
            look = "whether the guess is used at all, and for the actions that were not taken"
            expect(got, wanted, look, what=f"levers that pay for sure, lever {a} pulled")


# %% tags=["test"] q="repaired" points=1 hidden=true
def test_repaired_is_honest(repaired, rng):
    """A guess made up at random: over every episode of a random world the mean is the gradient."""
    from itertools import product

    from scipy.special import softmax

    steps = 2
    for _ in range(3):
        theta, pay = rng.normal(size=(2, 2)), rng.normal(size=(2, 2)) * 2 + 4
        following = rng.dirichlet(np.ones(2), size=(2, 2))  # [state, action, next]
        opinions = rng.normal(size=(steps, 2, 2)) * 3  # [t, state, action]

        def all_of_it(theta, pay=pay, following=following):
            pi = softmax(theta, axis=1)
            for path in product(range(2), repeat=2 * steps):  # action, next, action, next
                s, chance, states, rewards = 0, 1.0, [], []
                for t in range(steps):
                    a, after_it = path[2 * t], path[2 * t + 1]
                    chance *= pi[s, a] * following[s, a, after_it]
                    states.append(s)
                    rewards.append(pay[s, a])
                    s = after_it
                yield chance, np.array(states), np.array(path[::2]), np.array(rewards)

        def takings(theta, world=all_of_it):
            return sum(chance * rewards.sum() for chance, _, _, rewards in world(theta))

        wanted, h = np.zeros((2, 2)), 1e-5
        for index in np.ndindex(2, 2):
            step = np.zeros((2, 2))
            step[index] = h
            wanted[index] = (takings(theta + step) - takings(theta - step)) / (2 * h)
        mean = np.zeros((2, 2))
        for chance, states, actions, rewards in all_of_it(theta):
            to_go = rewards[::-1].cumsum()[::-1]
            got = np.asarray(
                repaired(theta, states, actions, to_go, opinions[np.arange(steps), states]),
                dtype=float,
            )
            if got.shape != (2, 2):
                fail(f"expected an estimate of shape (2, 2), got {got.shape}; look at your return")
            mean += chance * got
        look = "the second part: every action with its probability, its guess and its score"
        expect(mean, wanted, look, 1e-4, "the mean over all episodes of a random world")


# %% tags=["mutant"] q="repaired" kills="test_repaired_by_hand test_repaired_is_calm test_repaired_is_honest"
def repaired(theta, states, actions, returns, guess):
    """The colleague's: a baseline may look at the action, and nothing is added back."""
    weights = returns - guess[np.arange(len(states)), actions]
    return estimate(theta, states, actions, weights)


# %% tags=["mutant"] q="repaired" kills="test_repaired_by_hand test_repaired_is_calm test_repaired_is_honest"
def repaired(theta, states, actions, returns, guess):
    """What is added back has the wrong sign: the bias is doubled."""
    weights = returns - guess[np.arange(len(states)), actions]
    g, chances = estimate(theta, states, actions, weights), softmax(theta, axis=1)
    for s, worth in zip(states, guess, strict=True):
        g[s] -= chances[s] * (worth - chances[s] @ worth)
    return g


# %% tags=["mutant"] q="repaired" kills="test_repaired_by_hand test_repaired_is_calm"
def repaired(theta, states, actions, returns, guess):
    """The guess is added back for the action that was taken only: it cancels."""
    return estimate(theta, states, actions, returns)


# %% tags=["mutant"] q="repaired" kills="test_repaired_is_honest"
def repaired(theta, states, actions, returns, guess):
    """All actions count alike when the guess is averaged, whatever the policy does."""
    weights = returns - guess[np.arange(len(states)), actions]
    g = estimate(theta, states, actions, weights)
    even, chances = 1 / theta.shape[1], softmax(theta, axis=1)
    for s, worth in zip(states, guess, strict=True):
        g[s] += even * worth - chances[s] * (even * worth.sum())
    return g


# %% [markdown]
# ## Let him learn
#
# Now the dice.
# One episode, one estimate, one step of length 0.02 times it; then the next evening.
# Twelve bakers each, and the policy that each of them has is judged by enumeration: the curve has
# no noise of its own.
# The critics are exact for the policy as it stands.
# **Predict** where the colleague's twelve bakers go.
# And look at the two honest ones that have a critic: is the repair worth its price here?

# %% tags=["trial"] q="repaired"
if written(returns_to_go, estimate, repaired):
    from IPython.display import display

    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    def bakers(kind, seeds=12, updates=240, rate=0.02, every=12):
        """Mean takings, exactly, of the policy of every baker, ``[seeds, points]``."""
        curves = []
        for seed in range(seeds):
            rng, theta, curve = np.random.default_rng(seed), np.zeros((2, 2)), []
            for update in range(updates):
                if update % every == 0:
                    curve.append(expected_takings(theta))
                pi, s = softmax(theta, axis=1), 0
                q, v = exact_worth(pi)
                states, actions, rewards = [], [], []
                for _ in range(EVENINGS):
                    a = int(rng.random() < pi[s, 1])
                    states.append(s)
                    actions.append(a)
                    rewards.append(PAY[s, a])
                    s = int(rng.random() < NEXT[s, a, 1])
                g = returns_to_go(np.array(rewards), evening == EVENINGS - 1, 1.0)
                if kind == "no baseline":
                    step = estimate(theta, states, actions, g)
                elif kind == "less v":
                    step = estimate(theta, states, actions, g - v[evening, states])
                elif kind == "less q":
                    step = estimate(theta, states, actions, g - q[evening, states, actions])
                else:
                    step = repaired(theta, states, actions, g, q[evening, states])
                theta = theta + rate * step
            curves.append(curve)
        return np.arange(0, updates, every), np.array(curves)

    evening = np.arange(EVENINGS)
    plans = (softmax(99.0 * np.array(p), axis=1) for p in product([(1, 0), (0, 1)], repeat=2))
    best_plan = max(sum(e.chance * e.rewards.sum() for e in everything(p)) for p in plans)
    fig, axes = new_figure(height=3.6)
    runs = {name: bakers(name) for name in ("no baseline", "less v", "less q", "repaired")}
    for colour, (name, (x, curves)) in zip(COLOURS, runs.items()):
        final = curves[:, -1]
        print(
            f"{name:12s} last: mean {final.mean():6.3f}, from {final.min():.3f} to {final.max():.3f}"
        )
        learning_curves(axes, x, curves, label=name, colour=colour)
    axes.axhline(best_plan, linestyle="--", linewidth=1.2, color="gray")
    axes.set(xlabel="episodes", ylabel="mean takings, exact", ylim=(8, 13.2))
    axes.legend(fontsize=9, loc="lower right", ncols=2)
    ends = ", ".join(f"{name} {c[:, -1].mean():.2f}" for name, (_, c) in runs.items())
    display(
        show_figure(
            fig,
            alt="Exact mean takings of twelve bakers a method against episodes, "
            f"best plan dashed at {best_plan:.2f}. At the end: {ends}.",
        )
    )

# %% [markdown]
# ## In your own words (4 points, marked by hand)
#
# In at most ten sentences: why do the colleague's bakers not learn, although their estimate is the
# calmest of all that you have seen? Where do they wander, and why do they wander at all?
# Quote at least two numbers from *your own run* of this notebook, and say what each of them shows.
#
# *Your answer:*
#
# ## Your figure (2 points, marked by hand)
#
# The critic in `bakers` is exact.
# Spoil it: add to `q` a table of random errors of size `noise` (a fresh table for each seed), and
# compare "less q", "repaired" and "all actions by the guess alone" (the second part of the repair,
# without the first) for at least five seeds and three sizes of the error.
# One figure: axes with names and units, every curve or point with its spread.

# %%
# Your figure: code here.

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Time.** Task 1: 8 minutes. Task 2: 15. Task 3 and its table: 12. Task 4: 15 (the derivation; who
# does not see a regression may set the derivative of the variance to zero).
# Task 5: 12. Task 6: 13. Text and figure: 15.
#
# **What goes wrong.** In Task 2 the vectorised `g[states] += ...`: of equal indices numpy keeps the
# last, and nothing complains.
# In Task 4 the mean return is the usual first answer.
# In Task 5 people quote "a baseline costs no bias" from memory; ask them which line of that proof
# needs the baseline to be fixed *before* the action.
# In Task 6 the second part is computed for the action that was taken, and then everything cancels:
# an honest estimate that has ignored the guess.
#
# **What to say at the end.** The zero is not special to this world:
# $\mathbb E[(G_t - q_t(S_t, A_t)) \nabla \log \pi] = 0$ because
# $\mathbb E[G_t \mid S_t, A_t] = q_t(S_t, A_t)$.
# The second part of the repair alone is the "all-action" gradient: calm, and as wrong as the
# critic.
# The sum of both is right for any critic; it is a control variate.
# Whether it is worth its price is another matter: in this world it learns no faster than the
# ordinary baseline, because what noise is left comes from elsewhere.
# Let them find that in the last table.
