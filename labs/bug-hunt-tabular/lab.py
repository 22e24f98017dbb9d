# ---
# lab: bug-hunt-tabular
# title: "Bug hunt A: the agent that passed its demo"
# minutes: 60
# extras: ""
# version: 1
# ---

# %% [markdown]
# # Bug hunt A: the agent that passed its demo
#
# Somebody has left the company, and you inherit their agent: fifty lines, three update rules,
# targets over several steps, an exploration that cools down.
# There was a demo on a slippery lake. It went very well.
#
# The agent has five bugs.
# None of them raises an error. Each is of a kind that well-known code has had.
#
# You will not find them by watching curves.
# You will send the agent into worlds so small that you know the right answer by heart, see which
# answer is wrong, and ask: *which line could do this, and only this?*
#
# Chapter: *Learning from experience*. Time: 60 minutes. Automatic points: 14. By hand: 6.
#
# **First run every cell down to the table, without reading the code.** You know what an agent does
# before you know why.

# %%
import numpy as np

from rlcourse.algorithms.dynamic_programming import evaluate, policy_iteration
from rlcourse.envs.vector import make
from rlcourse.evaluation import exact_return
from rlcourse.mdp import from_env

# %% [markdown]
# ## 1. The agent
#
# What it is meant to do, function by function. This part is right; where the code says something
# else, the code is wrong.
#
# - `chances(row, epsilon) -> [A]`: the probabilities of ε-greedy for one row `[A]` of a table. Any
#   action with probability ε, else one of the best; equally good actions share.
# - `exploration(step, steps, first, last)`: ε of a step. Over the first half of the steps it falls
#   in a straight line from `first` to `last`; then it stays at `last`.
# - `worth(tables, which, s, rule, epsilon)`: what state `s` is worth to the table that is about to
#   learn, `tables[which]`. Rule `"max"`: its best entry. `"expected"`: its mean under ε-greedy.
#   `"double"`: it names its best action, and the *other* table says what that one is worth.
# - `learn(table, window, tail, alpha, gamma)`: the window holds one to n steps `(s, a, reward)` in
#   a row, and `tail` is the worth of the state behind them. The entry of the first pair moves by
#   `alpha` towards the discounted sum of the rewards and the tail. It changes the table in place.
# - `train(env_id, options, steps, rule, n, alpha, gamma, first, last, initial, seed)`: the loop.
#   One action a step, a window of up to n steps; when an episode is over, every step that is left
#   in the window is learned from. A world that `terminated` has no future. A walk that a clock
#   `truncated` has one. Rule `"double"` keeps two tables, and a coin says which one learns. All
#   tables begin at `initial`; the result `[S, A]` is their mean.


# %% tags=["task"] q="agent"
def chances(row, epsilon):
    """Probabilities `[A]` of epsilon-greedy for one row `[A]` of a table."""
    # BEGIN SOLUTION
    best = row == row.max()
    # END SOLUTION
    # BEGIN STUDENT
    # best = np.arange(row.size) == row.argmax()
    # END STUDENT
    return epsilon / row.size + (1 - epsilon) * best / best.sum()


def exploration(step, steps, first, last):
    """The epsilon of a step."""
    # BEGIN SOLUTION
    progress = min(1.0, 2 * step / steps)
    # END SOLUTION
    # BEGIN STUDENT
    # progress = min(1.0, step // steps * 2)
    # END STUDENT
    return first + progress * (last - first)


def worth(tables, which, s, rule, epsilon):
    """What state `s` is worth to `tables[which]`, which is about to learn."""
    mine, other = tables[which][s], tables[which - 1][s]
    if rule == "double":
        return other[mine.argmax()]
    if rule == "expected":
        return chances(mine, epsilon) @ mine
    return mine.max()


def learn(table, window, tail, alpha, gamma):
    """Move the entry of the window's first pair, in place."""
    s, a, _ = window[0]
    goal = sum(gamma**k * reward for k, (_, _, reward) in enumerate(window))
    # BEGIN SOLUTION
    goal += gamma ** len(window) * tail
    # END SOLUTION
    # BEGIN STUDENT
    # goal += gamma * tail
    # END STUDENT
    table[s, a] += alpha * (goal - table[s, a])


