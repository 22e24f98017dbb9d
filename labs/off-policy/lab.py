# ---
# lab: off-policy
# title: What would have happened
# minutes: 75
# extras: ""
# version: 1
# ---

# %% [markdown]
# # What would have happened
#
# A ferry company has logs of thousands of crossings, steered by the old captain.
# The new captain has never touched the wheel; all that is known of her is a book that says what she
# *would* do.
# What would she have earned?
#
# There is a formula, it is right on average, and the company used it.
# Most of its reports said "about nothing".
# A few said that she would earn more than the sea holds fish.
# Each report was computed without a mistake.
#
# In this lab you write that formula, and you see with exact numbers how it can be right on average
# and wrong nearly always.
# Then you write what people do about it: weights that stop early, weights that share, weights that
# are cut.
# Each cut has a price, and at the end you can name it: a *policy*, the one that you are really
# judging.
#
# You need importance ratios from the chapter on approximation, and n-step targets from the one on
# actor-critic methods.
# Five tasks, about seventy-five minutes, no network.

# %%
import numpy as np

# %% [markdown]
# ## Task 1: how much likelier?
#
# The old captain's policy is `mu`, the new one's `pi`, both arrays `[S, A]` of probabilities.
# A log is a list of `states` and of `actions`, `[T]`, taken by `mu`.
# The ratio of one step is $\rho_t = \pi(A_t \mid S_t) / \mu(A_t \mid S_t)$.
#
# Write `weights(pi, mu, states, actions)`: for each step $t$ the product
# $\rho_0 \rho_1 \cdots \rho_t$, an array `[T]`.
# It says how much likelier the *beginning* of this log, up to and with the action at $t$, is under
# the new captain.
# The sea's own chances do not occur in it: they are the same for both, and cancel.
#
# By hand, one state, `pi` = (3/4, 1/4), `mu` = (1/2, 1/2), actions 0, 0, 1: the ratios are 1.5,
# 1.5, 0.5 and the weights 1.5, 2.25, 1.125.


# %% tags=["task"] q="weights"
def weights(pi, mu, states, actions):
    """The products of the ratios up to and with each step, ``[T]``."""
    # BEGIN SOLUTION
    return np.cumprod(pi[states, actions] / mu[states, actions])
    # END SOLUTION


# %% tags=["test"] q="weights" points=1
def test_weights_by_hand(weights):
    """Ratios 1.5, 1.5, 0.5: weights 1.5, 2.25, 1.125."""
    pi, mu = np.array([[0.75, 0.25]]), np.array([[0.5, 0.5]])
    got = weights(pi, mu, np.zeros(3, int), np.array([0, 0, 1]))
    look = "which policy stands above the line, and whether the step itself is in its product"
    expect(got, [1.5, 2.25, 1.125], look, what="three steps in one state")


# %% tags=["test"] q="weights" points=1 hidden=true
def test_weights_are_chances(weights, rng):
    """A weight is the chance of the whole log under one captain, over that under the other."""
    for _ in range(5):
        pi, mu = rng.dirichlet(np.ones(3), size=(2, 4))
        following = rng.dirichlet(np.ones(4), size=(4, 3))  # the sea
        states, actions, wanted = [0], [], []
        chances = [1.0, 1.0]
        for _ in range(6):
            action, after_it = int(rng.integers(3)), int(rng.integers(4))
            for k, captain in enumerate((pi, mu)):
                chances[k] *= captain[states[-1], action]
            wanted.append(chances[0] / chances[1])
            for k in range(2):
                chances[k] *= following[states[-1], action, after_it]
            actions.append(action)
            states.append(after_it)
        look = "the policy of each state, and a product that grows by one ratio a step"
        expect(
            weights(pi, mu, np.array(states[:-1]), np.array(actions)), wanted, look, what="a log"
        )


# %% tags=["mutant"] q="weights" kills="test_weights_by_hand test_weights_are_chances"
def weights(pi, mu, states, actions):
    """The old captain stands above the line."""
    return np.cumprod(mu[states, actions] / pi[states, actions])


