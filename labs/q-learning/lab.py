# ---
# lab: q-learning
# title: "Q-learning: four lines, five ways to get them wrong"
# minutes: 60
# extras: ""
# version: 1
# ---

# %% [markdown]
# # Q-learning: four lines, five ways to get them wrong
#
# You will write the most copied loop of reinforcement learning.
# It has one update, one choice and two flags, and most copies of it that you will find have
# something wrong with them that no learning curve shows.
#
# Here nobody looks at curves.
# Your table goes to a judge who knows the world: every probability of it. The judge computes what
# your policy is worth, exactly, and compares it with the best there is.
#
# Chapter: *Learning from experience*. Time: 60 minutes. Automatic points: 14. By hand: 6.
#
# A table of action values is an array `q` `[S, A]`. Ends of episodes have two flags:
# `terminated` (the world is over: no future) and `truncated` (a clock stopped us: the future
# counts, we only did not see it).

# %%
import numpy as np

from rlcourse.algorithms.dynamic_programming import evaluate, policy_iteration
from rlcourse.envs.vector import make
from rlcourse.mdp import from_env
from rlcourse.plotting import COLOURS, new_figure, show_figure

# %% [markdown]
# ## 1. One entry
#
# Write `updated(q, s, a, reward, next_s, terminated, alpha, gamma) -> [S, A]`: the table after one
# step of Q-learning, as a new array.
#
# By hand: `q[s, a]` is 1, the step paid 2, the best entry of the next row is 4, γ = 0.9, α = ½.
# The target is 5.6, so the entry becomes 3.3. If the world ended with that step, the target is 2,
# *whatever stands in the next row*, and the entry becomes 1.5.


# %% tags=["task"] q="update"
def updated(q, s, a, reward, next_s, terminated, alpha, gamma):
    """The table `[S, A]` after one step of Q-learning; the one you were given stays."""
    # BEGIN SOLUTION
    q = np.array(q, dtype=float)
    future = 0.0 if terminated else gamma * q[next_s].max()
    q[s, a] += alpha * (reward + future - q[s, a])
    return q
    # END SOLUTION


# %% tags=["test"] q="update" points=1
def test_one_step_by_hand(updated):
    """The entry 1 becomes 3.3, and 1.5 if the world ended."""
    table = np.array([[0.0, 1.0], [4.0, -3.0]])
    expect(
        updated(table, 0, 1, 2.0, 1, False, 0.5, 0.9),
        [[0, 3.3], [4, -3]],
        look="the largest entry of the next row, discounted, and half of the difference",
        what="a step in mid-episode",
    )
    expect(
        updated(table, 0, 1, 2.0, 1, True, 0.5, 0.9),
        [[0, 1.5], [4, -3]],
        look="what may count after an end",
        what="a step that ended the world",
    )


# %% tags=["test"] q="update" points=1 hidden=true
def test_no_future_after_an_end(updated, rng):
    """Random tables whose end has a large left-over value: it is never paid out."""
    for terminated in (True, False, True):
        q = rng.normal(size=(4, 3))
        q[3] += 20.0
        s, a = int(rng.integers(3)), int(rng.integers(3))
        alpha, gamma, reward = (float(x) for x in rng.uniform(0.2, 0.9, size=3))
        wanted = q.copy()
        best = max(float(x) for x in q[3])
        target = reward if terminated else reward + gamma * best
        wanted[s, a] = (1 - alpha) * q[s, a] + alpha * target
        expect(
            updated(q, s, a, reward, 3, terminated, alpha, gamma),
            wanted,
            look="the flag, and the step size: it weighs the old entry, too",
            what=f"terminated = {terminated}",
        )


# %% tags=["test"] q="update" points=1 hidden=true
def test_a_copy_with_one_change(updated, rng):
    """A state that follows itself: the target is made with the old row, and your input stays."""
    q = rng.normal(size=(3, 4))
    a = int(q[1].argmax())  # the entry to be changed is the largest of its own row
    wanted = q.copy()
    wanted[1, a] += 0.5 * (1.0 + 0.9 * q[1].max() - q[1, a])
    got, changed = after(updated, q, 1, a, 1.0, 1, False, 0.5, 0.9)
    expect(got, wanted, look="which row the maximum is taken of", what="a step from 1 to 1")
    expect(changed[0], q, look="np.array(q) makes a copy", what="the table you were given")