def train(env_id, options, steps, rule, n, alpha, gamma, first, last, initial, seed):
    """The action values `[S, A]` after so many steps of one world."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    shape = env.observation_space.n, env.action_space.n
    copies = 2 if rule == "double" else 1
    # BEGIN SOLUTION
    tables = [np.full(shape, float(initial)) for _ in range(copies)]
    # END SOLUTION
    # BEGIN STUDENT
    # tables = [np.full(shape, float(initial))] * copies
    # END STUDENT
    window = []
    s, _ = env.reset(seed=seed)
    for step in range(steps):
        epsilon = exploration(step, steps, first, last)
        row = sum(table[s] for table in tables)
        a = int(rng.choice(row.size, p=chances(row, epsilon)))
        next_s, reward, terminated, truncated, _ = env.step(a)
        window.append((s, a, reward))
        over = terminated or truncated
        while window and (over or len(window) == n):
            which = int(rng.integers(copies))
            # BEGIN SOLUTION
            tail = 0.0 if terminated else worth(tables, which, next_s, rule, epsilon)
            # END SOLUTION
            # BEGIN STUDENT
            # tail = 0.0 if over else worth(tables, which, next_s, rule, epsilon)
            # END STUDENT
            learn(tables[which], window, tail, alpha, gamma)
            window.pop(0)
        s = env.reset()[0] if over else next_s
    return np.mean(tables, axis=0)


# %% tags=["test"] q="agent" points=2
def test_hunt_reaches_the_goal(train):
    """A lake without chance, seen from a table of zeros: the greedy policy reaches the goal."""
    from rlcourse.envs.vector import make
    from rlcourse.evaluation import exact_return
    from rlcourse.mdp import from_env

    options = {"is_slippery": False}
    lake = from_env(make("FrozenLake-v1", **options))
    for seed in range(3):
        got = train("FrozenLake-v1", options, 2500, "max", 1, 0.5, 0.9, 0.2, 0.2, 0.0, seed)
        if np.shape(got) != (16, 4):
            fail(f"expected a table of shape (16, 4), got {np.shape(got)}")
        success = exact_return(lake, np.asarray(got).argmax(axis=1), horizon=100)
        expect(success, 1.0, what=f"chance to reach the goal, seed {seed}")
    expect(
        train("rlcourse/Probe-TwoActions-v0", {}, 200, "max", 1, 0.5, 0.9, 0.5, 0.5, 0.0, 0),
        [[-1.0, 1.0], [0.0, 0.0]],
        what="one step, one action that pays and one that costs",
    )


# %% tags=["test"] q="agent" points=1
def test_hunt_pays_for_ever(train):
    """One coin a step for ever is worth 10; three coins, and no more, are worth 2.71."""
    got = train("rlcourse/Probe-Forever-v0", {}, 2000, "max", 1, 0.5, 0.9, 0.1, 0.1, 0.0, 0)
    expect(got, [[10.0], [0.0]], what="a coin a step, on a walk that a clock cuts every ten steps")
    got = train("rlcourse/Probe-LastMoment-v0", {}, 1000, "max", 1, 0.5, 0.9, 0.1, 0.1, 5.0, 0)
    expect(got, [[2.71], [1.9], [1.0], [5.0]], what="three coins, from a table of fives")


# %% tags=["test"] q="agent" points=1
def test_hunt_five_cells(train):
    """Five cells, one coin at the end, gamma 0.9: the first is worth 0.6561, however many steps a target takes."""
    wanted = [[0.6561], [0.729], [0.81], [0.9], [1.0], [0.0]]
    for n in (1, 3, 9):
        got = train("rlcourse/Probe-Corridor-v0", {}, 600, "max", n, 0.5, 0.9, 0.1, 0.1, 0.0, 0)
        expect(got, wanted, what=f"windows of {n}")


# %% tags=["test"] q="agent" points=1
def test_hunt_cools_down(train):
    """Expected SARSA values the walker that it is: a drunk at epsilon 1, and at the end a sober one."""
    from rlcourse.algorithms.dynamic_programming import evaluate
    from rlcourse.envs.vector import make
    from rlcourse.mdp import from_env

    strip = {"desc": ["SFFG"], "is_slippery": False, "max_episode_steps": 100_000}
    drunk = evaluate(from_env(make("FrozenLake-v1", **strip)), np.full((4, 4), 0.25), 0.9)
    got = train("FrozenLake-v1", strip, 5000, "expected", 1, 0.5, 0.9, 1.0, 1.0, 0.0, 0)
    if np.shape(got) != (4, 4):
        fail(f"expected a table of shape (4, 4), got {np.shape(got)}")
    expect(
        np.mean(got, axis=1),
        drunk,
        what="a strip of ice, epsilon 1 from the first step to the last",
    )
    got = train("FrozenLake-v1", strip, 3000, "expected", 1, 0.5, 0.9, 1.0, 0.0, 0.0, 0)
    if np.shape(got) != (4, 4):
        fail(f"expected a table of shape (4, 4), got {np.shape(got)}")
    best = np.max(got, axis=1)[:3]
    expect(best, [0.81, 0.9, 1.0], what="the same strip, epsilon falling from 1 to 0")


# %% tags=["test"] q="agent" points=1
def test_hunt_first_lesson(train):
    """One coin, step size one half, one step: a table holds 1/2; of two tables one does, so their mean is 1/4."""
    for rule, steps, value in (
        ("max", 1, 0.5),
        ("double", 1, 0.25),
        ("max", 300, 1.0),
        ("double", 300, 1.0),
    ):
        got = train("rlcourse/Probe-OneStep-v0", {}, steps, rule, 1, 0.5, 0.9, 0.1, 0.1, 0.0, 0)
        expect(got, [[value], [0.0]], what=f"rule {rule}, steps: {steps}")


# %% tags=["test"] q="agent" points=1 hidden=true
def test_hunt_all_shares(chances, rng):
    """Ties: equally good actions share, and exploring may hit any action."""
    for epsilon in (0.0, 0.4, 1.0):
        row = -rng.integers(1, 3, size=5).astype(float)
        row[int(rng.integers(5))] = row.max()
        winners = [a for a in range(5) if row[a] == max(row)]
        explored = [epsilon / 5 for _ in row]
        for a in winners:
            explored[a] += (1 - epsilon) / len(winners)
        expect(chances(row, epsilon), explored, what=f"chances({row}, {epsilon})")
    tied = np.full(3, float(rng.normal()))
    expect(chances(tied, 0.1), np.full(3, 1 / 3), what="three equal entries")


# %% tags=["test"] q="agent" points=1 hidden=true
def test_hunt_straight_line(exploration, rng):
    """Schedules: epsilon falls in a line over the first half of the steps, and then stays."""
    for _ in range(4):
        first, last = float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.0, 0.3))
        steps = int(rng.integers(3, 5000))
        for step in (0, 1, steps // 4, steps // 2, 3 * steps // 4, steps - 1):
            wanted = np.interp(step, [0, steps / 2], [first, last])
            what = f"epsilon of step {step} of {steps}, from {first:.2f} to {last:.2f}"
            expect(exploration(step, steps, first, last), float(wanted), what=what)


# %% tags=["test"] q="agent" points=2 hidden=true
def test_hunt_clock_and_end(train, rng):
    """Time limits: a clock cuts the walk and not the future; an end ends both, also on the same step."""
    from rlcourse.algorithms.dynamic_programming import policy_iteration, q_values
    from rlcourse.envs.vector import make
    from rlcourse.mdp import from_env

    gamma, seed = float(rng.uniform(0.5, 0.9)), int(rng.integers(10**6))
    got = train("rlcourse/Probe-Forever-v0", {}, 1500, "max", 1, 0.5, gamma, 0.1, 0.1, 0.0, seed)
    expect(got, [[1 / (1 - gamma)], [0.0]], what=f"a coin a step for ever, gamma {gamma:.3f}")
    initial = float(rng.uniform(3, 9))
    wanted = [[1 + gamma + gamma**2], [1 + gamma], [1.0], [initial]]
    got = train(
        "rlcourse/Probe-LastMoment-v0", {}, 600, "max", 1, 0.5, gamma, 0.1, 0.1, initial, seed
    )
    expect(got, wanted, what=f"three coins, the last on the clock's last tick, gamma {gamma:.3f}")
    strip = {"desc": ["SFFG"], "is_slippery": False, "max_episode_steps": int(rng.integers(5, 8))}
    model = from_env(make("FrozenLake-v1", **strip))
    *_, best = policy_iteration(model, gamma)
    got = train("FrozenLake-v1", strip, 4000, "max", 1, 0.5, gamma, 0.6, 0.6, 0.0, seed)
    if np.shape(got) != (4, 4):
        fail(f"expected a table of shape (4, 4), got {np.shape(got)}")
    wanted = q_values(model, best.values, gamma)[:3]
    what = f"four cells and a clock of {strip['max_episode_steps']} steps, gamma {gamma:.3f}"
    expect(np.asarray(got)[:3], wanted, tolerance=1e-4, what=what)


# %% tags=["test"] q="agent" points=2 hidden=true
def test_hunt_windows_end(learn, train, rng):
    """Discounting: a tail lies as many steps ahead as its window is long, and a window ends with its episode."""
    for size in (1, 2, 4):
        gamma, tail = float(rng.uniform(0.4, 0.9)), float(rng.uniform(1, 5))
        window = [
            (int(rng.integers(3)), int(rng.integers(2)), float(rng.normal())) for _ in range(size)
        ]
        table, alpha = rng.normal(size=(3, 2)), float(rng.uniform(0.2, 0.9))
        s, a, _ = window[0]
        ahead = tail
        for _, _, reward in reversed(window):
            ahead = reward + gamma * ahead
        wanted = table.copy()
        wanted[s, a] = (1 - alpha) * table[s, a] + alpha * ahead
        _, changed = after(learn, table, window, tail, alpha, gamma)
        expect(changed[0], wanted, what=f"the table after a window of {size}")
    gamma, seed = float(rng.uniform(0.5, 0.9)), int(rng.integers(10**6))
    for n in (2, 4):
        got = train(
            "rlcourse/Probe-Corridor-v0", {}, 500, "max", n, 0.5, gamma, 0.1, 0.1, 0.0, seed
        )
        wanted = [[gamma**k] for k in (4, 3, 2, 1, 0)] + [[0.0]]
        expect(got, wanted, what=f"five cells, windows of {n}, gamma {gamma:.3f}")
        got = train(
            "rlcourse/Probe-LastMoment-v0", {}, 300, "max", n, 0.5, gamma, 0.1, 0.1, 2.0, seed
        )
        wanted = [[1 + gamma + gamma**2], [1 + gamma], [1.0], [2.0]]
        expect(got, wanted, what=f"three coins, windows of {n}, gamma {gamma:.3f}")


# %% tags=["test"] q="agent" points=1 hidden=true
def test_hunt_two_minds(train, worth, rng):
    """Aliasing: two tables are two arrays, one of them learns at a time, and each asks the other."""
    for _ in range(4):
        initial, alpha = float(rng.uniform(-3, 3)), float(rng.uniform(0.2, 0.9))
        seed = int(rng.integers(10**6))
        got = train(
            "rlcourse/Probe-OneStep-v0", {}, 1, "double", 1, alpha, 0.9, 0.1, 0.1, initial, seed
        )
        wanted = [[initial + alpha * (1 - initial) / 2], [initial]]
        expect(got, wanted, what=f"one lesson, from {initial:.2f}, step size {alpha:.2f}")
    one, other = rng.permutation(5).astype(float), rng.normal(size=5)
    tables = [np.stack([one, one]), np.stack([other, other])]
    place = [int(x) for x in one].index(4)
    expect(
        worth(tables, 0, 1, "double", 0.0),
        other[place],
        what="what a first table hears of the second",
    )
    place = sorted(range(5), key=lambda a: other[a])[-1]
    expect(
        worth(tables, 1, 0, "double", 0.0),
        one[place],
        what="what a second table hears of the first",
    )
    expect(worth(tables, 0, 0, "max", 0.0), 4.0, what="the rule max")
    expect(worth(tables, 0, 0, "expected", 0.5), 3.0, what="the mean of 0 to 4 at epsilon 1/2")


# %% tags=["test"] q="agent" points=1 hidden=true
def test_hunt_whole_agent(train, rng):
    """Everything together: windows, two tables and a clock in one world, and a dry lake by all three rules."""
    from rlcourse.envs.vector import make
    from rlcourse.evaluation import exact_return
    from rlcourse.mdp import from_env

    gamma, seed, n = (
        float(rng.uniform(0.5, 0.85)),
        int(rng.integers(10**6)),
        int(rng.integers(2, 5)),
    )
    for rule in ("double", "expected"):
        got = train("rlcourse/Probe-Forever-v0", {}, 2500, rule, n, 0.5, gamma, 1.0, 0.0, 0.0, seed)
        what = f"a coin a step for ever, rule {rule}, windows of {n}, gamma {gamma:.3f}"
        expect(got, [[1 / (1 - gamma)], [0.0]], what=what)
    options = {"desc": ["SFF", "FHF", "FFG"], "is_slippery": False, "max_episode_steps": 30}
    lake = from_env(make("FrozenLake-v1", **options))
    for rule in ("max", "expected", "double"):
        got = train("FrozenLake-v1", options, 3000, rule, 1, 0.5, 0.9, 1.0, 0.1, 0.0, seed)
        if np.shape(got) != (9, 4):
            fail(f"expected a table of shape (9, 4), got {np.shape(got)}")
        success = exact_return(lake, np.asarray(got).argmax(axis=1), horizon=30)
        expect(success, 1.0, what=f"chance to reach the goal of a small lake, rule {rule}")


# %% tags=["mutant"] q="agent" kills="test_hunt_reaches_the_goal test_hunt_all_shares"
def chances(row, epsilon):
    """Ties: the first of the best takes all. A table of zeros walks west for ever."""
    best = np.arange(row.size) == row.argmax()
    return epsilon / row.size + (1 - epsilon) * best / best.sum()


# %% tags=["mutant"] q="agent" kills="test_hunt_all_shares test_hunt_cools_down"
def chances(row, epsilon):
    """Ties, half repaired: they share, but exploring avoids the best actions."""
    best = row == row.max()
    others = ~best
    if others.any():
        return epsilon * others / others.sum() + (1 - epsilon) * best / best.sum()
    return best / best.sum()


# %% tags=["mutant"] q="agent" kills="test_hunt_all_shares test_hunt_cools_down"
def chances(row, epsilon):
    """Ties, repaired too well: everything is random, and a table of zeros is left behind."""
    return np.full(row.size, 1 / row.size)


# %% tags=["mutant"] q="agent" kills="test_hunt_cools_down test_hunt_straight_line"
def exploration(step, steps, first, last):
    """Schedules: a whole division keeps epsilon where it began."""
    progress = min(1.0, step // steps * 2)
    return first + progress * (last - first)


# %% tags=["mutant"] q="agent" kills="test_hunt_cools_down test_hunt_straight_line"
def exploration(step, steps, first, last):
    """Schedules, half repaired: it falls, and nobody tells it to stop."""
    progress = 2 * step / steps
    return first + progress * (last - first)


# %% tags=["mutant"] q="agent" kills="test_hunt_straight_line"
def exploration(step, steps, first, last):
    """Schedules, repaired by another: the line is as long as the run."""
    progress = step / steps
    return first + progress * (last - first)


# %% tags=["mutant"] q="agent" kills="test_hunt_straight_line"
def exploration(step, steps, first, last):
    """Schedules, half repaired: a step in the middle where a line belongs."""
    progress = min(1, 2 * step // steps)
    return first + progress * (last - first)


# %% tags=["mutant"] q="agent" kills="test_hunt_five_cells test_hunt_windows_end"
def learn(table, window, tail, alpha, gamma):
    """Discounting: the tail lies one step ahead, however long the window is."""
    s, a, _ = window[0]
    goal = sum(gamma**k * reward for k, (_, _, reward) in enumerate(window))
    goal += gamma * tail
    table[s, a] += alpha * (goal - table[s, a])


# %% tags=["mutant"] q="agent" kills="test_hunt_pays_for_ever test_hunt_five_cells test_hunt_windows_end"
def learn(table, window, tail, alpha, gamma):
    """Discounting, half repaired: the exponent is one short."""
    s, a, _ = window[0]
    goal = sum(gamma**k * reward for k, (_, _, reward) in enumerate(window))
    goal += gamma ** (len(window) - 1) * tail
    table[s, a] += alpha * (goal - table[s, a])


# %% tags=["mutant"] q="agent" kills="test_hunt_pays_for_ever test_hunt_windows_end"
def learn(table, window, tail, alpha, gamma):
    """Discounting, repaired too well: the rewards begin one step late."""
    s, a, _ = window[0]
    goal = sum(gamma ** (k + 1) * reward for k, (_, _, reward) in enumerate(window))
    goal += gamma ** len(window) * tail
    table[s, a] += alpha * (goal - table[s, a])


# %% tags=["mutant"] q="agent" kills="test_hunt_pays_for_ever test_hunt_clock_and_end test_hunt_whole_agent"
def train(env_id, options, steps, rule, n, alpha, gamma, first, last, initial, seed):
    """Time limits: a clock is taken for an end."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    shape = env.observation_space.n, env.action_space.n
    copies = 2 if rule == "double" else 1
    tables = [np.full(shape, float(initial)) for _ in range(copies)]
    window = []
    s, _ = env.reset(seed=seed)
    for step in range(steps):
        epsilon = exploration(step, steps, first, last)
        row = sum(table[s] for table in tables)
        a = int(rng.choice(row.size, p=chances(row, epsilon)))
        next_s, reward, terminated, truncated, _ = env.step(a)
        window.append((s, a, reward))
        over = terminated or truncated
        while window and (over or len(window) == n):
            which = int(rng.integers(copies))
            tail = 0.0 if over else worth(tables, which, next_s, rule, epsilon)
            learn(tables[which], window, tail, alpha, gamma)
            window.pop(0)
        s = env.reset()[0] if over else next_s
    return np.mean(tables, axis=0)