# %% tags=["mutant"] q="weights" kills="test_weights_by_hand test_weights_are_chances"
def weights(pi, mu, states, actions):
    """The weight of a step is the product of the ratios *before* it."""
    ratio = pi[states, actions] / mu[states, actions]
    return np.concatenate([[1.0], np.cumprod(ratio)[:-1]])


# %% tags=["mutant"] q="weights" kills="test_weights_by_hand test_weights_are_chances"
def weights(pi, mu, states, actions):
    """Each step by itself: what led here is forgotten."""
    return pi[states, actions] / mu[states, actions]


# %% [markdown]
# ## Task 2: two honest estimates
#
# A log has `rewards`, `[T]`, and the weights $w_t$ of Task 1.
#
# $$
# \text{whole} = w_{T-1} \sum_t \gamma^t R_{t+1}, \qquad \text{per decision} = \sum_t \gamma^t\,
# w_t\, R_{t+1}
# $$
#
# The first multiplies everything with the weight of the whole log.
# The second asks of each reward only for the actions *up to it*: what was steered later cannot have
# earned it.
#
# Write `estimates(rewards, weight, gamma)`: the pair, whole and per decision, two floats.
#
# By hand: rewards 1, 2, 4, weights 1.5, 2.25, 1.125, $\gamma = 1$: whole $1.125 \cdot 7 = 7.875$,
# per decision $1.5 + 4.5 + 4.5 = 10.5$.


# %% tags=["task"] q="estimates"
def estimates(rewards, weight, gamma):
    """What a log says of the other policy: by the weight of the whole, and reward by reward."""
    # BEGIN SOLUTION
    discounted = gamma ** np.arange(len(rewards)) * rewards
    return float(weight[-1] * discounted.sum()), float(weight @ discounted)
    # END SOLUTION


# %% tags=["test"] q="estimates" points=1
def test_whole_by_hand(estimates):
    """Rewards 1, 2, 4: the whole estimate is 7.875; with gamma 1/2 it is 3.375."""
    rewards, weight = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.25, 1.125])
    for gamma, wanted in ((1.0, 7.875), (0.5, 3.375)):
        got = estimates(rewards, weight, gamma)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            fail("estimates: expected a pair, whole and per decision; look at your return")
        expect(got[0], wanted, "the weight of the whole log: the last one", what=f"gamma {gamma}")


# %% tags=["test"] q="estimates" points=1
def test_decision_by_hand(estimates):
    """Rewards 1, 2, 4: reward by reward 10.5; with gamma 1/2 it is 4.875."""
    rewards, weight = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.25, 1.125])
    for gamma, wanted in ((1.0, 10.5), (0.5, 4.875)):
        got = estimates(rewards, weight, gamma)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            fail("estimates: expected a pair, whole and per decision; look at your return")
        expect(got[1], wanted, "each reward with its own weight", what=f"gamma {gamma}")


# %% tags=["test"] q="estimates" points=2 hidden=true
def test_estimates_are_honest(estimates, rng):
    """Over every log that the old captain can write the mean is what the new one earns, exactly."""
    from itertools import product

    for gamma in (1.0, 0.7):
        pi, mu = rng.dirichlet(np.ones(2) * 2, size=(2, 2))
        following, pay = rng.dirichlet(np.ones(2), size=(2, 2)), rng.normal(size=(2, 2)) + 2
        value = np.zeros(2)
        for _ in range(3):  # three steps, backwards: no weight and no log in it
            value = (pi * (pay + gamma * following @ value)).sum(axis=1)
        means, squares = np.zeros(2), np.zeros(2)
        for path in product(range(2), repeat=6):
            state, chance, ratio, rewards, weight = 0, 1.0, 1.0, [], []
            for action, after_it in zip(path[::2], path[1::2], strict=True):
                chance *= mu[state, action] * following[state, action, after_it]
                ratio *= pi[state, action] / mu[state, action]
                rewards.append(pay[state, action])
                weight.append(ratio)
                state = after_it
            got = estimates(np.array(rewards), np.array(weight), gamma)
            if not isinstance(got, (tuple, list)) or len(got) != 2:
                fail("estimates: expected a pair, whole and per decision; look at your return")
            means += chance * np.array([float(x) for x in got])
            squares += chance * np.array(got, dtype=float) ** 2
        for name, mean in zip(("whole", "per decision"), means, strict=True):
            look = "the weight of each reward, and its discount"
            what = f"the mean of {name} over all logs of three steps, gamma {gamma}"
            expect(mean, value[0], look, what=what)
        if np.isclose(squares[0], squares[1]):
            fail("whole and per decision are one and the same estimate; look at the two formulas")