# %% tags=["mutant"] q="update" kills="test_one_step_by_hand test_no_future_after_an_end"
def updated(q, s, a, reward, next_s, terminated, alpha, gamma):
    """No flag at all: ends are as good as whatever was left in their row."""
    q = np.array(q, dtype=float)
    q[s, a] += alpha * (reward + gamma * q[next_s].max() - q[s, a])
    return q


# %% tags=["mutant"] q="update" kills="test_one_step_by_hand test_no_future_after_an_end"
def updated(q, s, a, reward, next_s, terminated, alpha, gamma):
    """The end drops the reward, too."""
    q = np.array(q, dtype=float)
    q[s, a] += alpha * ((not terminated) * (reward + gamma * q[next_s].max()) - q[s, a])
    return q


# %% tags=["mutant"] q="update" kills="test_one_step_by_hand test_a_copy_with_one_change"
def updated(q, s, a, reward, next_s, terminated, alpha, gamma):
    """The mean of the next row: that is the value of a random walker."""
    q = np.array(q, dtype=float)
    future = 0.0 if terminated else gamma * q[next_s].mean()
    q[s, a] += alpha * (reward + future - q[s, a])
    return q


# %% tags=["mutant"] q="update" kills="test_a_copy_with_one_change"
def updated(q, s, a, reward, next_s, terminated, alpha, gamma):
    """In place: the caller's table changes behind its back."""
    future = 0.0 if terminated else gamma * q[next_s].max()
    q[s, a] += alpha * (reward + future - q[s, a])
    return q


# %% [markdown]
# ## 2. One choice
#
# Write `behave(row, epsilon, u, v) -> int`, the ε-greedy choice for one row `[A]` of the table,
# with its two dice as arguments, both uniform in [0, 1):
#
# - if `u < epsilon`, explore: `v` chooses among *all* actions, in equal parts, the first part for
#   action 0, and so on;
# - else be greedy: `v` chooses in the same way among *the best* actions, in the order of their
#   numbers. Mostly there is only one. While the table knows nothing, there are four.
#
# By hand: row (1, 3, 3, 0), ε = 0.2. `u = 0.1, v = 0.9` explores: action 3.
# `u = 0.5, v = 0.4` is greedy: action 1. `u = 0.5, v = 0.6`: action 2.


# %% tags=["task"] q="behave"
def behave(row, epsilon, u, v):
    """An action (an int) for one row `[A]`; `u` decides whether to explore, `v` which one."""
    # BEGIN SOLUTION
    row = np.asarray(row)
    among = np.arange(len(row)) if u < epsilon else np.flatnonzero(row == row.max())
    return int(among[int(v * len(among))])
    # END SOLUTION


# %% tags=["test"] q="behave" points=1
def test_three_throws(behave):
    """The three throws of the text: actions 3, 1 and 2."""
    row = np.array([1.0, 3.0, 3.0, 0.0])
    expect(behave(row, 0.2, 0.1, 0.9), 3, look="u < epsilon: any action", what="u 0.1, v 0.9")
    expect(behave(row, 0.2, 0.5, 0.4), 1, look="the best two share v", what="u 0.5, v 0.4")
    expect(behave(row, 0.2, 0.5, 0.6), 2, look="the best two share v", what="u 0.5, v 0.6")


# %% tags=["test"] q="behave" points=1 hidden=true
def test_all_throws(behave, rng):
    """A grid of throws: each action comes as often as epsilon and ties say, also below zero."""
    for row in ([-2.0, -1.0, -1.0, -5.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -3.0, -2.0, -9.0]):
        row = rng.permutation(row)
        epsilon = float(rng.choice([0.25, 0.5, 0.75]))
        wanted = np.full(4, epsilon / 4)
        for a in np.flatnonzero(row == max(row)):
            wanted[a] += (1 - epsilon) / list(row).count(max(row))
        got = [behave(row, epsilon, (i + 0.5) / 8, (j + 0.5) / 24)
               for i in range(8) for j in range(24)]  # fmt: skip
        if not all(isinstance(a, int) and 0 <= a < 4 for a in got):
            fail(f"expected actions from 0 to 3, got {sorted({str(a) for a in got})}")
        expect(
            np.bincount(got, minlength=4) / len(got),
            wanted,
            look="ties, and that exploring may hit the best action, too",
            what=f"the shares of the actions for {row}, epsilon {epsilon}",
        )