# %% tags=["mutant"] q="agent" kills="test_hunt_pays_for_ever test_hunt_clock_and_end"
def train(env_id, options, steps, rule, n, alpha, gamma, first, last, initial, seed):
    """Time limits, half repaired: an end on the clock's last tick is taken for a clock."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    shape = env.observation_space.n, env.action_space.n
    copies = 2 if rule == "double" else 1
    tables = [np.full(shape, float(initial)) for _ in range(copies)]
    window = []
    s, _ = env.reset(seed=seed)
    for step in range(steps):
        epsilon = exploration(step, steps, first, last)
        row = sum(table[s] for table in tables)
        a = int(rng.choice(row.size, p=chances(row, epsilon)))
        next_s, reward, terminated, truncated, _ = env.step(a)
        window.append((s, a, reward))
        over = terminated or truncated
        while window and (over or len(window) == n):
            which = int(rng.integers(copies))
            gone = terminated and not truncated
            tail = 0.0 if gone else worth(tables, which, next_s, rule, epsilon)
            learn(tables[which], window, tail, alpha, gamma)
            window.pop(0)
        s = env.reset()[0] if over else next_s
    return np.mean(tables, axis=0)


# %% tags=["mutant"] q="agent" kills="test_hunt_pays_for_ever test_hunt_clock_and_end"
def train(env_id, options, steps, rule, n, alpha, gamma, first, last, initial, seed):
    """Time limits, repaired too well: no end ends anything."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    shape = env.observation_space.n, env.action_space.n
    copies = 2 if rule == "double" else 1
    tables = [np.full(shape, float(initial)) for _ in range(copies)]
    window = []
    s, _ = env.reset(seed=seed)
    for step in range(steps):
        epsilon = exploration(step, steps, first, last)
        row = sum(table[s] for table in tables)
        a = int(rng.choice(row.size, p=chances(row, epsilon)))
        next_s, reward, terminated, truncated, _ = env.step(a)
        window.append((s, a, reward))
        over = terminated or truncated
        while window and (over or len(window) == n):
            which = int(rng.integers(copies))
            tail = worth(tables, which, next_s, rule, epsilon)
            learn(tables[which], window, tail, alpha, gamma)
            window.pop(0)
        s = env.reset()[0] if over else next_s
    return np.mean(tables, axis=0)


