# ---
# lab: sarsa-family
# title: "The SARSA family: whose value is it?"
# minutes: 75
# extras: ""
# version: 1
# ---

# %% [markdown]
# # The SARSA family: whose value is it?
#
# Three learners differ in one expression, and each of them is right.
# They are right about *different agents*: the one that you are, the one that you are on average,
# and the one that you could be.
#
# In this lab you compute what each of them is after, before any of them has walked a step.
# You will measure the noise that one of them buys for nothing. You will see an unbiased average
# turn into a bias under a single `max`. And you will send a walker along a cliff, and let the model
# judge what it learned.
#
# Chapter: *Learning from experience*. Time: 75 minutes. Automatic points: 14. By hand: 6.
#
# `q` is a table `[S, A]`; `discount` is γ, and 0 after a step that ended the world.

# %%
import numpy as np

from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.envs.vector import make
from rlcourse.mdp import from_env
from rlcourse.plotting import COLOURS, new_figure, show_figure

# %% [markdown]
# ## 1. A policy is a row of numbers
#
# Write `policy(row, epsilon) -> [A]`: the probabilities of ε-greedy for one row of the table.
# Any action with probability ε, else one of the best; equals share.
#
# Then the luck of SARSA's target. Its next action is drawn from that policy, so the target
# $R + \gamma\, Q(S', A')$ is a random number, even in a world without chance. Write
# `sarsa_moments(reward, discount, row, epsilon) -> (mean, variance)` of that target, by summing
# over the actions; no sampling.
#
# By hand: row (0, 4), ε = 0.2: the policy is (0.1, 0.9). With reward 1 and discount ½ the target
# is 1 or 3; mean 2.8, variance 0.36.
#
# *Expected SARSA is that mean, used as the target. Its variance is what you save.*


# %% tags=["task"] q="policy"
def policy(row, epsilon):
    """Probabilities `[A]` of epsilon-greedy for one row `[A]` of a table; equals share."""
    # BEGIN SOLUTION
    row = np.asarray(row, dtype=float)
    best = row == row.max()
    return epsilon / row.size + (1 - epsilon) * best / best.sum()
    # END SOLUTION


def sarsa_moments(reward, discount, row, epsilon):
    """Mean and variance of SARSA's target over the draw of the next action."""
    # BEGIN SOLUTION
    chances, targets = policy(row, epsilon), reward + discount * np.asarray(row, dtype=float)
    mean = chances @ targets
    return float(mean), float(chances @ (targets - mean) ** 2)
    # END SOLUTION


# %% tags=["test"] q="policy" points=1
def test_two_actions(policy, sarsa_moments):
    """The row (0, 4): probabilities 0.1 and 0.9, mean 2.8, variance 0.36."""
    expect(policy(np.array([0.0, 4.0]), 0.2), [0.1, 0.9], look="who takes part in a random pick")
    expect(
        sarsa_moments(1.0, 0.5, np.array([0.0, 4.0]), 0.2),
        [2.8, 0.36],
        look="the two targets, 1 and 3, and their probabilities",
        what="(mean, variance)",
    )