# %% tags=["mutant"] q="behave" kills="test_three_throws test_all_throws"
def behave(row, epsilon, u, v):
    """`argmax`: the first of the best, always. A table of zeros walks left for ever."""
    row = np.asarray(row)
    return int(v * len(row)) if u < epsilon else int(row.argmax())


# %% tags=["mutant"] q="behave" kills="test_three_throws test_all_throws"
def behave(row, epsilon, u, v):
    """The wrong way round: epsilon is the chance of being greedy."""
    row = np.asarray(row)
    among = np.arange(len(row)) if u >= epsilon else np.flatnonzero(row == row.max())
    return int(among[int(v * len(among))])


# %% [markdown]
# ## 3. A log, read to the last drop
#
# Somebody else walked, and you have their log: a list of `(s, a, reward, next_s, terminated)`.
# Q-learning does not mind who acted. But read once, with a small step, a log is mostly wasted.
#
# So read it in *sweeps*. Write `sweep(q, log, gamma) -> [S, A]`: each pair $(s, a)$ that occurs in
# the log becomes **the mean of its targets**, all of them made with the table as it was before the
# sweep. Pairs that do not occur keep their entry.
#
# Repeat it, and the table settles. At what? At the optimal values *of the world that the log
# suggests*: the one in which things happen as often as they happened in the log. You never write
# that model down, and yet you solve it; the hidden test does write it down.
#
# By hand: the pair (0, 0) occurs twice, once with reward 1 and an end, once with reward 0 and state
# 1 next, whose row is (2, 4). At γ = ½ the targets are 1 and 2, so the entry becomes 1.5.


# %% tags=["task"] q="log"
def sweep(q, log, gamma):
    """The table `[S, A]` after every pair of the log moved to the mean of its targets."""
    # BEGIN SOLUTION
    q = np.asarray(q, dtype=float)
    sums, counts = np.zeros(q.shape), np.zeros(q.shape)
    for s, a, reward, next_s, terminated in log:
        sums[s, a] += reward + (0.0 if terminated else gamma * q[next_s].max())
        counts[s, a] += 1
    return np.where(counts > 0, sums / np.maximum(counts, 1), q)
    # END SOLUTION


# %% tags=["test"] q="log" points=1
def test_mean_of_two_targets(sweep):
    """Targets 1 and 2 make 1.5, and what the log does not hold stays."""
    table = np.array([[9.0, 7.0], [2.0, 4.0], [8.0, 8.0]])
    log = [(0, 0, 1.0, 2, True), (0, 0, 0.0, 1, False)]
    expect(
        sweep(table, log, 0.5),
        [[1.5, 7], [2, 4], [8, 8]],
        look="the mean of the targets of a pair, and pairs without any",
    )