# %% tags=["mutant"] q="estimates" kills="test_decision_by_hand test_estimates_are_honest"
def estimates(rewards, weight, gamma):
    """One weight for all: both estimates are the whole one."""
    whole = weight[-1] * (gamma ** np.arange(len(rewards)) * rewards).sum()
    return float(whole), float(whole)


# %% tags=["mutant"] q="estimates" kills="test_decision_by_hand test_estimates_are_honest"
def estimates(rewards, weight, gamma):
    """A reward is weighed by what was done before, not by the action that earned it."""
    discounted = gamma ** np.arange(len(rewards)) * rewards
    before = np.concatenate([[1.0], weight[:-1]])
    return float(weight[-1] * discounted.sum()), float(before @ discounted)


# %% tags=["mutant"] q="estimates" kills="test_whole_by_hand test_estimates_are_honest"
def estimates(rewards, weight, gamma):
    """The weight of a log is the mean of its weights."""
    discounted = gamma ** np.arange(len(rewards)) * rewards
    return float(weight.mean() * discounted.sum()), float(weight @ discounted)


# %% tags=["mutant"] q="estimates" kills="test_whole_by_hand test_decision_by_hand test_estimates_are_honest"
def estimates(rewards, weight, gamma):
    """The first reward is discounted already."""
    discounted = gamma ** np.arange(1, len(rewards) + 1) * rewards
    return float(weight[-1] * discounted.sum()), float(weight @ discounted)


# %% [markdown]
# ## Task 3: a report that cannot exceed the sea
#
# Weights of many logs can be made to share: divide by their sum in the place of their number.
# Write `weighted(returns, weight)`: returns and weights of `N` logs, both `[N]`.
# Return a pair of floats:
#
# 1. $\sum_n w_n G_n / \sum_n w_n$, and 0 if all weights are zero;
# 2. the *effective number* of logs, $(\sum_n w_n)^2 / \sum_n w_n^2$, and 0 if all weights are zero.
#
# By hand: returns 2, 6, 100 and weights 3, 1, 0: $(6 + 6) / 4 = 3$, and $16 / 10 = 1.6$ logs.
# Three logs, and they are worth one and a half.


# %% tags=["task"] q="weighted"
def weighted(returns, weight):
    """The weighted mean of the returns, and how many logs it is worth."""
    # BEGIN SOLUTION
    total = weight.sum()
    if total == 0:
        return 0.0, 0.0
    return float(weight @ returns / total), float(total**2 / (weight**2).sum())
    # END SOLUTION


# %% tags=["test"] q="weighted" points=1
def test_weighted_by_hand(weighted):
    """Returns 2, 6, 100 with weights 3, 1, 0: 3, and 1.6 logs."""
    got = weighted(np.array([2.0, 6.0, 100.0]), np.array([3.0, 1.0, 0.0]))
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        fail("weighted: expected a pair, the mean and the number of logs; look at your return")
    expect(got[0], 3.0, "what you divide by", what="the weighted mean")
    expect(got[1], 1.6, "the two squares", what="the effective number of logs")