# %% tags=["test"] q="policy" points=1 hidden=true
def test_moments_over_all_draws(policy, sarsa_moments, rng):
    """Rows with ties and below zero, against a list of equally likely draws."""
    for _ in range(6):
        row = -rng.integers(1, 4, size=4).astype(float)
        epsilon, discount, reward = 0.4, float(rng.uniform(0.3, 1)), float(rng.normal())
        winners = [a for a in range(4) if row[a] == max(row)]
        # of 120 draws, 48 explore: 12 of each action; 72 are greedy
        draws = [a for a in range(4) for _ in range(12)] + winners * (72 // len(winners))
        targets = np.array([reward + discount * row[a] for a in draws])
        expect(
            policy(row, epsilon),
            np.bincount(draws, minlength=4) / 120,
            look="ties",
            what=f"policy({row}, 0.4)",
        )
        expect(
            sarsa_moments(reward, discount, row, epsilon),
            [targets.mean(), targets.var()],
            look="the square of the discount, which stands in a variance",
            what=f"(mean, variance) for {row}",
        )


# %% tags=["mutant"] q="policy" kills="test_moments_over_all_draws"
def policy(row, epsilon):
    """`argmax`: the first of the best takes all."""
    chances = np.full(len(row), epsilon / len(row))
    chances[np.argmax(row)] += 1 - epsilon
    return chances


# %% tags=["mutant"] q="policy" kills="test_two_actions test_moments_over_all_draws"
def sarsa_moments(reward, discount, row, epsilon):
    """The spread of the next values without their discount."""
    row = np.asarray(row, dtype=float)
    chances = policy(row, epsilon)
    mean = chances @ row
    return float(reward + discount * mean), float(chances @ (row - mean) ** 2)


# %% tags=["mutant"] q="policy" kills="test_two_actions test_moments_over_all_draws"
def sarsa_moments(reward, discount, row, epsilon):
    """The plain mean of the row: the policy of a drunk."""
    targets = reward + discount * np.asarray(row, dtype=float)
    return float(targets.mean()), float(targets.var())


# %% [markdown]
# ## 2. What SARSA is after
#
# Keep the world in your hands for a moment: `P` `[S, A, S]`, `R` `[S, A]`, `terminal` `[S]`.
# Write `expected_backup(q, P, R, terminal, gamma, epsilon) -> [S, A]`: every entry becomes the
# *expected* target of Expected SARSA,
#
# $$q(s, a) \leftarrow R(s, a) + \gamma \sum_t P(t \mid s, a) \sum_b \pi(b \mid t)\, q(t, b),$$
#
# with π the ε-greedy policy of the old table, and nothing after a terminal state. Rows of
# terminal states become zero.
#
# Repeat it and you stand where SARSA and Expected SARSA end. At ε = 0 it is value iteration, so
# you also stand where Q-learning ends. One function, two fixed points.
#
# By hand: two states, the second one terminal; one action ends with reward 1, the other stays with
# reward 0. From the table ((0, 2), (5, 5)) with γ = ½, ε = ½ the policy in state 0 is (¼, ¾),
# worth 1.5. So the row becomes (1, 0.75), and the last row (0, 0).


# %% tags=["task"] q="backup"
def expected_backup(q, P, R, terminal, gamma, epsilon):
    """The table `[S, A]` after one expected update of every entry; the end has no future."""
    # BEGIN SOLUTION
    values = np.array([policy(row, epsilon) @ np.asarray(row, dtype=float) for row in q])
    values[np.asarray(terminal, dtype=bool)] = 0.0
    new = R + gamma * P @ values
    return np.where(np.asarray(terminal, dtype=bool)[:, None], 0.0, new)
    # END SOLUTION


# %% tags=["test"] q="backup" points=1
def test_stay_or_end(expected_backup):
    """The two states of the text: the row becomes (1, 0.75)."""
    P, R = np.zeros((2, 2, 2)), np.array([[1.0, 0.0], [9.0, 9.0]])
    P[0, 0, 1] = P[0, 1, 0] = P[1, :, 1] = 1.0
    expect(
        expected_backup(np.array([[0.0, 2.0], [5.0, 5.0]]), P, R, [False, True], 0.5, 0.5),
        [[1.0, 0.75], [0.0, 0.0]],
        look="what the policy makes of the row where a step leads, and what an end is worth",
    )


# %% tags=["test"] q="backup" points=2 hidden=true
def test_fixed_points(expected_backup, rng):
    """Repeated: at epsilon 0 the optimum; else the values of the policy that the table plays."""
    from rlcourse.algorithms.dynamic_programming import evaluate, policy_iteration, q_values
    from rlcourse.mdp import TabularMDP, random_mdp

    for epsilon in (0.0, 0.3):
        drawn = random_mdp(5, 3, branching=3, seed=int(rng.integers(2**31)))
        ends, gamma = np.arange(5) == 4, 0.6
        world = TabularMDP(drawn.transition, drawn.reward.copy(), ends)
        nonsense = np.where(ends[:, None], 7.0, drawn.reward)
        q = rng.normal(size=(5, 3))
        for _ in range(60):
            q = expected_backup(q, drawn.transition, nonsense, ends, gamma, epsilon)
            if np.shape(q) != (5, 3):
                fail(f"expected a table of shape (5, 3), got {np.shape(q)}")
        q = np.asarray(q)
        if epsilon:
            plays = np.full((5, 3), epsilon / 3)
            plays[np.arange(5), q.argmax(axis=1)] += 1 - epsilon
            values = evaluate(world, plays, gamma)
        else:
            *_, best = policy_iteration(world, gamma)
            values = best.values
        wanted = np.where(ends[:, None], 0.0, q_values(world, values, gamma))
        expect(
            q,
            wanted,
            tolerance=1e-6,
            look="the row of the state where the step leads, weighed by the policy",
            what=f"the table after sixty backups, epsilon = {epsilon}",
        )


# %% tags=["mutant"] q="backup" kills="test_stay_or_end test_fixed_points"
def expected_backup(q, P, R, terminal, gamma, epsilon):
    """The maximum instead of the policy: Q-learning's answer to SARSA's question."""
    ends = np.asarray(terminal, dtype=bool)
    values = np.where(ends, 0.0, np.max(q, axis=1))
    return np.where(ends[:, None], 0.0, R + gamma * P @ values)


# %% tags=["mutant"] q="backup" kills="test_stay_or_end test_fixed_points"
def expected_backup(q, P, R, terminal, gamma, epsilon):
    """The end keeps the value that the table gives it."""
    values = np.array([policy(row, epsilon) @ np.asarray(row, dtype=float) for row in q])
    return R + gamma * P @ values


# %% [markdown]
# Now the cliff, without a single step. *Guess: at which ε does the walker that SARSA is after
# leave the edge? How many steps does its road then have?*

# %% tags=["trial"] q="backup"
CLIFF = from_env(make("CliffWalking-v1"))


def road(actions):
    """How many steps the greedy walk from the start takes; 99 if it does not arrive."""
    cell, steps = 36, 0
    while cell != 47 and steps < 99:
        cell, steps = int(CLIFF.successors(cell, int(actions[cell])).argmax()), steps + 1
    return steps


if written(expected_backup):
    print("epsilon   steps of the best road   what it earns, exploring")
    for epsilon in (0.0, 0.005, 0.05, 0.1, 0.3):
        q = np.zeros((CLIFF.num_states, 4))
        for _ in range(400):
            model = (CLIFF.transition, CLIFF.reward, CLIFF.terminal)
            q = np.asarray(expected_backup(q, *model, 1.0, epsilon))
        earned = np.asarray(policy(q[36], epsilon)) @ q[36]
        print(f"{epsilon:7}{road(q.round(6).argmax(axis=1)):22d}{earned:27.2f}")

# %% [markdown]
# ## 3. Two tables
#
# Double Q-learning keeps two tables. In each step a coin says which one learns. The one that learns
# *chooses* the best next action; the other one says what that choice is worth.
#
# Write `double_update(first, second, s, a, reward, next_s, discount, alpha, heads)` which returns
# `(first, second)` as new arrays: with `heads` the first one learns, else the second. Of equally
# good next actions take the one with the smallest number.
#
# By hand: the rows of the next state are (1, 7, 2) and (9, 3, 8); reward 1, discount ½. Heads: the
# first one chooses action 1, the second says 3, the target is 2.5. Tails: the second one chooses
# action 0, the first says 1, the target is 1.5.


# %% tags=["task"] q="double"
def double_update(first, second, s, a, reward, next_s, discount, alpha, heads):
    """Both tables `[S, A]` after one step of Double Q-learning, as new arrays."""
    # BEGIN SOLUTION
    first, second = np.array(first, dtype=float), np.array(second, dtype=float)
    learner, judge = (first, second) if heads else (second, first)
    choice = learner[next_s].argmax()
    target = reward + discount * judge[next_s, choice]
    learner[s, a] += alpha * (target - learner[s, a])
    return first, second
    # END SOLUTION


# %% tags=["test"] q="double" points=1
def test_heads_and_tails(double_update):
    """The rows of the text: targets 2.5 for the first table and 1.5 for the second."""
    first = np.array([[0.0, 0.0, 0.0], [1.0, 7.0, 2.0]])
    second = np.array([[4.0, 4.0, 4.0], [9.0, 3.0, 8.0]])
    for heads, rows in ((True, ([0, 1.25, 0], [4, 4, 4])), (False, ([0, 0, 0], [4, 2.75, 4]))):
        got = double_update(first, second, 0, 1, 1.0, 1, 0.5, 0.5, heads)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("expected two tables, (first, second)")
        look = "who chooses the next action, and who is asked what it is worth"
        expect(got[0], [rows[0], first[1]], look=look, what=f"first, heads = {heads}")
        expect(got[1], [rows[1], second[1]], look=look, what=f"second, heads = {heads}")


# %% tags=["test"] q="double" points=2 hidden=true
def test_the_other_one_judges(double_update, rng):
    """Random tables, ends, steps that stay where they are; your inputs do not change."""
    for heads, discount, next_s in (
        (True, 0.9, 2),
        (False, 0.9, 2),
        (True, 0.0, 1),
        (False, 0.8, 0),
    ):
        first, second = rng.normal(size=(2, 3, 4))
        tables = {True: first.copy(), False: second.copy()}
        row, other = tables[heads][next_s], tables[not heads][next_s]
        choice = max(range(4), key=lambda b, row=row: row[b])
        target = 2.0 + discount * float(other[choice])
        tables[heads][0, 3] = 0.7 * tables[heads][0, 3] + 0.3 * target
        got, changed = after(double_update, first, second, 0, 3, 2.0, next_s, discount, 0.3, heads)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("expected two tables, (first, second)")
        look = "the table that learns chooses; the other one judges"
        expect(got[0], tables[True], look=look, what=f"first, heads = {heads}")
        expect(got[1], tables[False], look=look, what=f"second, heads = {heads}")
        expect(changed[0], first, look="np.array(first) makes a copy", what="your first table")
        expect(changed[1], second, look="np.array(second) makes a copy", what="your second table")


# %% tags=["mutant"] q="double" kills="test_heads_and_tails test_the_other_one_judges"
def double_update(first, second, s, a, reward, next_s, discount, alpha, heads):
    """Each table asks itself: two Q-learners that share the data, and their optimism."""
    first, second = np.array(first, dtype=float), np.array(second, dtype=float)
    learner = first if heads else second
    learner[s, a] += alpha * (reward + discount * learner[next_s].max() - learner[s, a])
    return first, second


# %% tags=["mutant"] q="double" kills="test_heads_and_tails test_the_other_one_judges"
def double_update(first, second, s, a, reward, next_s, discount, alpha, heads):
    """The other one's maximum: it chooses and judges at once."""
    first, second = np.array(first, dtype=float), np.array(second, dtype=float)
    learner, judge = (first, second) if heads else (second, first)
    learner[s, a] += alpha * (reward + discount * judge[next_s].max() - learner[s, a])
    return first, second


# %% tags=["mutant"] q="double" kills="test_the_other_one_judges"
def double_update(first, second, s, a, reward, next_s, discount, alpha, heads):
    """In place: the caller's tables change behind its back."""
    learner, judge = (first, second) if heads else (second, first)
    target = reward + discount * judge[next_s, learner[next_s].argmax()]
    learner[s, a] += alpha * (target - learner[s, a])
    return first, second


# %% [markdown]
# ## 4. What a maximum does to honest numbers
#
# Ten slot machines pay 1 or nothing, each with chance ½. Pull each of them $n$ times and take the
# largest of the ten means: that is what Q-learning's target believes in.
#
# Write `largest_mean(chances, n) -> float`: the *expected* largest mean of machines with these
# chances `[K]`, pulled $n$ times each. No sampling: the number of wins of one machine is binomial,
# the largest of several is at most $k$ exactly if all are.
#
# By hand: two machines of chance ½, one pull: the largest is 0 with probability ¼, else 1. So ¾,
# where the truth is ½.


# %% tags=["task"] q="bias"
def largest_mean(chances, n):
    """Expected largest of the mean rewards of K machines, each pulled `n` times; a float."""
    # BEGIN SOLUTION
    from math import comb

    at_most = np.ones(n + 1)  # probability that the largest number of wins is <= k
    for p in chances:
        at_most *= np.cumsum([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])
    exactly = np.diff(at_most, prepend=0.0)
    return float(exactly @ np.arange(n + 1) / n)
    # END SOLUTION


# %% tags=["test"] q="bias" points=1
def test_two_coins(largest_mean):
    """Two fair coins, one throw each: 3/4 on average. One coin alone: its own chance."""
    look = "the probability that *all* machines have at most k wins"
    expect(largest_mean([0.5, 0.5], 1), 0.75, look=look, what="two coins, one throw")
    expect(largest_mean([0.3], 7), 0.3, look=look, what="one machine of chance 0.3")


# %% tags=["test"] q="bias" points=1 hidden=true
def test_every_outcome(largest_mean, rng):
    """Three machines of random chances: every combination of wins."""
    from itertools import product

    from scipy.special import binom

    for n in (1, 2, 5):
        p = rng.uniform(0.1, 0.9, size=3)
        wanted = sum(
            float(np.prod([binom(n, w) * c**w * (1 - c) ** (n - w) for w, c in zip(wins, p)]))
            * max(wins)
            / n
            for wins in product(range(n + 1), repeat=3)
        )
        expect(
            largest_mean([float(x) for x in p], n),
            wanted,
            look="the step from 'at most k' to 'exactly k'",
            what=f"chances {p.round(3)}, {n} pulls",
        )


# %% tags=["mutant"] q="bias" kills="test_two_coins test_every_outcome"
def largest_mean(chances, n):
    """The largest of the expected means: a maximum and an expectation do not change places."""
    return float(max(chances))


# %% tags=["mutant"] q="bias" kills="test_every_outcome"
def largest_mean(chances, n):
    """As if all machines were like the first one."""
    from math import comb

    p = chances[0]
    below = np.cumsum([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])
    exactly = np.diff(below ** len(chances), prepend=0.0)
    return float(exactly @ np.arange(n + 1) / n)


# %% tags=["trial"] q="bias"
if written(largest_mean):
    pulls = [1, 2, 5, 10, 20, 50, 100]
    fig, panel = new_figure(height=3.0)
    for colour, machines in zip(COLOURS, (2, 4, 10)):
        curve = [largest_mean([0.5] * machines, n) for n in pulls]
        panel.plot(pulls, curve, color=colour, label=f"{machines} machines")
        print(f"{machines:2d} machines" + "".join(f"{x:8.3f}" for x in curve))
    panel.axhline(0.5, linestyle="--", linewidth=1.0, color="grey", label="the truth")
    panel.set(xscale="log", xlabel="pulls of each machine", ylabel="expected largest mean")
    panel.legend(fontsize=9)
    alt = f"The largest of ten means starts at {largest_mean([0.5] * 10, 1):.2f} and falls to 1/2."
    display(show_figure(fig, alt=alt))

# %% [markdown]
# ## 5. Along the cliff
#
# Last, a learner that walks. Write `train(kind, steps, alpha, epsilon, seed) -> [48, 4]`, one table
# on `make("CliffWalking-v1")`, undiscounted, from a table of zeros. `kind` is `"sarsa"`,
# `"expected"` or `"q"`: the target.
#
# - World: `env.reset(seed=seed)` once. Your dice: `np.random.default_rng([seed, 1])`, once.
# - The next action is drawn *before* the update, in all three kinds, from `policy`.
# - Nothing follows an end. A clock is no end: there the future counts. After either, a new
#   episode begins with `env.reset()`, and the first action is drawn anew.


# %% tags=["task"] q="train"
def train(kind, steps, alpha, epsilon, seed):
    """The table `[48, 4]` of "sarsa", "expected" or "q" after so many steps along the cliff."""
    # BEGIN SOLUTION
    env, rng = make("CliffWalking-v1"), np.random.default_rng([seed, 1])
    q = np.zeros((48, 4))

    def draw(s):
        return int(np.searchsorted(np.cumsum(policy(q[s], epsilon))[:-1], rng.random(), "right"))

    s, _ = env.reset(seed=seed)
    a = draw(s)
    for _ in range(steps):
        next_s, reward, terminated, truncated, _ = env.step(a)
        next_a = draw(next_s)
        if kind == "sarsa":
            ahead = q[next_s, next_a]
        elif kind == "expected":
            ahead = policy(q[next_s], epsilon) @ q[next_s]
        else:
            ahead = q[next_s].max()
        q[s, a] += alpha * (reward + (0.0 if terminated else ahead) - q[s, a])
        if terminated or truncated:
            next_s, _ = env.reset()
            next_a = draw(next_s)
        s, a = next_s, next_a
    return q
    # END SOLUTION


# %% tags=["test"] q="train" points=2
def test_shortest_road(train):
    """Q-learning, three seeds: the greedy walk takes the thirteen steps along the edge."""
    from rlcourse.envs.vector import make
    from rlcourse.evaluation import exact_return
    from rlcourse.mdp import from_env

    cliff = from_env(make("CliffWalking-v1"))
    for seed in range(3):
        q = train("q", 12_000, 0.5, 0.1, seed)
        if np.shape(q) != (48, 4):
            fail(f"expected a table of shape (48, 4), got {np.shape(q)}")
        expect(
            exact_return(cliff, np.asarray(q).argmax(axis=1), horizon=200),
            -13.0,
            look="the target of kind 'q', and what follows the last step",
            what=f"what the greedy walk earns, seed {seed}",
        )


# %% tags=["test"] q="train" points=2 hidden=true
def test_the_walker_that_you_are(train, rng):
    """Expected SARSA, three seeds: its hand trembles, and in the median it earns -24 or more."""
    from rlcourse.envs.vector import make
    from rlcourse.evaluation import exact_return
    from rlcourse.mdp import from_env

    cliff, earned = from_env(make("CliffWalking-v1")), []
    for seed in rng.integers(10**6, size=3):
        q = train("expected", 12_000, 0.5, 0.1, int(seed))
        if np.shape(q) != (48, 4):
            fail(f"expected a table of shape (48, 4), got {np.shape(q)}")
        plays = np.full((48, 4), 0.025)
        plays[np.arange(48), np.asarray(q).argmax(axis=1)] += 0.9
        earned.append(exact_return(cliff, plays, horizon=1000))
    if not np.median(earned) >= -24:
        fail(
            f"expected a trembling hand that earns -24 or more, got {np.median(earned):.1f}; "
            "look at the target of kind 'expected': the policy's own mean"
        )


# %% tags=["mutant"] q="train" kills="test_the_walker_that_you_are"
def train(kind, steps, alpha, epsilon, seed):
    """Q-learning under every name."""
    return _walk(steps, alpha, epsilon, seed, lambda row: row.max())


def _walk(steps, alpha, epsilon, seed, ahead):
    env, rng = make("CliffWalking-v1"), np.random.default_rng([seed, 1])
    q = np.zeros((48, 4))
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = int(np.searchsorted(np.cumsum(policy(q[s], epsilon))[:-1], rng.random(), "right"))
        next_s, reward, terminated, truncated, _ = env.step(a)
        q[s, a] += alpha * (reward + (0.0 if terminated else ahead(q[next_s])) - q[s, a])
        s = env.reset()[0] if terminated or truncated else next_s
    return q


# %% tags=["mutant"] q="train" kills="test_shortest_road"
def train(kind, steps, alpha, epsilon, seed):
    """Expected SARSA under every name."""
    return _walk(steps, alpha, epsilon, seed, lambda row: policy(row, epsilon) @ row)


def _walk(steps, alpha, epsilon, seed, ahead):
    env, rng = make("CliffWalking-v1"), np.random.default_rng([seed, 1])
    q = np.zeros((48, 4))
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = int(np.searchsorted(np.cumsum(policy(q[s], epsilon))[:-1], rng.random(), "right"))
        next_s, reward, terminated, truncated, _ = env.step(a)
        q[s, a] += alpha * (reward + (0.0 if terminated else ahead(q[next_s])) - q[s, a])
        s = env.reset()[0] if terminated or truncated else next_s
    return q


# %% tags=["mutant"] q="train" kills="test_shortest_road test_the_walker_that_you_are"
def train(kind, steps, alpha, epsilon, seed):
    """The future is forgotten: only the reward of the step counts."""
    env, rng = make("CliffWalking-v1"), np.random.default_rng([seed, 1])
    q = np.zeros((48, 4))
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = int(np.searchsorted(np.cumsum(policy(q[s], epsilon))[:-1], rng.random(), "right"))
        next_s, reward, terminated, truncated, _ = env.step(a)
        q[s, a] += alpha * (reward - q[s, a])
        s = env.reset()[0] if terminated or truncated else next_s
    return q


# %% tags=["trial"] q="train"
if written(train):
    print("earned with a trembling hand (epsilon 0.1), five seeds, judged by the model")
    for kind, alpha in (("sarsa", 0.5), ("expected", 0.5), ("q", 0.5)):
        earned = []
        for seed in range(5):
            plays = np.full((CLIFF.num_states, 4), 0.025)
            best = train(kind, 12_000, alpha, 0.1, seed).argmax(axis=1)
            plays[np.arange(48), best] += 0.9
            earned.append(float(CLIFF.start @ evaluate(CLIFF, plays, 1.0)))
        print(f"{kind:9s} alpha {alpha}: " + " ".join(f"{x:8.1f}" for x in sorted(earned)))

# %% [markdown]
# ## 6. Yours: a picture and five sentences
#
# **The picture (2 points).** What the trembling walker earns (judged by the model, as in the last
# cell) against the step size α, for `"sarsa"` and `"expected"`, at least five seeds: every seed a
# point, the median a line. Names and units.
#
# **The sentences (4 points).** (a) Where do the two part, and which number of part 1 explains it?
# Compute that number for one row of a table that you trained. (b) Somebody says: "SARSA is safer
# than Q-learning." Say it correctly, with two numbers of your own runs.

# %%
# Your picture.

# %% [markdown]
# *Your sentences.*

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Timing.** Policy and moments 12 minutes, backup 15, two tables 12, the maximum 12, the cliff 14;
# picture and sentences 10.
#
# **What goes wrong.**
#
# - The discount in a variance is squared.
# - Terminal rows. `CliffWalking` never leaves its goal, so a forgotten end shows nowhere there; the
#   random worlds of the tests have nonsense in those rows.
# - Double Q-learning in which the judge takes its own maximum. It is as optimistic as before.
# - "E max = max E." Two coins settle it.
# - Exploring only in the behaviour: `policy` in the target must be the same one.
#
# **Sentences, full marks.** (a) At large α SARSA falls behind: its target has the variance of part
# 1 on top, and a large step swallows it whole; Expected SARSA has none in this world, whose steps
# hold no chance. (b) SARSA is right about the walker that goes on exploring, and its road is the
# better one for *that* walker; once the hand is steady, the shortest road earns more.
#
# **Power.** Two tests rest on learning: three seeds of Q-learning, each exactly -13, and the median
# of three of Expected SARSA, -24 or more. The cell measures how often single runs reach the bars,
# and what follows for the tests.

# %% tags=["instructor"]
from math import comb

from rlcourse.evaluation import exact_return

RUNS = 6  # of each; more of them take longer and say it more exactly
reach = {}
for kind in ("q", "expected"):
    greedy, trembling = [], []
    for seed in range(100, 100 + RUNS):
        best = train(kind, 12_000, 0.5, 0.1, seed).argmax(axis=1)
        plays = np.full((48, 4), 0.025)
        plays[np.arange(48), best] += 0.9
        greedy.append(exact_return(CLIFF, best, horizon=200) == -13)
        trembling.append(exact_return(CLIFF, plays, horizon=1000) >= -24)
    p, t = np.mean(greedy), np.mean(trembling)
    median = sum(comb(3, k) * t**k * (1 - t) ** (3 - k) for k in (2, 3))
    print(f"{kind:9s} -13 in {p:.2f} of the runs, so three in a row with p of about {p**3:.4f}; "
          f"-24 in {t:.2f}, the median of three with {median:.4f}")  # fmt: skip