# %% tags=["mutant"] q="agent" kills="test_hunt_first_lesson test_hunt_two_minds"
def train(env_id, options, steps, rule, n, alpha, gamma, first, last, initial, seed):
    """Aliasing: a list of one array twice is one table with two names."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    shape = env.observation_space.n, env.action_space.n
    copies = 2 if rule == "double" else 1
    tables = [np.full(shape, float(initial))] * copies
    window = []
    s, _ = env.reset(seed=seed)
    for step in range(steps):
        epsilon = exploration(step, steps, first, last)
        row = sum(table[s] for table in tables)
        a = int(rng.choice(row.size, p=chances(row, epsilon)))
        next_s, reward, terminated, truncated, _ = env.step(a)
        window.append((s, a, reward))
        over = terminated or truncated
        while window and (over or len(window) == n):
            which = int(rng.integers(copies))
            tail = 0.0 if terminated else worth(tables, which, next_s, rule, epsilon)
            learn(tables[which], window, tail, alpha, gamma)
            window.pop(0)
        s = env.reset()[0] if over else next_s
    return np.mean(tables, axis=0)


# %% tags=["mutant"] q="agent" kills="test_hunt_first_lesson test_hunt_two_minds"
def train(env_id, options, steps, rule, n, alpha, gamma, first, last, initial, seed):
    """Aliasing, repaired by doubling the work: both tables learn from every step."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    shape = env.observation_space.n, env.action_space.n
    copies = 2 if rule == "double" else 1
    tables = [np.full(shape, float(initial)) for _ in range(copies)]
    window = []
    s, _ = env.reset(seed=seed)
    for step in range(steps):
        epsilon = exploration(step, steps, first, last)
        row = sum(table[s] for table in tables)
        a = int(rng.choice(row.size, p=chances(row, epsilon)))
        next_s, reward, terminated, truncated, _ = env.step(a)
        window.append((s, a, reward))
        over = terminated or truncated
        while window and (over or len(window) == n):
            which = int(rng.integers(copies))
            tail = 0.0 if terminated else worth(tables, which, next_s, rule, epsilon)
            for table in tables:
                learn(table, window, tail, alpha, gamma)
            window.pop(0)
        s = env.reset()[0] if over else next_s
    return np.mean(tables, axis=0)