# %% tags=["test"] q="weighted" points=1 hidden=true
def test_weighted_repeats(weighted, rng):
    """Against a list in which each log stands as often as it weighs; the unit of the weights is free."""
    for _ in range(5):
        times, returns = rng.integers(0, 6, size=9), rng.normal(size=9) * 10
        times[0] = 2
        repeated = np.repeat(returns, times)
        which = np.repeat(np.arange(9), times)
        alike = np.mean([a == b for a in which for b in which])  # two draws hit the same log
        for unit in (1.0, 1e-4, 50.0):
            got = weighted(returns, times * unit)
            if not isinstance(got, (tuple, list)) or len(got) != 2:
                fail("weighted: expected a pair; look at your return")
            what = f"nine logs, weights in units of {unit:g}"
            expect(got[0], repeated.mean(), "what you divide by", what=f"{what}: the mean")
            look = "the two squares, and that no unit is left in them"
            expect(got[1], 1 / alike, look, what=f"{what}: the number of logs")
    got = weighted(returns, np.zeros(9))
    expect(got, [0.0, 0.0], "zero over zero", what="logs that the new captain would never write")


# %% tags=["mutant"] q="weighted" kills="test_weighted_by_hand test_weighted_repeats"
def weighted(returns, weight):
    """A mean divides by the number of logs."""
    number = (weight**2).sum()
    return float(weight @ returns / len(weight)), float(weight.sum() ** 2 / number if number else 0)


# %% tags=["mutant"] q="weighted" kills="test_weighted_by_hand test_weighted_repeats"
def weighted(returns, weight):
    """A log counts if its weight is not zero: three logs are three logs."""
    total = weight.sum()
    return float(weight @ returns / total if total else 0), float((weight > 0).sum())


# %% tags=["mutant"] q="weighted" kills="test_weighted_repeats"
def weighted(returns, weight):
    """There is always some weight: zero over zero."""
    return float(weight @ returns / weight.sum()), float(weight.sum() ** 2 / (weight**2).sum())


# %% [markdown]
# Now the reports.
# The captain steers left or right, each right turn earns one, and the sea does nothing else.
# The old captain tosses a coin; the new one turns right in four of five cases: in $T$ turns she
# earns $0.8\,T$.
# Ten companies with 300 logs each, and horizons from 1 to 60.
#
# **Predict** for $T = 60$: the typical "whole" report, as a share of the truth.
# How many of the 300 logs does it really rest on?

# %% tags=["trial"] q="weighted"
if written(weights, estimates, weighted):
    from IPython.display import display

    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    HORIZONS = [1, 2, 5, 10, 20, 30, 45, 60]
    coin, captain = np.array([[0.5, 0.5]]), np.array([[0.2, 0.8]])
    reports = np.empty((3, 10, len(HORIZONS)))  # estimator, company, horizon
    logs = np.empty((10, len(HORIZONS)))
    for company in range(10):
        rng = np.random.default_rng(company)
        for column, T in enumerate(HORIZONS):
            turns, nowhere = rng.integers(2, size=(300, T)), np.zeros(T, int)
            ratios = [weights(captain, coin, nowhere, turn) for turn in turns]
            pairs = [estimates(turn.astype(float), w, 1.0) for turn, w in zip(turns, ratios)]
            last = np.array([w[-1] for w in ratios])
            shared, logs[company, column] = weighted(turns.sum(axis=1).astype(float), last)
            reports[:, company, column] = [*np.mean(pairs, axis=0), shared]
    shares = reports / (0.8 * np.array(HORIZONS))
    names = ("whole", "per decision", "weighted")
    print("horizon    logs' worth   " + "".join(f"{name:>14s}" for name in names) + "   (medians)")
    for column, T in enumerate(HORIZONS):
        middle = np.median(shares[:, :, column], axis=1)
        print(
            f"{T:7d} {np.median(logs[:, column]):13.1f}   " + "".join(f"{m:14.2f}" for m in middle)
        )
    fig, axes = new_figure(height=3.2)
    for colour, name, curves in zip(COLOURS, names, shares):
        learning_curves(axes, HORIZONS, curves, label=name, colour=colour)
    axes.axhline(1.0, linestyle="--", linewidth=1.2, color="gray")
    axes.set(xlabel="turns in a log", ylabel="report / truth", ylim=(-0.1, 2.5))
    axes.legend(fontsize=9)
    ends = ", ".join(f"{n} {m:.2f}" for n, m in zip(names, np.median(shares[:, :, -1], axis=1)))
    display(
        show_figure(
            fig,
            alt="Reports of ten companies over the truth, against the length of a "
            f"log. Medians at sixty turns: {ends}.",
        )
    )