# %% tags=["test"] q="log" points=2 hidden=true
def test_solves_the_world_of_the_log(sweep, rng):
    """Repeated, it ends at the optimum of the model whose chances are the log's frequencies."""
    from rlcourse.algorithms.dynamic_programming import policy_iteration, q_values
    from rlcourse.mdp import TabularMDP

    for _ in range(2):
        log, gamma = [], 0.6
        counts, paid = np.zeros((5, 2, 5)), np.zeros((5, 2))
        for s in range(4):
            for a in range(2):
                for _ in range(int(rng.integers(1, 5))):
                    t, reward = int(rng.integers(5)), float(rng.normal())
                    log.append((s, a, reward, t, t == 4))
                    counts[s, a, t] += 1
                    paid[s, a] += reward
        log = [log[i] for i in rng.permutation(len(log))]
        seen = np.maximum(counts.sum(axis=2), 1)
        P = counts / seen[:, :, None]
        P[4, :, 4] = 1.0
        model = TabularMDP(P, paid / seen, np.arange(5) == 4)
        *_, best = policy_iteration(model, gamma)
        wanted = q_values(model, best.values, gamma)
        q = rng.normal(size=(5, 2))
        q[4] += 5.0  # a left-over row at the end: not in the log, never used
        end = q[4].copy()
        ahead = np.where(model.terminal, 0.0, q.max(axis=1))
        once = sweep(q, log, gamma)
        if np.shape(once) != (5, 2):
            fail(f"expected a table of shape (5, 2), got {np.shape(once)}")
        expect(
            np.asarray(once)[:4],
            q_values(model, ahead, gamma)[:4],
            look="the mean over all occurrences of a pair, each target with the *old* table",
            what="the table after one sweep",
        )
        for _ in range(50):
            q = sweep(q, log, gamma)
        q = np.asarray(q)
        expect(
            q[:4],
            wanted[:4],
            tolerance=1e-6,
            look="the maximum of the next row, and where it does not count",
            what="the table after fifty sweeps",
        )
        expect(q[4], end, look="the row of the end: no pair of the log", what="the last row")


# %% tags=["mutant"] q="log" kills="test_mean_of_two_targets test_solves_the_world_of_the_log"
def sweep(q, log, gamma):
    """The last occurrence wins: a world without chance."""
    q = np.asarray(q, dtype=float)
    new = q.copy()
    for s, a, reward, next_s, terminated in log:
        new[s, a] = reward + (0.0 if terminated else gamma * q[next_s].max())
    return new


# %% tags=["mutant"] q="log" kills="test_mean_of_two_targets test_solves_the_world_of_the_log"
def sweep(q, log, gamma):
    """The luckiest target instead of the mean: optimism for free."""
    q = np.asarray(q, dtype=float)
    found = {}
    for s, a, reward, next_s, terminated in log:
        target = reward + (0.0 if terminated else gamma * q[next_s].max())
        found[s, a] = max(found.get((s, a), -np.inf), target)
    new = q.copy()
    for (s, a), target in found.items():
        new[s, a] = target
    return new


# %% tags=["mutant"] q="log" kills="test_mean_of_two_targets test_solves_the_world_of_the_log"
def sweep(q, log, gamma):
    """Pairs that are not in the log are set to zero."""
    q = np.asarray(q, dtype=float)
    sums, counts = np.zeros(q.shape), np.zeros(q.shape)
    for s, a, reward, next_s, terminated in log:
        sums[s, a] += reward + (0.0 if terminated else gamma * q[next_s].max())
        counts[s, a] += 1
    return sums / np.maximum(counts, 1)


# %% tags=["mutant"] q="log" kills="test_solves_the_world_of_the_log"
def sweep(q, log, gamma):
    """The mean of the next rows where their maximum belongs: that values a random walker."""
    q = np.asarray(q, dtype=float)
    sums, counts = np.zeros(q.shape), np.zeros(q.shape)
    for s, a, reward, next_s, terminated in log:
        sums[s, a] += reward + (0.0 if terminated else gamma * q[next_s].mean())
        counts[s, a] += 1
    return np.where(counts > 0, sums / np.maximum(counts, 1), q)


# %% tags=["mutant"] q="log" kills="test_solves_the_world_of_the_log"
def sweep(q, log, gamma):
    """The newest entries inside the sweep: the result hangs on the order of the pairs."""
    q = np.array(q, dtype=float)
    for s, a in dict.fromkeys((int(step[0]), int(step[1])) for step in log):
        q[s, a] = np.mean(
            [
                r + (0.0 if end else gamma * q[t].max())
                for x, y, r, t, end in log
                if (x, y) == (s, a)
            ]
        )
    return q


# %% [markdown]
# A drunk has walked on the ice for a while, and you own the log.
# *Guess: how many of the drunk's steps does it take until the plan that your sweeps find is worth
# 95 % of the optimum? The drunk himself reaches the goal about once in sixty walks.*

# %% tags=["trial"] q="log"
ICE = from_env(make("FrozenLake-v1"))