# %% tags=["mutant"] q="agent" kills="test_hunt_two_minds"
def worth(tables, which, s, rule, epsilon):
    """Aliasing, repaired by half: two tables that never ask each other."""
    mine = tables[which][s]
    if rule == "expected":
        return chances(mine, epsilon) @ mine
    return mine.max()


# %% tags=["mutant"] q="agent" kills="test_hunt_windows_end test_hunt_five_cells"
def train(env_id, options, steps, rule, n, alpha, gamma, first, last, initial, seed):
    """Boundaries: steps left over at an end stay in the window, and the next episode pays for them."""
    env, rng = make(env_id, **options), np.random.default_rng([seed, 1])
    shape = env.observation_space.n, env.action_space.n
    copies = 2 if rule == "double" else 1
    tables = [np.full(shape, float(initial)) for _ in range(copies)]
    window = []
    s, _ = env.reset(seed=seed)
    for step in range(steps):
        epsilon = exploration(step, steps, first, last)
        row = sum(table[s] for table in tables)
        a = int(rng.choice(row.size, p=chances(row, epsilon)))
        next_s, reward, terminated, truncated, _ = env.step(a)
        window.append((s, a, reward))
        over = terminated or truncated
        if len(window) == n:
            which = int(rng.integers(copies))
            tail = 0.0 if terminated else worth(tables, which, next_s, rule, epsilon)
            learn(tables[which], window, tail, alpha, gamma)
            window.pop(0)
        s = env.reset()[0] if over else next_s
    return np.mean(tables, axis=0)