# %% [markdown]
# "Whole" is right on average for every horizon.
# At the right end you would have to wait for a log that hardly anybody ever writes.
# The weighted report stays in sight of the truth, on the shoulders of a few logs, and leans towards
# what the *old* captain earned.
#
# ## Task 4: weights that are cut
#
# For learning values step by step, V-trace (Espeholt et al. 2018) cuts each ratio twice:
# $\hat\rho_t = \min(\bar\rho, \rho_t)$ for the error, $\hat c_t = \min(\bar c, \rho_t)$ for what
# goes on to earlier steps.
#
# $$
# v_t = V(S_t) + \sum_{k \ge t} \Bigl(\prod_{i=t}^{k-1} \gamma_{i+1} \hat c_i\Bigr)\, \hat\rho_k\,
# \delta_k, \qquad
# \delta_k = R_{k+1} + \gamma_{k+1} V(S_{k+1}) - V(S_k)
# $$
#
# Write `vtrace(rewards, discounts, values, following, rho, rho_bar, c_bar)`: the targets $v_t$,
# `[T]`.
# `discounts[k]` is $\gamma_{k+1}$, zero at a true end; `values[k]` is $V(S_k)$ and `following[k]`
# is $V(S_{k+1})$, so the last one is what the critic says of the state behind the log.
# All arrays are `[T]`.
#
# By hand, two steps, rewards 1 and 2, discounts $\tfrac12$, values 2 and 4, following 4 and 8,
# ratios 3 and $\tfrac12$, both bars 1.
# The errors are 1 and 2, cut $\hat\rho$ are 1 and $\tfrac12$: $v_1 = 4 + \tfrac12 \cdot 2 = 5$ and
# $v_0 = 2 + 1 + \tfrac12 \cdot 1 \cdot 1 = 3.5$.


# %% tags=["task"] q="vtrace"
def vtrace(rewards, discounts, values, following, rho, rho_bar, c_bar):
    """The targets of V-trace, ``[T]``."""
    # BEGIN SOLUTION
    delta = np.minimum(rho_bar, rho) * (rewards + discounts * following - values)
    cut, targets, later = np.minimum(c_bar, rho), np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        later = delta[t] + discounts[t] * cut[t] * later
        targets[t] = values[t] + later
    return targets
    # END SOLUTION


# %% tags=["test"] q="vtrace" points=1
def test_vtrace_by_hand(vtrace):
    """Two steps, both bars 1: 3.5 and 5."""
    rewards, half = np.array([1.0, 2.0]), np.array([0.5, 0.5])
    values, following, rho = np.array([2.0, 4.0]), np.array([4.0, 8.0]), np.array([3.0, 0.5])
    look = "which ratio is cut by which bar, and which of them carries the later error back"
    expect(
        vtrace(rewards, half, values, following, rho, 1.0, 1.0), [3.5, 5.0], look, what="two steps"
    )


# %% tags=["test"] q="vtrace" points=1 hidden=true
def test_vtrace_by_definition(vtrace, rng):
    """Random logs with ends in them, against the sum of products, for bars that differ."""
    for rho_bar, c_bar in ((1.0, 1.0), (2.0, 0.7), (0.8, 0.5), (1e6, 1e6)):
        steps = 8
        rewards, values = rng.normal(size=(2, steps))
        following = np.append(values[1:], rng.normal())
        discounts = np.where(rng.random(steps) < 0.2, 0.0, 0.9)
        rho, wanted = rng.exponential(1.3, size=steps), values.copy()
        for t in range(steps):
            for k in range(t, steps):
                way = 1.0
                for i in range(t, k):
                    way *= discounts[i] * min(c_bar, rho[i])
                error = rewards[k] + discounts[k] * following[k] - values[k]
                wanted[t] += way * min(rho_bar, rho[k]) * error
        got = vtrace(rewards, discounts, values, following, rho, rho_bar, c_bar)
        look = "the two bars, and the discount on the way back"
        expect(got, wanted, look, what=f"eight steps, bars {rho_bar:g} and {c_bar:g}")