def drunken_log(steps, seed):
    """What a random walker saw on the slippery lake."""
    env, rng, log = make("FrozenLake-v1"), np.random.default_rng([seed, 1]), []
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = int(rng.integers(4))
        t, reward, terminated, truncated, _ = env.step(a)
        log.append((s, a, float(reward), t, terminated))
        s = env.reset()[0] if terminated or truncated else t
    return log


if written(sweep):
    *_, best = policy_iteration(ICE, 0.95)
    for steps in (500, 2000, 8000):
        shares = []
        for seed in range(5):
            q, log = np.zeros((16, 4)), drunken_log(steps, seed)
            for _ in range(60 if steps < 8000 else 30):
                q = sweep(q, log, 0.95)
            shares.append(evaluate(ICE, q.argmax(axis=1), 0.95)[0] / best.values[0])
        print(f"{steps:5d} drunken steps: {np.mean(shares):5.0%} of the optimum on average, "
              f"from {min(shares):.0%} to {max(shares):.0%} (5 seeds)")  # fmt: skip

# %% [markdown]
# ## 4. The loop
#
# Now the whole learner, on real Gymnasium worlds. Write
#
# `train(env_id, options, steps, alpha, power, epsilon, gamma, initial, seed) -> [S, A]`
#
# - `env = make(env_id, **options)`; the table starts at `initial` everywhere;
# - seed the world **once**, with `env.reset(seed=seed)`, and your own dice once, with
#   `np.random.default_rng([seed, 1])`. *Not with `seed` alone:* Gymnasium makes its dice with just
#   that, and yours would be their twins, throwing the same numbers as the ice;
# - then one action a step, `steps` of them in all, by `behave`;
# - the step size of the $n$-th visit of a pair is `alpha / n ** power` (power 0: constant);
# - after `terminated` or `truncated` a new episode begins, with `env.reset()`. Only one of the
#   two ends the *future*.
#
# `env.step(a)` returns `(next_s, reward, terminated, truncated, info)`; there are
# `env.observation_space.n` states and `env.action_space.n` actions.


# %% tags=["task"] q="train"
def train(env_id, options, steps, alpha, power, epsilon, gamma, initial, seed):
    """The table `[S, A]` of Q-learning after so many steps in a Gymnasium world."""
    # BEGIN SOLUTION
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    q = np.full((env.observation_space.n, env.action_space.n), float(initial))
    visits = np.zeros(q.shape)
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = behave(q[s], epsilon, rng.random(), rng.random())
        next_s, reward, terminated, truncated, _ = env.step(a)
        visits[s, a] += 1
        step_size = alpha / visits[s, a] ** power
        target = reward + (0.0 if terminated else gamma * q[next_s].max())
        q[s, a] += step_size * (target - q[s, a])
        s = env.reset()[0] if terminated or truncated else next_s
    return q
    # END SOLUTION


# %% tags=["test"] q="train" points=1
def test_a_clock_is_not_an_end(train):
    """Reward 1 for ever, cut every ten steps: the value is 1 / (1 - gamma) = 10."""
    got = train("rlcourse/Probe-Forever-v0", {}, 3000, 0.5, 0.0, 0.1, 0.9, 0.0, 0)
    if np.ndim(got) != 2:
        fail(f"expected a table [S, A], got shape {np.shape(got)}")
    expect(
        np.asarray(got)[0],
        [10.0],
        tolerance=0.01,
        look="which of the two flags ends the future",
        what="the only state of a world that never ends",
    )


# %% tags=["test"] q="train" points=2
def test_dry_lake(train):
    """Three seeds, a table of zeros: the greedy policy reaches the goal, says the model."""
    from rlcourse.envs.vector import make
    from rlcourse.evaluation import exact_return
    from rlcourse.mdp import from_env

    lake = from_env(make("FrozenLake-v1", is_slippery=False))
    for seed in range(3):
        got = train("FrozenLake-v1", {"is_slippery": False}, 5000, 0.5, 0.0, 0.2, 0.9, 0.0, seed)
        if np.shape(got) != (16, 4):
            fail(f"expected a table of shape (16, 4), got {np.shape(got)}")
        success = exact_return(lake, np.asarray(got).argmax(axis=1), horizon=100)
        expect(
            success,
            1.0,
            look="what your agent does while all entries are equal",
            what=f"chance to reach the goal, seed {seed}",
        )