# %% [markdown]
# ## 2. What it does
#
# The demo first: 10,000 steps on the ice, and the policy judged by the model.
# Then five worlds whose answer is known without a computer:
#
# - a **dry lake**: a table of zeros, 2,500 steps; does the greedy policy reach the goal?
# - **a coin a step, for ever**, γ = 0.9, and a clock that cuts each walk after ten steps. The world
#   does not end: $1 + 0.9 + 0.81 + \dots = 10$.
# - **five cells in a row**, one coin at the end, targets of three steps: $0.9^4$;
# - **a strip of four cells**, Expected SARSA, ε falling from 1 to 0: at the end it values a walker
#   who does not stagger, $0.9^2$;
# - **one step, one coin**, Double Q-learning with a step size of one half, after a single step: one
#   of its two tables holds ½, the other 0.
#
# *Guess before you run: an agent that earns nearly everything on the ice; in how many of the five
# is it right?*


# %% tags=["trial"] q="agent"
def worlds():
    """What the agent says of each small world, and what is right."""
    dry = {"is_slippery": False}
    lake = from_env(make("FrozenLake-v1", **dry))
    tables = [
        train("FrozenLake-v1", dry, 2500, "max", 1, 0.5, 0.9, 0.2, 0.2, 0.0, seed)
        for seed in (0, 1, 2)
    ]
    reached = [exact_return(lake, q.argmax(axis=1), horizon=100) for q in tables]
    yield "a dry lake: runs of three that reach the goal", sum(reached), 3
    q = train("rlcourse/Probe-Forever-v0", {}, 2000, "max", 1, 0.5, 0.9, 0.1, 0.1, 0.0, 0)
    yield "a coin a step, for ever", q[0, 0], 10
    q = train("rlcourse/Probe-Corridor-v0", {}, 600, "max", 3, 0.5, 0.9, 0.1, 0.1, 0.0, 0)
    yield "five cells, targets of three steps", q[0, 0], 0.9**4
    strip = {"desc": ["SFFG"], "is_slippery": False, "max_episode_steps": 100_000}
    q = train("FrozenLake-v1", strip, 3000, "expected", 1, 0.5, 0.9, 1.0, 0.0, 0.0, 0)
    yield "a strip of ice, epsilon from 1 to 0", q[0].max(), 0.9**2
    q = train("rlcourse/Probe-OneStep-v0", {}, 1, "double", 1, 0.5, 0.9, 0.1, 0.1, 0.0, 0)
    yield "one coin, two tables, one lesson", q[0, 0], 0.25