# %% tags=["test"] q="vtrace" points=1 hidden=true
def test_vtrace_on_policy(vtrace, rng):
    """With all ratios one it is the return of n rewards and a guess, whatever the values between."""
    for bar in (1.0, 5.0):
        rewards, values = rng.normal(size=(2, 6))
        following = np.append(values[1:], rng.normal())
        wanted = [
            sum(0.8 ** (k - t) * rewards[k] for k in range(t, 6)) + 0.8 ** (6 - t) * following[-1]
            for t in range(6)
        ]
        got = vtrace(rewards, np.full(6, 0.8), values, following, np.ones(6), bar, bar)
        expect(got, wanted, "what the errors add up to", what=f"six steps on policy, bars {bar:g}")


# %% tags=["mutant"] q="vtrace" kills="test_vtrace_by_hand test_vtrace_by_definition"
def vtrace(rewards, discounts, values, following, rho, rho_bar, c_bar):
    """Nothing is cut: the ratios as they come."""
    delta, targets, later = rho * (rewards + discounts * following - values), [], 0.0
    for t in reversed(range(len(rewards))):
        later = delta[t] + discounts[t] * rho[t] * later
        targets.append(values[t] + later)
    return np.array(targets[::-1])


# %% tags=["mutant"] q="vtrace" kills="test_vtrace_by_definition"
def vtrace(rewards, discounts, values, following, rho, rho_bar, c_bar):
    """One bar for both: what goes back is cut by the bar of the errors."""
    cut = np.minimum(rho_bar, rho)
    delta, targets, later = cut * (rewards + discounts * following - values), [], 0.0
    for t in reversed(range(len(rewards))):
        later = delta[t] + discounts[t] * cut[t] * later
        targets.append(values[t] + later)
    return np.array(targets[::-1])


# %% tags=["mutant"] q="vtrace" kills="test_vtrace_by_hand test_vtrace_by_definition test_vtrace_on_policy"
def vtrace(rewards, discounts, values, following, rho, rho_bar, c_bar):
    """The discount stands in the errors and need not stand between them."""
    delta = np.minimum(rho_bar, rho) * (rewards + discounts * following - values)
    targets, later = [], 0.0
    for t in reversed(range(len(rewards))):
        later = delta[t] + min(c_bar, rho[t]) * later
        targets.append(values[t] + later)
    return np.array(targets[::-1])


# %% tags=["mutant"] q="vtrace" kills="test_vtrace_by_hand test_vtrace_by_definition"
def vtrace(rewards, discounts, values, following, rho, rho_bar, c_bar):
    """The later error comes back through the ratio of the later step: off by one."""
    delta = np.minimum(rho_bar, rho) * (rewards + discounts * following - values)
    cut, targets, later = np.append(np.minimum(c_bar, rho)[1:], 1.0), [], 0.0
    for t in reversed(range(len(rewards))):
        later = delta[t] + discounts[t] * cut[t] * later
        targets.append(values[t] + later)
    return np.array(targets[::-1])


# %% [markdown]
# ## Task 5: whose values are these?
#
# With $\bar\rho$ below the largest ratio V-trace no longer judges `pi`.
# It judges *somebody*, and you can say whom: the policy
#
# $$
# \pi_{\bar\rho}(a \mid s) = \frac{\min\bigl(\bar\rho\,\mu(a \mid s),\; \pi(a \mid s)\bigr)}{\sum_b
# \min\bigl(\bar\rho\,\mu(b \mid s),\; \pi(b \mid s)\bigr)}
# $$
#
# To see it, write down the mean of $\hat\rho_t \delta_t$ in a state and ask for which $V$ it is
# zero.
#
# Write `judged(pi, mu, rho_bar)`, all `[S, A]`.
#
# By hand, one state, `pi` = (0.9, 0.1), `mu` = (0.3, 0.7), bar 1: the minima are 0.3 and 0.1, so
# the policy is (3/4, 1/4).