# %% tags=["test"] q="train" points=1 hidden=true
def test_an_end_has_no_future(train, rng):
    """Terminated and truncated on the same step, and an optimistic table: the end has no future."""
    gamma, initial = float(rng.uniform(0.6, 0.95)), float(rng.uniform(3, 9))
    seed = int(rng.integers(1000))
    got = train("rlcourse/Probe-LastMoment-v0", {}, 3000, 0.5, 0.0, 0.1, gamma, initial, seed)
    if np.ndim(got) != 2 or len(got) < 3:
        fail(f"expected a table [S, A], got shape {np.shape(got)}")
    expect(
        np.asarray(got)[:3, 0],
        [1 + gamma + gamma**2, 1 + gamma, 1.0],
        tolerance=1e-3,
        look="a step that the world and the clock ended together",
        what="three steps that pay one each",
    )


# %% tags=["test"] q="train" points=1 hidden=true
def test_both_starts(train, rng):
    """A world that begins in one of two states: both are learned, so both were met."""
    seed = int(rng.integers(10**6))
    got = train("rlcourse/Probe-Observation-v0", {}, 600, 0.5, 0.0, 0.5, 0.9, 0.0, seed)
    if np.ndim(got) != 2 or len(got) < 2:
        fail(f"expected a table [S, A], got shape {np.shape(got)}")
    expect(
        np.asarray(got)[:2],
        [[1.0, -1.0], [-1.0, 1.0]],
        tolerance=1e-3,
        look="how often you seed the world: a reset with the same seed begins in the same state",
        what="the two states in which an episode may begin",
    )


# %% tags=["test"] q="train" points=1 hidden=true
def test_the_lake_is_learned(train, rng):
    """Five new seeds on ice: the median policy earns 90 % of the optimum, says the model."""
    from rlcourse.algorithms.dynamic_programming import evaluate, policy_iteration
    from rlcourse.envs.vector import make
    from rlcourse.mdp import from_env

    ice, options = from_env(make("FrozenLake-v1", success_rate=0.8)), {"success_rate": 0.8}
    *_, best = policy_iteration(ice, 0.95)
    shares = []
    for seed in rng.integers(10**6, size=5):
        got = train("FrozenLake-v1", options, 10_000, 1.0, 0.6, 0.3, 0.95, 1.0, int(seed))
        if np.shape(got) != (16, 4):
            fail(f"expected a table of shape (16, 4), got {np.shape(got)}")
        earned = evaluate(ice, np.asarray(got).argmax(axis=1), 0.95)[0]
        shares.append(float(earned / best.values[0]))
    if not np.median(shares) >= 0.9:
        fail(
            "expected a median policy worth at least 90 % of the optimum, got "
            f"{np.median(shares):.0%}; look at the step size of the n-th visit of a pair"
        )


# %% tags=["mutant"] q="train" kills="test_a_clock_is_not_an_end"
def train(env_id, options, steps, alpha, power, epsilon, gamma, initial, seed):
    """done = terminated or truncated: a clock is taken for death."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    q = np.full((env.observation_space.n, env.action_space.n), float(initial))
    visits = np.zeros(q.shape)
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = behave(q[s], epsilon, rng.random(), rng.random())
        next_s, reward, terminated, truncated, _ = env.step(a)
        visits[s, a] += 1
        done = terminated or truncated
        target = reward + (0.0 if done else gamma * q[next_s].max())
        q[s, a] += alpha / visits[s, a] ** power * (target - q[s, a])
        s = env.reset()[0] if done else next_s
    return q


# %% tags=["mutant"] q="train" kills="test_an_end_has_no_future"
def train(env_id, options, steps, alpha, power, epsilon, gamma, initial, seed):
    """Truncated means bootstrap, even where the world ended on the same step."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    q = np.full((env.observation_space.n, env.action_space.n), float(initial))
    visits = np.zeros(q.shape)
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = behave(q[s], epsilon, rng.random(), rng.random())
        next_s, reward, terminated, truncated, _ = env.step(a)
        visits[s, a] += 1
        ended = terminated and not truncated
        target = reward + (0.0 if ended else gamma * q[next_s].max())
        q[s, a] += alpha / visits[s, a] ** power * (target - q[s, a])
        s = env.reset()[0] if terminated or truncated else next_s
    return q