ice = from_env(make("FrozenLake-v1", success_rate=0.8))
*_, best = policy_iteration(ice, 0.95)
q = train("FrozenLake-v1", {"success_rate": 0.8}, 10_000, "max", 1, 0.1, 0.95, 0.3, 0.3, 1.0, 1)
share = evaluate(ice, q.argmax(axis=1), 0.95)[0] / best.values[0]
print(f"the demo on the ice: {share:.1%} of the best there is\n")
print(f"{'':48s}   right     here")
for name, here, right in worlds():
    mark = "" if abs(here - right) < 1e-4 else "   <--"
    print(f"{name:48s}{right:8.4g} {here:8.4g}{mark}")

# %% [markdown]
# ## 3. The hunt
#
# Go back to the code, and mend it *in place*. A row of the table is not a line of the code: you
# have to find out which line could have done it.
#
# - One bug at a time: choose a row, say what could cause it, change one thing, run the code, the
#   check and the table again. A row that turns right while others stay as they were has told you
#   what you mended. A row that was right and turns wrong has, too.
# - When you have no idea, do not stare. Shrink the world until you can follow it with a pencil:
#   `train(...)` takes any number of steps, also three.
# - The check stops at the first complaint; the table shows all. The demo is one run of one seed: it
#   may come out a little lower when all is right.
# - Keep the names and arguments of the functions: the tests call them.
# - **Repair, do not rewrite.** The grader counts the lines that you changed. Fifteen are plenty.
#
# ## 4. Yours: a diagnosis in five lines
#
# **The diagnosis (4 points).** Choose one of the five bugs and write one line on each:
#
# 1. **Symptom**: what one sees, with a number of your own run.
# 2. **Cause**: the line, and what it really does.
# 3. **Repair**: what you wrote instead, and the number after it.
# 4. **Why this world finds it**: and why the demo on the ice did not.
# 5. **What else it could have been**: another bug with the same symptom, and how you ruled it out.
#
# **The repair (2 points).** All five found with at most fifteen changed lines; the grader counts.