# %% tags=["task"] q="judged"
def judged(pi, mu, rho_bar):
    """The policy whose values V-trace learns, ``[S, A]``."""
    # BEGIN SOLUTION
    least = np.minimum(rho_bar * mu, pi)
    return least / least.sum(axis=1, keepdims=True)
    # END SOLUTION


# %% tags=["test"] q="judged" points=1
def test_judged_by_hand(judged):
    """(0.9, 0.1) from (0.3, 0.7): at bar 1 it is (3/4, 1/4), at bar 3 the policy itself."""
    pi, mu = np.array([[0.9, 0.1]]), np.array([[0.3, 0.7]])
    expect(judged(pi, mu, 1.0), [[0.75, 0.25]], "the minima, and their sum", what="bar 1")
    expect(judged(pi, mu, 3.0), pi, "where nothing is cut", what="bar 3")


# %% tags=["test"] q="judged" points=2 hidden=true
def test_judged_is_the_fixed_point(judged, rng):
    """At the values of the policy that you return the mean of V-trace's error is zero, everywhere."""
    for rho_bar in (0.5, 1.0, 1.7, 50.0):
        states, actions, gamma = 4, 3, 0.9
        pi, mu = rng.dirichlet(np.ones(actions), size=(2, states)) * 0.94 + 0.02
        P = rng.dirichlet(np.ones(states), size=(states, actions))
        R = rng.normal(size=(states, actions))
        got = np.asarray(judged(pi, mu, rho_bar), dtype=float)
        if got.shape != (states, actions):
            fail(
                f"judged: expected shape {(states, actions)}, got {got.shape}; look at your return"
            )
        expect(got.sum(axis=1), np.ones(states), "a policy adds up to one", what="its rows")
        chain, pay = np.einsum("sa,sax->sx", got, P), (got * R).sum(axis=1)
        V = np.linalg.solve(np.eye(states) - gamma * chain, pay)
        error = R + gamma * P @ V - V[:, None]
        mean = (mu * np.minimum(rho_bar, pi / mu) * error).sum(axis=1)
        look = "which of the two is multiplied with the bar, and each state's own sum"
        what = f"the mean error of V-trace at the values of your policy, bar {rho_bar:g}"
        expect(mean, np.zeros(states), look, what=what)


# %% tags=["mutant"] q="judged" kills="test_judged_by_hand test_judged_is_the_fixed_point"
def judged(pi, mu, rho_bar):
    """A cut costs only speed: what is learned is the policy's own value."""
    return pi


# %% tags=["mutant"] q="judged" kills="test_judged_by_hand test_judged_is_the_fixed_point"
def judged(pi, mu, rho_bar):
    """The cut ratio is the policy."""
    least = np.minimum(rho_bar, pi / mu)
    return least / least.sum(axis=1, keepdims=True)


# %% tags=["mutant"] q="judged" kills="test_judged_by_hand test_judged_is_the_fixed_point"
def judged(pi, mu, rho_bar):
    """What the cut takes away is not given to the others: it need not add up to one."""
    return np.minimum(rho_bar * mu, pi)


# %% [markdown]
# ## The price of a cut
#
# A sea of five states; the new captain differs a good deal from the old one.
# Values are learned from the old one's logs by V-trace, with three bars, ten runs each.
# Two distances are drawn: from the values of the new captain, and from those of `judged`.
#
# **Predict**: for the bar 1, which of the two distances falls to nearly nothing, and where does the
# other stop?
# For the bar 100, what is the trouble, and is it large here?