# %% tags=["mutant"] q="train" kills="test_dry_lake"
def train(env_id, options, steps, alpha, power, epsilon, gamma, initial, seed):
    """`argmax` of a row of zeros is 0: the agent leans against the western wall."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    q = np.full((env.observation_space.n, env.action_space.n), float(initial))
    visits = np.zeros(q.shape)
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = int(rng.integers(q.shape[1])) if rng.random() < epsilon else int(q[s].argmax())
        next_s, reward, terminated, truncated, _ = env.step(a)
        visits[s, a] += 1
        target = reward + (0.0 if terminated else gamma * q[next_s].max())
        q[s, a] += alpha / visits[s, a] ** power * (target - q[s, a])
        s = env.reset()[0] if terminated or truncated else next_s
    return q


# %% tags=["mutant"] q="train" kills="test_the_lake_is_learned"
def train(env_id, options, steps, alpha, power, epsilon, gamma, initial, seed):
    """The step size never falls: the table is the last piece of luck, slightly blurred."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    q = np.full((env.observation_space.n, env.action_space.n), float(initial))
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = behave(q[s], epsilon, rng.random(), rng.random())
        next_s, reward, terminated, truncated, _ = env.step(a)
        target = reward + (0.0 if terminated else gamma * q[next_s].max())
        q[s, a] += alpha * (target - q[s, a])
        s = env.reset()[0] if terminated or truncated else next_s
    return q


