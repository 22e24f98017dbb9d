# ---
# lab: monte-carlo-td
# title: "Monte Carlo and TD: what a guess costs"
# minutes: 75
# extras: ""
# version: 1
# ---

# %% [markdown]
# # Monte Carlo and TD: what a guess costs
#
# Wait for the end and you will know: that is Monte Carlo, honest and noisy.
# Guess from the next guess: that is TD, quick and prejudiced.
# Between them lie as many methods as an episode has steps.
#
# Everybody says "bias against variance" here, and waves a hand.
# You will compute both. To the last digit, for every $n$, without drawing a single random number.
# On the way you will meet an average of honest numbers that is *not* honest, and a batch of data in
# which two right methods give two different answers.
#
# Chapter: *Learning from experience*. Time: 75 minutes. Automatic points: 14. By hand: 6.
#
# **An episode** is three things in the whole lab:
#
# - `states` `[T + 1]`, whole numbers: where the walk was, the last one included;
# - `rewards` `[T]`: what the steps paid;
# - `terminated`: `True` if the last state is an end, worth nothing *whatever a table says about
#   it*; `False` if a clock cut the walk there, and the table's value of it counts.

# %%
import numpy as np

from rlcourse.plotting import COLOURS, new_figure, show_figure


def walk(rng, length=5):
    """A random walk on cells 1..length between two ends: (states, rewards, terminated)."""
    states = [(length + 1) // 2]
    while 0 < states[-1] <= length:
        states.append(states[-1] + (1 if rng.random() < 0.5 else -1))
    rewards = np.zeros(len(states) - 1)
    rewards[-1] = float(states[-1] > length)
    return np.array(states), rewards, True


# %% [markdown]
# ## 1. First visits, every visit
#
# The value of a state is the mean of the returns that followed it.
# If a walk meets the state three times, do you take three returns, or the one of the first visit?
#
# Write `monte_carlo(episodes, num_states, gamma, first) -> [num_states]`: the mean return of every
# state over a list of finished episodes; only from the first visit of each episode if `first` is
# `True`, from all visits otherwise. A state that was never visited gets 0. (To *arrive* at the last
# state is no visit: nothing follows.)
#
# By hand: one episode, states 0, 1, 0, 2, rewards 1, 2, 4, γ = ½. The returns are 3, 4, 4.
# State 0: 3 from the first visit, 3.5 from both.


# %% tags=["task"] q="monte-carlo"
def monte_carlo(episodes, num_states, gamma, first):
    """Mean returns `[num_states]` of finished episodes, from first visits or from all."""
    # BEGIN SOLUTION
    sums, counts = np.zeros(num_states), np.zeros(num_states)
    for states, rewards, _ in episodes:
        future, returns = 0.0, []
        for reward in reversed(rewards):
            future = reward + gamma * future
            returns.insert(0, future)
        seen = set()
        for s, g in zip(states, returns):
            if first and s in seen:
                continue
            seen.add(s)
            sums[s] += g
            counts[s] += 1
    return sums / np.maximum(counts, 1)
    # END SOLUTION


# %% tags=["test"] q="monte-carlo" points=1
def test_there_and_back(monte_carlo):
    """The episode of the text: 3 from the first visit of state 0, 3.5 from both."""
    walks = [(np.array([0, 1, 0, 2]), np.array([1.0, 2.0, 4.0]), True)]
    look = "which of the two visits of state 0 you count, and what follows it"
    expect(monte_carlo(walks, 4, 0.5, True), [3.0, 4.0, 0, 0], look=look, what="first visits")
    expect(monte_carlo(walks, 4, 0.5, False), [3.5, 4.0, 0, 0], look=look, what="every visit")


# %% tags=["test"] q="monte-carlo" points=1 hidden=true
def test_first_visits(monte_carlo, rng):
    """Random walks: the return of each first visit as a double sum, averaged over episodes."""
    gamma, walks, wanted = float(rng.uniform(0.5, 1.0)), [], [[] for _ in range(5)]
    for _ in range(4):
        steps = int(rng.integers(4, 9))
        states, rewards = rng.integers(4, size=steps + 1), rng.normal(size=steps)
        walks.append((states, rewards, True))
        for s in range(4):
            visits = [t for t in range(steps) if states[t] == s]
            if visits:
                t = visits[0]
                wanted[s].append(sum(gamma ** (k - t) * rewards[k] for k in range(t, steps)))
    expect(
        monte_carlo(walks, 5, gamma, True),
        [np.mean(found) if found else 0.0 for found in wanted],
        look="the first visit of *each* episode, and the whole return behind it",
        what="first visits in four walks",
    )


# %% tags=["test"] q="monte-carlo" points=1 hidden=true
def test_every_visit(monte_carlo, rng):
    """The same with all visits: an episode with many visits weighs more."""
    gamma, walks, wanted = float(rng.uniform(0.5, 1.0)), [], [[] for _ in range(5)]
    for _ in range(4):
        steps = int(rng.integers(4, 9))
        states, rewards = rng.integers(4, size=steps + 1), rng.normal(size=steps)
        walks.append((states, rewards, True))
        for t in range(steps):
            wanted[states[t]].append(sum(gamma ** (k - t) * rewards[k] for k in range(t, steps)))
    expect(
        monte_carlo(walks, 5, gamma, False),
        [np.mean(found) if found else 0.0 for found in wanted],
        look="one mean over all visits of all episodes, not a mean of means",
        what="every visit in four walks",
    )


# %% tags=["mutant"] q="monte-carlo" kills="test_there_and_back test_first_visits"
def monte_carlo(episodes, num_states, gamma, first):
    """Goes backward and keeps the visit that it meets first: that is the last one."""
    sums, counts = np.zeros(num_states), np.zeros(num_states)
    for states, rewards, _ in episodes:
        future, seen = 0.0, set()
        for t in reversed(range(len(rewards))):
            future = rewards[t] + gamma * future
            if first and states[t] in seen:
                continue
            seen.add(states[t])
            sums[states[t]] += future
            counts[states[t]] += 1
    return sums / np.maximum(counts, 1)


# %% tags=["mutant"] q="monte-carlo" kills="test_there_and_back test_first_visits test_every_visit"
def monte_carlo(episodes, num_states, gamma, first):
    """Every state gets the return of the whole episode."""
    sums, counts = np.zeros(num_states), np.zeros(num_states)
    for states, rewards, _ in episodes:
        total = sum(gamma**k * r for k, r in enumerate(rewards))
        for s in set(states[:-1].tolist()) if first else states[:-1]:
            sums[s] += total
            counts[s] += 1
    return sums / np.maximum(counts, 1)


# %% tags=["mutant"] q="monte-carlo" kills="test_first_visits"
def monte_carlo(episodes, num_states, gamma, first):
    """`seen` is never emptied: only the first visit of all times counts."""
    sums, counts, seen = np.zeros(num_states), np.zeros(num_states), set()
    for states, rewards, _ in episodes:
        for t in range(len(rewards)):
            if first and states[t] in seen:
                continue
            seen.add(states[t])
            sums[states[t]] += sum(gamma**k * r for k, r in enumerate(rewards[t:]))
            counts[states[t]] += 1
    return sums / np.maximum(counts, 1)


# %% tags=["mutant"] q="monte-carlo" kills="test_every_visit"
def monte_carlo(episodes, num_states, gamma, first):
    """A mean of means: each episode counts once, however often it met the state."""
    sums, counts = np.zeros(num_states), np.zeros(num_states)
    for states, rewards, _ in episodes:
        g = [sum(gamma**k * r for k, r in enumerate(rewards[t:])) for t in range(len(rewards))]
        for s in set(states[:-1].tolist()):
            found = [x for x, state in zip(g, states, strict=False) if state == s]
            sums[s] += found[0] if first else np.mean(found)
            counts[s] += 1
    return sums / np.maximum(counts, 1)


# %% [markdown]
# Every single return is honest: right on average. So is their mean, is it not?
#
# One state, each step pays 1, and after each step a coin decides whether the walk goes on. The
# value is 2. A walk of $k$ steps has probability $2^{-k}$, so we need not sample: *all* data sets
# of one walk, or of two, are a short list. *Guess what the every-visit mean of one walk is, on
# average: 2, less, or more?*

# %% tags=["trial"] q="monte-carlo"
if written(monte_carlo):

    def coin(k):
        return np.array([0] * k + [1]), np.ones(k), True

    for first, name in ((True, "first visits"), (False, "every visit")):
        one = sum(2.0**-k * monte_carlo([coin(k)], 2, 1.0, first)[0] for k in range(1, 40))
        two = sum(
            2.0 ** -(j + k) * monte_carlo([coin(j), coin(k)], 2, 1.0, first)[0]
            for j in range(1, 22)
            for k in range(1, 22)
        )
        print(f"{name}: on average {one:.3f} from one walk, {two:.3f} from two; the truth is 2")

# %% [markdown]
# Long walks bring many returns, but most of them are short ones: the number of terms and their
# size depend on each other. With many walks the error fades; with one it is a quarter of the truth.
#
# ## 2. n steps, and then a guess
#
# Write `n_step_targets(states, rewards, terminated, values, gamma, n) -> [T]`:
#
# $$G_{t:t+n} = R_{t+1} + \dots + \gamma^{n-1} R_{t+n} + \gamma^n V(S_{t+n})$$
#
# for every step of one episode, with the table as it stands. Where the episode stops before $n$
# steps are done, the sum stops there: with no value at an end, with the table's value at a cut.
#
# By hand: states 0, 1, 2, 3, rewards 1, 2, 4, γ = ½, values 8, 16, 32, 64, n = 2.
# The first target is 1 + 1 + ¼ · 32 = 10. If state 3 is an end, the others are 4 and 4; if the
# clock cut there, 20 and 36.


# %% tags=["task"] q="targets"
def n_step_targets(states, rewards, terminated, values, gamma, n):
    """n-step returns `[T]` of one episode, the table `values` `[S]` frozen."""
    # BEGIN SOLUTION
    steps, targets = len(rewards), np.zeros(len(rewards))
    for t in range(steps):
        stop = min(t + n, steps)
        for k in range(t, stop):
            targets[t] += gamma ** (k - t) * rewards[k]
        if not (terminated and stop == steps):
            targets[t] += gamma ** (stop - t) * values[states[stop]]
    return targets
    # END SOLUTION


# %% tags=["test"] q="targets" points=1
def test_two_steps_ahead(n_step_targets):
    """The episode of the text: 10, 4, 4 before an end; 10, 20, 36 before a cut."""
    given = (np.arange(4), np.array([1.0, 2.0, 4.0]))
    table = np.array([8.0, 16.0, 32.0, 64.0])
    look = "where the sum stops, and what stands there"
    expect(n_step_targets(*given, True, table, 0.5, 2), [10, 4, 4], look=look, what="an end")
    expect(n_step_targets(*given, False, table, 0.5, 2), [10, 20, 36], look=look, what="a cut")
    expect(n_step_targets(*given, True, table, 0.5, 9), [3, 4, 4], look="n = 9: all of it")


# %% tags=["test"] q="targets" points=1 hidden=true
def test_every_n(n_step_targets, rng):
    """n = 1 to beyond the end, both kinds of ending, by the recursion over n."""
    for terminated in (True, False):
        steps = int(rng.integers(4, 8))
        states, rewards = rng.integers(5, size=steps + 1), rng.normal(size=steps)
        values, gamma = rng.normal(size=5), float(rng.uniform(0.5, 0.95))
        found = values[states].copy()  # n = 0: the guess itself
        found[-1] *= not terminated
        for n in range(1, steps + 3):
            # one more step: pay, then ask the (n - 1)-step return of the next moment
            found = np.append(rewards + gamma * found[1:], found[-1])
            expect(
                n_step_targets(states, rewards, terminated, values, gamma, n),
                found[:-1],
                tolerance=1e-9,
                look="the power of gamma before the value, and the last n steps",
                what=f"n = {n}, {steps} steps, terminated = {terminated}",
            )


# %% tags=["mutant"] q="targets" kills="test_two_steps_ahead test_every_n"
def n_step_targets(states, rewards, terminated, values, gamma, n):
    """gamma instead of gamma ** n before the value."""
    steps, targets = len(rewards), np.zeros(len(rewards))
    for t in range(steps):
        stop = min(t + n, steps)
        targets[t] = sum(gamma ** (k - t) * rewards[k] for k in range(t, stop))
        if not (terminated and stop == steps):
            targets[t] += gamma * values[states[stop]]
    return targets


# %% tags=["mutant"] q="targets" kills="test_two_steps_ahead test_every_n"
def n_step_targets(states, rewards, terminated, values, gamma, n):
    """A left-over guess is paid out at the end."""
    steps, targets = len(rewards), np.zeros(len(rewards))
    for t in range(steps):
        stop = min(t + n, steps)
        targets[t] = sum(gamma ** (k - t) * rewards[k] for k in range(t, stop))
        targets[t] += gamma ** (stop - t) * values[states[stop]]
    return targets


# %% tags=["mutant"] q="targets" kills="test_two_steps_ahead test_every_n"
def n_step_targets(states, rewards, terminated, values, gamma, n):
    """Wherever the data stop, the future is dropped: a clock taken for an end."""
    steps, targets = len(rewards), np.zeros(len(rewards))
    for t in range(steps):
        stop = min(t + n, steps)
        targets[t] = sum(gamma ** (k - t) * rewards[k] for k in range(t, stop))
        if stop < steps:
            targets[t] += gamma ** (stop - t) * values[states[stop]]
    return targets


# %% [markdown]
# ## 3. A learner that waits n steps
#
# Now the table moves while the walk goes on.
# The state of time $t$ is updated once, as soon as its target is complete: after step $t + n$, with
# the table as it is *then*. When the episode stops, the states that still wait are updated, the
# oldest first, each with the newest table.
#
# Write `learn(episodes, values, alpha, gamma, n) -> [S]`: the table after a list of episodes.
#
# By hand: states 0, 1, 2, rewards 0 and 1, values 0, 0, 9, n = 2, α = γ = ½.
# If state 2 is an end: state 0 moves half-way to ½, then state 1 half-way to 1: (0.25, 0.5, 9).
# If the clock cut there: half-way to 2.75 and to 5.5.


# %% tags=["task"] q="learn"
def learn(episodes, values, alpha, gamma, n):
    """The table `[S]` after n-step TD over a list of episodes, learning as they go."""
    # BEGIN SOLUTION
    values = np.array(values, dtype=float)
    for states, rewards, terminated in episodes:
        steps = len(rewards)

        def update(t, stop, states=states, rewards=rewards, ends=terminated, steps=steps):
            target = 0.0 if ends and stop == steps else values[states[stop]]
            for k in reversed(range(t, stop)):
                target = rewards[k] + gamma * target
            values[states[t]] += alpha * (target - values[states[t]])

        for stop in range(n, steps + 1):
            update(stop - n, stop)
        for t in range(max(steps - n + 1, 0), steps):
            update(t, steps)
    return values
    # END SOLUTION


# %% tags=["test"] q="learn" points=1
def test_who_still_waits(learn):
    """Two steps, n = 2: the last state waits for the end, and then it learns, too."""
    given = (np.array([0, 1, 2]), np.array([0.0, 1.0]))
    table = np.array([0.0, 0.0, 9.0])
    look = "the states that still wait when the episode stops"
    expect(learn([(*given, True)], table, 0.5, 0.5, 2), [0.25, 0.5, 9], look=look, what="an end")
    expect(learn([(*given, False)], table, 0.5, 0.5, 2), [1.375, 2.75, 9], look=look, what="a cut")


# %% tags=["test"] q="learn" points=1 hidden=true
def test_both_ends_of_the_scale(learn, rng):
    """n = 1 is TD(0), and n beyond the end is Monte Carlo with a constant step."""
    walks = []
    for terminated in (True, False, True):
        steps = int(rng.integers(4, 8))
        walks.append((rng.integers(4, size=steps + 1), rng.normal(size=steps), terminated))
    first, alpha, gamma = rng.normal(size=4), 0.3, float(rng.uniform(0.6, 1.0))
    td = first.copy()
    for states, rewards, terminated in walks:
        for t, reward in enumerate(rewards):
            future = 0.0 if terminated and t == len(rewards) - 1 else td[states[t + 1]]
            td[states[t]] += alpha * (reward + gamma * future - td[states[t]])
    expect(learn(walks, first, alpha, gamma, 1), td, look="n = 1", what="TD(0)", tolerance=1e-9)
    finished, mc = [walks[0], walks[2]], first.copy()
    for states, rewards, _ in finished:
        for t in range(len(rewards)):
            g = sum(gamma ** (k - t) * rewards[k] for k in range(t, len(rewards)))
            mc[states[t]] += alpha * (g - mc[states[t]])
    got, changed = after(learn, finished, first, alpha, gamma, 50)
    expect(got, mc, look="n beyond the end: everybody waits", what="Monte Carlo", tolerance=1e-9)
    expect(changed[1], first, look="np.array(values) makes a copy", what="the table you were given")


# %% tags=["test"] q="learn" points=1 hidden=true
def test_in_between(learn, rng):
    """n = 2 and 3: every update at its own moment, with the table of that moment."""
    for n in (2, 3):
        walks = []
        for terminated in (True, False):
            steps = int(rng.integers(6, 10))
            walks.append((rng.integers(3, size=steps + 1), rng.normal(size=steps), terminated))
        first, alpha, gamma = rng.normal(size=3), 0.5, float(rng.uniform(0.7, 1.0))
        v = first.copy()
        for states, rewards, terminated in walks:
            steps = len(rewards)
            due = sorted((min(t + n, steps), t) for t in range(steps))  # (when, whose)
            for when, t in due:
                g = sum(gamma ** (k - t) * rewards[k] for k in range(t, when))
                if not (terminated and when == steps):
                    g += gamma ** (when - t) * v[states[when]]
                v[states[t]] += alpha * (g - v[states[t]])
        expect(
            learn(walks, first, alpha, gamma, n),
            v,
            tolerance=1e-9,
            look="which table a target is made with: the one of the moment when it is complete",
            what=f"two walks, n = {n}",
        )


# %% tags=["mutant"] q="learn" kills="test_who_still_waits test_both_ends_of_the_scale"
def learn(episodes, values, alpha, gamma, n):
    """Who still waits when the episode stops never learns."""
    values = np.array(values, dtype=float)
    for states, rewards, terminated in episodes:
        for stop in range(n, len(rewards) + 1):
            t = stop - n
            target = 0.0 if terminated and stop == len(rewards) else values[states[stop]]
            for k in reversed(range(t, stop)):
                target = rewards[k] + gamma * target
            values[states[t]] += alpha * (target - values[states[t]])
    return values


# %% tags=["mutant"] q="learn" kills="test_both_ends_of_the_scale test_in_between"
def learn(episodes, values, alpha, gamma, n):
    """All targets made with the table from before the walk."""
    values = np.array(values, dtype=float)
    for states, rewards, terminated in episodes:
        targets = n_step_targets(states, rewards, terminated, values, gamma, n)
        for s, target in zip(states, targets, strict=False):
            values[s] += alpha * (target - values[s])
    return values


# %% tags=["mutant"] q="learn" kills="test_who_still_waits test_both_ends_of_the_scale"
def learn(episodes, values, alpha, gamma, n):
    """`terminated` is not looked at: the table's value of an end is paid out."""
    return _as_written(episodes, values, alpha, gamma, n, False)


def _as_written(episodes, values, alpha, gamma, n, ends):
    values = np.array(values, dtype=float)
    for states, rewards, _ in episodes:
        steps = len(rewards)
        for when, t in sorted((min(t + n, steps), t) for t in range(steps)):
            target = 0.0 if ends and when == steps else values[states[when]]
            for k in reversed(range(t, when)):
                target = rewards[k] + gamma * target
            values[states[t]] += alpha * (target - values[states[t]])
    return values


# %% [markdown]
# ## 4. Bias and variance, computed
#
# No policy to choose, so the world is a chain: `P` `[S, S]` says where a step leads, `R` `[S, S]`
# what it pays *on the way from s to t*, `terminal` `[S]` where it is over.
#
# From state $s$ the $n$-step target is a random number. Which mean does it have, which variance?
# Write `moments(P, R, terminal, values, gamma, n) -> (mean, variance)`, both `[S]`, no sampling.
#
# Go from $n - 1$ to $n$. One step leads to $t$; there the $(n-1)$-step target has mean $m(t)$ and
# variance $w(t)$. With $x_t = R(s,t) + \gamma\, m(t)$:
#
# $$
# \begin{aligned}
# \text{mean}(s) &= \sum_t P(s,t)\, x_t \\
# \text{variance}(s) &= \sum_t P(s,t)\,\bigl[x_t - \text{mean}(s)\bigr]^2
# + \gamma^2 \sum_t P(s,t)\, w(t)
# \end{aligned}
# $$
#
# The luck of this step, and the luck of the later ones. With $n = 0$ the target is the guess.
# A terminal state has mean 0 and variance 0, whatever `values`, `P` and `R` say about it.
#
# By hand: five cells, all guesses ½, γ = 1, n = 1. In the rightmost cell the target is 1 or ½:
# mean ¾, variance 1/16. In the middle it is ½, always.


# %% tags=["task"] q="moments"
def moments(P, R, terminal, values, gamma, n):
    """Mean and variance, both `[S]`, of the n-step target from every state of a chain."""
    # BEGIN SOLUTION
    alive = ~np.asarray(terminal, dtype=bool)
    mean, variance = alive * np.asarray(values, dtype=float), np.zeros(len(P))
    for _ in range(n):
        x = R + gamma * mean  # [s, t]
        mean = alive * (P * x).sum(axis=1)
        luck = (P * (x - mean[:, None]) ** 2).sum(axis=1)
        variance = alive * (luck + gamma**2 * P @ variance)
    return mean, variance
    # END SOLUTION


# %% tags=["test"] q="moments" points=2
def test_five_cells(moments):
    """One step: mean 3/4 and variance 1/16 at the right; all steps: a coin of chance i / 6."""
    P, R = np.zeros((7, 7)), np.zeros((7, 7))
    for s in range(1, 6):
        P[s, s - 1] = P[s, s + 1] = 0.5
    R[5, 6] = 1.0
    ends, guess = np.isin(np.arange(7), [0, 6]), np.full(7, 0.5)
    for n, mean, variance in (
        (1, [0, 0.25, 0.5, 0.5, 0.5, 0.75, 0], [0, 1 / 16, 0, 0, 0, 1 / 16, 0]),
        (
            400,
            [0, *(i / 6 for i in range(1, 6)), 0],
            [0, *(i / 6 * (1 - i / 6) for i in range(1, 6)), 0],
        ),
    ):
        got = moments(P, R, ends, guess, 1.0, n)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("expected two things, (mean, variance)")
        expect(got[0], mean, look="the mean of x over where a step leads", what=f"mean, n = {n}")
        expect(
            got[1],
            variance,
            look="both kinds of luck: of this step, and of the later ones",
            what=f"variance, n = {n}",
        )


# %% tags=["test"] q="moments" points=2 hidden=true
def test_all_paths(moments, rng):
    """Random chains: every path of n steps, its target and its probability."""
    for n in (0, 1, 2, 4):
        P, R = rng.dirichlet(np.ones(4), size=4), rng.normal(size=(4, 4))
        ends, values, gamma = np.arange(4) == 3, rng.normal(size=4), float(rng.uniform(0.5, 0.95))
        mean, variance = np.zeros(4), np.zeros(4)
        for s in range(3):
            paths = [(1.0, 0.0, s, 1.0)]  # probability, target so far, where, discount
            for _ in range(n):
                following = []
                for p, g, here, d in paths:
                    if here == 3:
                        following.append((p, g, here, d))
                        continue
                    for t in range(4):
                        following.append((p * P[here, t], g + d * R[here, t], t, d * gamma))
                paths = following
            p = np.array([path[0] for path in paths])
            g = np.array([x + d * values[here] * (here != 3) for _, x, here, d in paths])
            mean[s] = p @ g
            variance[s] = p @ (g - mean[s]) ** 2
        got = moments(P, R, ends, values, gamma, n)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("expected two things, (mean, variance)")
        expect(got[0], mean, look="the end, and where gamma stands", what=f"mean, n = {n}")
        expect(got[1], variance, look="gamma squared, and x - mean", what=f"variance, n = {n}")


# %% tags=["mutant"] q="moments" kills="test_five_cells test_all_paths"
def moments(P, R, terminal, values, gamma, n):
    """Only the luck of this step: what happens later is taken as known."""
    alive = ~np.asarray(terminal, dtype=bool)
    mean, luck = alive * np.asarray(values, dtype=float), np.zeros(len(P))
    for _ in range(n):
        x = R + gamma * mean
        mean = alive * (P * x).sum(axis=1)
        luck = alive * (P * (x - mean[:, None]) ** 2).sum(axis=1)
    return mean, luck


# %% tags=["mutant"] q="moments" kills="test_all_paths"
def moments(P, R, terminal, values, gamma, n):
    """gamma instead of gamma squared: variances do not scale like means."""
    alive = ~np.asarray(terminal, dtype=bool)
    mean, variance = alive * np.asarray(values, dtype=float), np.zeros(len(P))
    for _ in range(n):
        x = R + gamma * mean
        mean = alive * (P * x).sum(axis=1)
        luck = (P * (x - mean[:, None]) ** 2).sum(axis=1)
        variance = alive * (luck + gamma * P @ variance)
    return mean, variance


# %% tags=["mutant"] q="moments" kills="test_five_cells test_all_paths"
def moments(P, R, terminal, values, gamma, n):
    """The left-over guess of an end counts."""
    alive = ~np.asarray(terminal, dtype=bool)
    mean, variance = np.array(values, dtype=float), np.zeros(len(P))
    for _ in range(n):
        x = R + gamma * mean
        mean = np.where(alive, (P * x).sum(axis=1), values)
        luck = (P * (x - mean[:, None]) ** 2).sum(axis=1)
        variance = alive * (luck + gamma**2 * P @ variance)
    return mean, variance


# %% [markdown]
# Now the famous picture, computed.
# Nineteen cells, all guesses ½, no discount.
# For each $n$: how far the mean of the target lies from the truth, squared (bias²), and the
# variance, both averaged over the cells.
# *Guess: at which n is their sum least? And what happens to that n if the guesses were already
# half-way to the truth?*

# %% tags=["trial"] q="moments"
if written(moments):
    P, R = np.zeros((21, 21)), np.zeros((21, 21))
    for s in range(1, 20):
        P[s, s - 1] = P[s, s + 1] = 0.5
    R[19, 20] = 1.0
    ends, truth = np.isin(np.arange(21), [0, 20]), np.arange(21) / 20
    scale = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
    fig, panels = new_figure(columns=2, height=3.0, sharey=True)
    for panel, (name, guess) in zip(
        panels, {"guesses of ½": 0.5, "half-way": (truth + 0.5) / 2}.items()
    ):
        bias, variance = [], []
        for n in scale:
            m, w = moments(P, R, ends, np.full(21, 1.0) * guess, 1.0, int(n))
            bias.append(np.mean((m - truth)[1:20] ** 2))
            variance.append(np.mean(w[1:20]))
        total = np.add(bias, variance)
        panel.plot(scale, bias, color=COLOURS[0], label="bias²")
        panel.plot(scale, variance, color=COLOURS[1], label="variance")
        panel.plot(scale, total, color="grey", linestyle="--", label="sum")
        panel.set(xscale="log", xlabel="n (steps)", ylabel="squared reward", title=name)
        for i in (0, -1):
            print(f"{name:13s} n = {scale[i]:3d}: bias² {bias[i]:.4f}, variance {variance[i]:.4f}")
        print(f"{name:13s} the sum is least at n = {scale[total.argmin()]}")
    panels[0].legend(fontsize=9)
    display(show_figure(fig, alt="Bias falls and variance rises with n; computed, not sampled."))

# %% [markdown]
# The sum is not the end of the story: a step size α averages variance away, and no step size
# averages bias away. That is why an $n$ that loses here can win in learning.
#
# ## 5. What do the data say?
#
# You are given a few walks, and no more will come. Replay them, again and again, with TD(0) and
# small steps, until nothing changes: where does the table settle?
#
# Where the average surprise of each visited state is zero:
# *the mean over all its visits of* $R + \gamma V(S') - V(S)$.
# Those are linear equations, one a state.
#
# Write `batch_td(episodes, num_states, gamma) -> [num_states]`: that table. A state that was never
# left in the data gets 0. (γ is below one, or every episode has ended.)
#
# By hand: walks 0 → 1 → 2 with rewards 0, 1 and 1 → 2 with reward 0, both ended.
# $V(1) = ½$, and so $V(0) = ½$, although the only return ever seen from 0 was 1.


# %% tags=["task"] q="batch"
def batch_td(episodes, num_states, gamma):
    """The table `[num_states]` at which TD(0) settles when the same episodes are replayed."""
    # BEGIN SOLUTION
    system, right, visits = np.zeros((num_states, num_states)), np.zeros(num_states), {}
    for states, rewards, terminated in episodes:
        for t, reward in enumerate(rewards):
            s = states[t]
            visits[int(s)] = True
            system[s, s] += 1.0
            right[s] += reward
            if not (terminated and t == len(rewards) - 1):
                system[s, states[t + 1]] -= gamma
    for s in range(num_states):
        if s not in visits:
            system[s, s] = 1.0
    return np.linalg.solve(system, right)
    # END SOLUTION


# %% tags=["test"] q="batch" points=1
def test_two_walks(batch_td):
    """The two walks of the text: one half for both states, and nothing for the end."""
    walks = [
        (np.array([0, 1, 2]), np.array([0.0, 1.0]), True),
        (np.array([1, 2]), np.array([0.0]), True),
    ]
    look = "state 1 was met in both walks, and state 0 has always led to it"
    expect(batch_td(walks, 3, 1.0), [0.5, 0.5, 0.0], look=look, tolerance=1e-4)


# %% tags=["test"] q="batch" points=1 hidden=true
def test_no_surprise_on_average(batch_td, rng):
    """At your table the mean surprise of each visited state is zero, in random data."""
    for _ in range(3):
        walks = []
        for terminated in (True, False, True, True):
            steps = int(rng.integers(3, 8))
            walks.append((rng.integers(5, size=steps + 1), rng.normal(size=steps), terminated))
        gamma = float(rng.uniform(0.5, 0.9))
        v = batch_td(walks, 6, gamma)
        if np.shape(v) != (6,):
            fail(f"expected 6 values, got shape {np.shape(v)}")
        surprises = {}
        for states, rewards, terminated in walks:
            for t, reward in enumerate(rewards):
                future = 0.0 if terminated and t == len(rewards) - 1 else v[states[t + 1]]
                surprises.setdefault(int(states[t]), []).append(
                    reward + gamma * future - v[states[t]]
                )
        mean = [np.mean(surprises[s]) if s in surprises else v[s] for s in range(6)]
        expect(
            mean,
            np.zeros(6),
            tolerance=1e-4,
            look="how often each transition was seen, and the last step of each walk",
            what="the mean surprise of each state",
        )


# %% tags=["mutant"] q="batch" kills="test_two_walks test_no_surprise_on_average"
def batch_td(episodes, num_states, gamma):
    """Means of the returns: Monte Carlo's answer to the same data."""
    return monte_carlo(episodes, num_states, gamma, False)


# %% tags=["mutant"] q="batch" kills="test_no_surprise_on_average"
def batch_td(episodes, num_states, gamma):
    """One pass with a falling step: the data were read once, not until nothing changes."""
    values, counts = np.zeros(num_states), np.zeros(num_states)
    for states, rewards, terminated in episodes:
        for t, reward in enumerate(rewards):
            s = states[t]
            last = terminated and t == len(rewards) - 1
            counts[s] += 1
            target = reward + gamma * (0.0 if last else values[states[t + 1]])
            values[s] += (target - values[s]) / counts[s]
    return values


# %% tags=["mutant"] q="batch" kills="test_no_surprise_on_average"
def batch_td(episodes, num_states, gamma):
    """The value of the end counts: states are taken for the end of one walk and not of another."""
    cut = [(states, rewards, False) for states, rewards, _ in episodes]
    system, right = np.zeros((num_states, num_states)), np.zeros(num_states)
    for states, rewards, _ in cut:
        for t, reward in enumerate(rewards):
            system[states[t], states[t]] += 1.0
            system[states[t], states[t + 1]] -= gamma
            right[states[t]] += reward
    system += np.diag(np.diag(system) == 0)
    return np.linalg.solve(system, right)


# %% [markdown]
# Two right methods, two answers. Which is nearer to the truth?
# Five cells, data sets of 5 and of 40 walks, two hundred of each.

# %% tags=["trial"] q="batch"
if written(batch_td) and written(monte_carlo):
    truth = np.arange(1, 6) / 6
    print("walks   RMS error: every visit   batch TD   TD nearer in")
    for size in (5, 40):
        errors = []
        for seed in range(200 if size == 5 else 50):
            rng = np.random.default_rng(seed)
            walks = [walk(rng) for _ in range(size)]
            tables = monte_carlo(walks, 7, 1.0, False), batch_td(walks, 7, 1.0)
            errors.append([np.sqrt(np.mean((v[1:6] - truth) ** 2)) for v in tables])
        mc, td = np.array(errors).T
        print(f"{size:5d}{mc.mean():25.3f}{td.mean():11.3f}{np.mean(td < mc):14.0%}")

# %% [markdown]
# ## 6. Yours: a picture and five sentences
#
# **The picture (2 points).** Five cells, `learn` from a table of ½, a hundred walks: the RMS error
# of the five values after every walk, for n = 1, 4 and 100, with a step size for each that you
# chose by trying. At least five seeds: every seed thin, the mean thick. Names and units.
#
# **The sentences (4 points).** (a) In part 4 the sum was least at one end of the scale when
# the guesses were good. Which end, and why? Give both numbers of your run. (b) In your own picture,
# which n won, with which α? (c) Why can an n that has the larger sum in part 4 win in learning?

# %%
# Your picture.

# %% [markdown]
# *Your sentences.*

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Timing.** Visits 12 minutes, targets 10, the learner 15, moments 18, batch 12; picture and
# sentences 8, or homework.
#
# **What goes wrong.**
#
# - First visits in a backward loop: the visit that is met first is the *last* one. The commonest
#   bug of this lab by far; the test of the text finds it.
# - The n - 1 states that still wait at the end. Most first versions forget them.
# - Variances: γ², and the spread of the next means. Write the law of total variance on the board.
# - `batch_td` as one pass over the data. Ask whether a second pass would change anything.
#
# **Why every visit is biased** (the first trial, 1.5 from one walk): the numerator and the number
# of visits are correlated, and the mean of a ratio is not the ratio of the means. It is
# consistent, and its mean squared error is often smaller. First visits are unbiased.
#
# **Sentences, full marks.** (a) At n = 1: good guesses have little bias, so waiting only adds
# variance. (b) What their own picture shows. (c) A step size averages many targets: variance
# shrinks with α, bias does not.
#
# **Power.** All hidden tests are exact at a tolerance of 1e-4 or less. Random data could leave a
# wrong version undetected only by a lucky draw; the cell measures the weakest such case, walks
# without a revisit in the first-visit test.

# %% tags=["instructor"]
rng, blind = np.random.default_rng(0), 0
for _ in range(2000):
    fresh = True
    for _ in range(4):
        visited = rng.integers(4, size=int(rng.integers(4, 9)) + 1)[:-1].tolist()
        fresh &= len(set(visited)) == len(visited)
    blind += fresh
print(f"four walks without any revisit: {blind} of 2000 draws")
print(f"the first-visit test fails an every-visit answer with p = {1 - blind / 2000:.4f}")