# %% [markdown]
# *Your five lines.*
#
# 1. Symptom:
# 2. Cause:
# 3. Repair:
# 4. Why this world finds it:
# 5. What else it could have been:

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Timing.** Running and guessing 5 minutes; reading the code 10; the hunt 35; the diagnosis 10.
#
# **The five, and the usual order in which they fall.**
#
# 1. *Ties.* `argmax` of a row of zeros is 0, so the agent leans against the western wall. The demo
#    starts from a table of ones: whatever is tried falls below its neighbours, and ties are gone.
# 2. *Time limits.* `over` where `terminated` belongs. On the ice most walks end by themselves.
# 3. *Discounting.* γ instead of γ to the length of the window. The demo has windows of one.
# 4. *Schedules.* A whole division: ε stays where it began. The demo has a constant ε.
# 5. *Aliasing.* `[table] * 2`. The demo has one table, and in the long run both learn the same.
#
# **What goes wrong.** *Ties*: the share is repaired with a coin in `train`, and Expected SARSA still
# believes in the first. *Time limits*: `terminated and not truncated`, which forgets the world that
# ends on the clock's last tick. *Discounting*: `gamma ** n`, which is wrong for the short windows at
# a cut. *Schedules*: true division, and then nothing stops at the middle.
#
# **A bug that is left in** shows in the feedback by its category: every hidden test's title begins
# with it. The tests look at one bug each, so that four repairs earn the points of four; only
# *Everything together* needs more than one.
#
# **Power.** Nothing rests on luck but whether a dry lake is solved in time: three seeds, fixed, in
# public, three random ones of nine cells in the hidden test. The cell counts how often the right
# agent fails there.

# %% tags=["instructor"]
small = {"desc": ["SFF", "FHF", "FFG"], "is_slippery": False, "max_episode_steps": 30}
lake, missed, runs = from_env(make("FrozenLake-v1", **small)), 0, 60
for seed in range(1000, 1000 + runs):
    rule = ("max", "expected", "double")[seed % 3]
    q = train("FrozenLake-v1", small, 3000, rule, 1, 0.5, 0.9, 1.0, 0.1, 0.0, seed)
    missed += exact_return(lake, q.argmax(axis=1), horizon=30) < 1
print(f"{missed} of {runs} runs on the small lake miss the goal")