# %% tags=["trial"] q="judged"
if written(vtrace, judged):
    from IPython.display import display

    from rlcourse.algorithms.dynamic_programming import evaluate
    from rlcourse.mdp import random_mdp
    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    sea, GAMMA, BARS = random_mdp(5, 3, seed=4), 0.9, (1.0, 2.0, 100.0)
    rng = np.random.default_rng(1)
    new, old = rng.dirichlet(np.full(3, 0.6), size=5) * 0.97 + 0.01, np.full((5, 3), 1 / 3)
    old = old * 0.4 + 0.6 * new[:, ::-1]
    truth = {"new captain": evaluate(sea, new, GAMMA)}

    def learn(bar, seed, logs=200, steps=20, rate=0.05, every=10):
        """Values after every 10 logs, ``[points, S]``."""
        rng, V, found, state = np.random.default_rng(seed), np.zeros(5), [], 0
        for log in range(logs):
            path, done, pays = [state], [], []
            for _ in range(steps):
                a = int(rng.choice(3, p=old[state]))
                pays.append(sea.reward[state, a])
                state = int(rng.choice(5, p=sea.transition[state, a]))
                done.append(a)
                path.append(state)
            at, rho = np.array(path[:-1]), (new / old)[path[:-1], done]
            discounts = np.full(steps, GAMMA)
            targets = vtrace(np.array(pays), discounts, V[at], V[path[1:]], rho, bar, min(bar, 1.0))
            for s, target in zip(at, targets):
                V[s] += rate * (target - V[s])
            if (log + 1) % every == 0:
                found.append(V.copy())
        return np.array(found)

    fig, axes = new_figure(columns=2, height=3.2, sharey=True)
    print(f"largest ratio {(new / old).max():.1f}")
    said = []
    for colour, bar in zip(COLOURS, BARS):
        values = np.array([learn(bar, seed) for seed in range(10)])  # [runs, points, S]
        for panel, goal in zip(
            axes, (truth["new captain"], evaluate(sea, judged(new, old, bar), GAMMA))
        ):
            distance = np.sqrt(((values - goal) ** 2).mean(axis=2))
            learning_curves(
                panel, 10 * np.arange(1, 21), distance, label=f"bar {bar:g}", colour=colour
            )
            said.append(f"{distance[:, -5:].mean():.2f}")
        print(
            f"bar {bar:5g}: at the end {said[-2]} from the new captain's values, {said[-1]} from judged's"
        )
    axes[0].set(xlabel="logs", ylabel="distance", title="from the new captain's")
    axes[1].set(xlabel="logs", title="from judged's")
    axes[0].legend(fontsize=8)
    display(
        show_figure(
            fig,
            alt="Root mean square distance of learned values from those of the new "
            "captain and of the policy that V-trace judges, for bars 1, 2 and 100, "
            f"ten runs each. At the end, pair by pair: {', '.join(said)}.",
        )
    )

# %% [markdown]
# ## In your own words (4 points, marked by hand)
#
# Somebody learned values with $\bar\rho = 1$ from old logs, and reports them as the new captain's.
# Is he wrong? By how much in your run, in which direction do his values lean, and why do people cut
# all the same?
# At most ten sentences, with at least two numbers from *your own run* and what each of them shows.
#
# *Your answer:*
#
# ## Your figure (2 points, marked by hand)
#
# The bar is a dial between two errors.
# Take at least five bars between 0.5 and 20, at least five seeds each, and draw against the bar the
# distance of the learned values from the new captain's: the mean over the seeds, and the spread.
# Mark what part of it is the cut's own: the exact distance between the values of `judged` and of
# the new captain.

# %%
# Your figure: code here.

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Time.** Task 1: 8 minutes. Task 2: 12. Task 3 and the reports: 15. Task 4: 15. Task 5: 10 (with
# the derivation).
# Text and figure: 15.
#
# **What goes wrong.** Task 1: the product before the step instead of with it; say that the action
# at $t$ is what earned the reward at $t + 1$. Task 3: zero over zero, which happens as soon as the
# new captain never does what the old one did.
# Task 4: one bar for both, and the ratio that carries an error back: it is that of the *earlier*
# step.
# Task 5: the bar multiplies `mu`.
#
# **What to say at the end.** $\bar c$ changes how fast values are learned and never which;
# $\bar\rho$ changes which.
# At $\bar\rho = 1$ the judged policy lies between the two captains.
# The weighted report of Task 3 is biased too, towards the old captain, and by an amount that goes
# to zero with the number of logs: there the cut is not for ever.