# %% tags=["mutant"] q="train" kills="test_both_starts"
def train(env_id, options, steps, alpha, power, epsilon, gamma, initial, seed):
    """`reset(seed=seed)` at every start: each episode begins, and slips, in the same places."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    q = np.full((env.observation_space.n, env.action_space.n), float(initial))
    visits = np.zeros(q.shape)
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = behave(q[s], epsilon, rng.random(), rng.random())
        next_s, reward, terminated, truncated, _ = env.step(a)
        visits[s, a] += 1
        target = reward + (0.0 if terminated else gamma * q[next_s].max())
        q[s, a] += alpha / visits[s, a] ** power * (target - q[s, a])
        s = env.reset(seed=seed)[0] if terminated or truncated else next_s
    return q


# %% tags=["mutant"] q="train" kills="test_both_starts"
def train(env_id, options, steps, alpha, power, epsilon, gamma, initial, seed):
    """Twin dice: the agent explores exactly when the world throws a certain number."""
    env, rng = make(env_id, **options), np.random.default_rng(seed)
    q = np.full((env.observation_space.n, env.action_space.n), float(initial))
    visits = np.zeros(q.shape)
    s, _ = env.reset(seed=seed)
    for _ in range(steps):
        a = behave(q[s], epsilon, rng.random(), rng.random())
        next_s, reward, terminated, truncated, _ = env.step(a)
        visits[s, a] += 1
        target = reward + (0.0 if terminated else gamma * q[next_s].max())
        q[s, a] += alpha / visits[s, a] ** power * (target - q[s, a])
        s = env.reset()[0] if terminated or truncated else next_s
    return q


# %% [markdown]
# The same learner, the same ice, five seeds, judged by the model while it learns.
# *Guess: which is better after 10,000 steps, a step size of 0.8 or one that falls as* $n^{-0.6}$*?
# And after 500?*

# %% tags=["trial"] q="train"
if written(train):
    world = from_env(make("FrozenLake-v1", success_rate=0.8))
    *_, best = policy_iteration(world, 0.95)
    budgets = (250, 500, 1000, 2000, 4000, 8000)
    fig, panel = new_figure(height=3.2)
    for colour, (name, alpha, power) in zip(COLOURS, (("falling", 1.0, 0.6), ("0.8", 0.8, 0.0))):
        runs = []
        for seed in range(5):
            tables = [
                train("FrozenLake-v1", {"success_rate": 0.8}, b, alpha, power, 0.3, 0.95, 1.0, seed)
                for b in budgets
            ]
            earned = [evaluate(world, np.argmax(q, axis=1), 0.95)[0] for q in tables]
            runs.append(np.array(earned) / best.values[0])
        runs = np.array(runs)
        panel.plot(budgets, runs.T, color=colour, alpha=0.3, linewidth=0.8)
        panel.plot(budgets, runs.mean(axis=0), color=colour, label=f"step size {name}")
        print(f"step size {name:8s}" + "".join(f"{x:7.0%}" for x in runs.mean(axis=0)))
    panel.set(xscale="log", xlabel="steps", ylabel="greedy policy, share of the optimum")
    panel.legend(fontsize=9)
    display(show_figure(fig, alt="A falling step climbs to the optimum; 0.8 jumps up and down."))

# %% [markdown]
# ## 5. Yours: a picture and five sentences
#
# **The picture (2 points).** Choose one of the bugs of this lab (no flag, the clock as an end,
# `argmax`, `reset(seed)` at every start, a step size that never falls). Draw your right `train`
# against the broken one, on a world where the bug shows, judged by the model, at least five seeds:
# thin lines for the seeds, thick for the mean. Names and units.
#
# **The sentences (4 points).** (a) On which world does your bug *not* show, and why? Name one, with
# a number of your own run. (b) In part 3 the drunk was no master, and your plan was nearly one.
# Where did that knowledge come from? What must a log contain so that no reader can do this?

# %%
# Your picture.

# %% [markdown]
# *Your sentences.*

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Timing.** Entry 8 minutes, choice 8, log 14, loop 18; picture and sentences 12.
#
# **What goes wrong.**
#
# - `terminated` is ignored, and everything works: a terminal row that starts at zero stays there.
#   The tests put numbers into it.
# - `done = terminated or truncated` from old tutorials. The world that pays for ever settles it.
# - `q[s].argmax()` on a row of zeros: hardly an agent ever gets off the western wall.
# - `env.reset(seed=seed)` in the loop, "for reproducibility". On a dry lake it shows nowhere; a
#   world with two first states shows it at once.
# - The same seed for the world and for the agent. Both make `np.random.default_rng(seed)`, and from
#   then on the agent explores exactly when the world throws a certain number. In the world with two
#   first states one action is then tried a single time. Nobody finds this in a learning curve.
# - `sweep` with the newest table inside the sweep: it settles at the same values, and on the way
#   there the order of the log matters. The test looks at one sweep, and then at fifty.
#
# **Sentences, full marks.** (a) For instance: no flag shows nothing while the table starts at
# zero; `reset(seed)` shows nothing on a dry lake; with their own number. (b) From the target: the
# maximum asks for the best next action, whoever acted. A log in which a needed pair never occurs
# tells nobody about it.
#
# **Power.** One test rests on luck: the slippery lake, the median of five seeds, 90 % of the
# optimum. The cell measures how often one run of the right solution, and one of the step size that
# never falls, reaches the bar, and computes from it how often three or more of five do.

# %% tags=["instructor"]
from math import comb

RUNS = 24  # of each; more of them take longer and say it more exactly
world = from_env(make("FrozenLake-v1", success_rate=0.8))
*_, best = policy_iteration(world, 0.95)
print(
    f"{RUNS} runs of each    worst   reach the bar   the median of five reaches it with p of about"
)
for name, power in (("right", 0.6), ("constant step", 0.0)):
    shares = []
    for seed in range(100, 100 + RUNS):
        q = train("FrozenLake-v1", {"success_rate": 0.8}, 10_000, 1.0, power, 0.3, 0.95, 1.0, seed)
        shares.append(evaluate(world, np.argmax(q, axis=1), 0.95)[0] / best.values[0])
    p = np.mean(np.array(shares) >= 0.9)
    median = sum(comb(5, k) * p**k * (1 - p) ** (5 - k) for k in (3, 4, 5))
    print(f"{name:14s}{min(shares):13.3f}{p:16.2f}{median:16.4f}")
