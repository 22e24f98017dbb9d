# ---
# lab: td-lambda
# title: "TD(λ): one number between a step and an episode"
# minutes: 75
# extras: ""
# version: 1
# ---

# %% [markdown]
# # TD(λ): one number between a step and an episode
#
# TD(0) looks one step ahead and learns at once.
# Monte Carlo looks at everything and learns when it is over.
# TD(λ) promises both: it looks at everything, *and* it learns at once.
#
# How can it, when the rewards that it needs have not been paid yet?
# The answer is one of the prettiest identities of the field, and you will check it to the last
# digit.
# Then you will see where it is a little wrong, since it learns while it walks, and mend that, too:
# the mended version is from 2014, and most code that you will meet does not have it.
#
# Chapter: *Learning from experience*. Time: 75 minutes. Automatic points: 14. By hand: 6.
#
# **An episode** is three things in the whole lab:
#
# - `states` `[T + 1]`, whole numbers: where the walk was, the last one included;
# - `rewards` `[T]`;
# - `terminated`: `True` if the last state is an end, worth nothing *whatever the table says about
#   it*; `False` if a clock cut the walk there, and the table's value of it counts.
#
# `values` `[S]` is the table, `gamma` the discount, `lam` is λ.

# %%
import numpy as np

from rlcourse.plotting import COLOURS, new_figure, show_figure


def walk(rng, length=19):
    """A random walk on cells 1..length between two ends: (states, rewards, terminated)."""
    states = [(length + 1) // 2]
    while 0 < states[-1] <= length:
        states.append(states[-1] + (1 if rng.random() < 0.5 else -1))
    rewards = np.zeros(len(states) - 1)
    rewards[-1] = float(states[-1] > length)
    return np.array(states), rewards, True


# %% [markdown]
# ## 1. A mixture
#
# From a state $T$ steps before the end there are $T$ returns to choose from: one reward and then
# the table, two rewards and then the table, ..., all rewards.
# λ mixes them: the $n$-step return gets the weight $(1 - \lambda)\,\lambda^{n-1}$, and the last
# one, which needs no table, gets *all that is left*.
#
# Write `mixture(lam, steps) -> [steps]`: these weights.
#
# By hand: λ = 0.5 and three steps: 0.5, 0.25, and what is left, 0.25.


# %% tags=["task"] q="mixture"
def mixture(lam, steps):
    """Weights `[steps]` of the n-step returns, n = 1, ..., steps, that end with the episode."""
    # BEGIN SOLUTION
    weights = (1 - lam) * lam ** np.arange(steps, dtype=float)
    weights[-1] = lam ** (steps - 1.0)
    return weights
    # END SOLUTION


# %% tags=["test"] q="mixture" points=1
def test_weights(mixture):
    """Half, a quarter, a quarter; all on the first at lambda 0, all on the last at lambda 1."""
    look = "the last weight: what the others leave over"
    expect(mixture(0.5, 3), [0.5, 0.25, 0.25], look=look, what="mixture(0.5, 3)")
    expect(mixture(0.0, 3), [1, 0, 0], look=look, what="mixture(0, 3)")
    expect(mixture(1.0, 3), [0, 0, 1], look=look, what="mixture(1, 3)")
    expect(mixture(0.8, 1), [1.0], look=look, what="mixture(0.8, 1)")
    expect(np.sum(mixture(0.9, 7)), 1.0, look=look, what="the sum of the weights")


# %% tags=["mutant"] q="mixture" kills="test_weights"
def mixture(lam, steps):
    """The series cut off: what is left over is lost, and the target is too small."""
    return (1 - lam) * lam ** np.arange(steps, dtype=float)


# %% [markdown]
# ## 2. Looking forward
#
# Write `lambda_targets(states, rewards, terminated, values, gamma, lam) -> [T]`: for each step
# $t$ the mixture of all its $n$-step returns
#
# $$G_{t:t+n} = R_{t+1} + \gamma R_{t+2} + \dots + \gamma^{n-1} R_{t+n} + \gamma^n\, V(S_{t+n}),$$
#
# with $V = 0$ at an end, and the table as it stands.
#
# There is a long way (two loops) and a short one (one loop, backward):
#
# $$G^\lambda_t = R_{t+1} + \gamma\,\bigl[(1 - \lambda)\,V(S_{t+1})
# + \lambda\,G^\lambda_{t+1}\bigr].$$
#
# What stands for $G^\lambda_T$, behind the last step?
#
# By hand: states 0, 1, 2, rewards 1 and 2, values 0, 4, 9, γ = λ = ½.
# If state 2 is an end, the targets are 2.5 and 2. If the clock cut there, 3.625 and 6.5.


# %% tags=["task"] q="forward"
def lambda_targets(states, rewards, terminated, values, gamma, lam):
    """Lambda-returns `[T]` of one episode, the table `values` `[S]` frozen."""
    # BEGIN SOLUTION
    targets = np.zeros(len(rewards))
    value = future = 0.0 if terminated else values[states[-1]]
    for t in reversed(range(len(rewards))):
        future = rewards[t] + gamma * ((1 - lam) * value + lam * future)
        targets[t] = future
        value = values[states[t]]
    return targets
    # END SOLUTION


# %% tags=["test"] q="forward" points=1
def test_two_steps(lambda_targets):
    """The episode of the text: 2.5 and 2 before an end, 3.625 and 6.5 before a cut."""
    given = (np.array([0, 1, 2]), np.array([1.0, 2.0]))
    table = np.array([0.0, 4.0, 9.0])
    look = "the value of the last state: none at an end, the table's where a clock cut"
    expect(lambda_targets(*given, True, table, 0.5, 0.5), [2.5, 2], look=look, what="an end")
    expect(lambda_targets(*given, False, table, 0.5, 0.5), [3.625, 6.5], look=look, what="a cut")


# %% tags=["test"] q="forward" points=2 hidden=true
def test_mixture_of_all_returns(lambda_targets, rng):
    """The definition, return by return and weight by weight, on random episodes of both kinds."""
    for terminated in (True, False, True, False):
        steps = int(rng.integers(3, 8))
        states, rewards = rng.integers(5, size=steps + 1), rng.normal(size=steps)
        values = rng.normal(size=5)
        gamma, lam = rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.95)
        wanted = []
        for t in range(steps):
            left, total = steps - t, 0.0
            for n in range(1, left + 1):
                g = sum(gamma**k * rewards[t + k] for k in range(n))
                if not (terminated and n == left):
                    g += gamma**n * values[states[t + n]]
                total += g * (lam ** (n - 1) if n == left else (1 - lam) * lam ** (n - 1))
            wanted.append(total)
        expect(
            lambda_targets(states, rewards, terminated, values, float(gamma), float(lam)),
            wanted,
            tolerance=1e-10,
            look="every return that reaches the last state, and its weight",
            what=f"an episode of {steps} steps, terminated = {terminated}",
        )


# %% tags=["mutant"] q="forward" kills="test_two_steps test_mixture_of_all_returns"
def lambda_targets(states, rewards, terminated, values, gamma, lam):
    """The table's value of an end counts: a left-over guess is paid out."""
    targets, future = np.zeros(len(rewards)), values[states[-1]]
    for t in reversed(range(len(rewards))):
        future = rewards[t] + gamma * ((1 - lam) * values[states[t + 1]] + lam * future)
        targets[t] = future
    return targets


# %% tags=["mutant"] q="forward" kills="test_two_steps test_mixture_of_all_returns"
def lambda_targets(states, rewards, terminated, values, gamma, lam):
    """A clock taken for an end: the future of a cut walk is worth nothing."""
    targets, value, future = np.zeros(len(rewards)), 0.0, 0.0
    for t in reversed(range(len(rewards))):
        future = rewards[t] + gamma * ((1 - lam) * value + lam * future)
        targets[t], value = future, values[states[t]]
    return targets


# %% tags=["mutant"] q="forward" kills="test_two_steps test_mixture_of_all_returns"
def lambda_targets(states, rewards, terminated, values, gamma, lam):
    """What is left over is lost: behind the last step stands zero, with the weight of a value."""
    targets, future = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        last = t == len(rewards) - 1
        value = 0.0 if last and terminated else values[states[t + 1]]
        future = rewards[t] + gamma * ((1 - lam) * value + lam * future)
        targets[t] = future
    return targets


# %% tags=["mutant"] q="forward" kills="test_mixture_of_all_returns"
def lambda_targets(states, rewards, terminated, values, gamma, lam):
    """Lambda and one minus lambda change places; at one half nobody notices."""
    targets = np.zeros(len(rewards))
    value = future = 0.0 if terminated else values[states[-1]]
    for t in reversed(range(len(rewards))):
        future = rewards[t] + gamma * (lam * value + (1 - lam) * future)
        targets[t], value = future, values[states[t]]
    return targets


# %% [markdown]
# ## 3. Looking back
#
# A walker cannot look forward. But it can *remember*.
# Every state carries a **trace** $e(s)$: how much it is to blame for what happens now.
#
# At each step, in this order: all traces shrink by $\gamma\lambda$; the trace of the present state
# grows by one; the surprise $\delta_t = R_{t+1} + \gamma V(S_{t+1}) - V(S_t)$ is sent to all
# states, each takes $\alpha\,\delta_t\,e(s)$.
#
# Write `offline(states, rewards, terminated, values, alpha, gamma, lam) -> [S]`: the table after
# one episode, where **all surprises are computed with the old table** and the changes are added
# up and made at the end.
#
# By hand, the episode from above, α = 0.1, state 2 an end. Surprises 3 and -2. At the second one
# the trace of state 0 is ¼. So state 0 gets 0.3 - 0.05 and state 1 gets -0.2: (0.25, 3.8, 9).
# *Compare with the targets of part 2: 0.1 · (2.5 - 0) and 0.1 · (2 - 4).*


# %% tags=["task"] q="backward"
def offline(states, rewards, terminated, values, alpha, gamma, lam):
    """The table `[S]` after one episode of TD(lambda) with traces, made in one go at the end."""
    # BEGIN SOLUTION
    old, trace = np.array(values, dtype=float), np.zeros(len(values))
    new = old.copy()
    for t, reward in enumerate(rewards):
        last = terminated and t == len(rewards) - 1
        delta = reward + gamma * (0.0 if last else old[states[t + 1]]) - old[states[t]]
        trace *= gamma * lam
        trace[states[t]] += 1.0
        new += alpha * delta * trace
    return new
    # END SOLUTION


# %% tags=["test"] q="backward" points=1
def test_two_surprises(offline):
    """The episode of the text: the table becomes 0.25, 3.8, 9."""
    table = np.array([0.0, 4.0, 9.0])
    got = offline(np.array([0, 1, 2]), np.array([1.0, 2.0]), True, table, 0.1, 0.5, 0.5)
    expect(got, [0.25, 3.8, 9.0], look="the order: shrink, then add one, then learn")


# %% tags=["test"] q="backward" points=2 hidden=true
def test_backward_is_forward(offline, rng):
    """To ten digits: the sum of alpha * (lambda-return - value) over all visits."""
    from rlcourse.returns import lambda_returns

    for terminated in (True, False, True, False):
        steps = int(rng.integers(5, 12))
        states, rewards = rng.integers(4, size=steps + 1), rng.normal(size=steps)
        values = rng.normal(size=4)  # an end, too, may have a left-over value
        alpha, gamma, lam = rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.0), rng.uniform(0.2, 0.95)
        discounts = np.full(steps, gamma)
        discounts[-1] *= not terminated
        ends = np.arange(steps) == steps - 1
        targets = lambda_returns(rewards, discounts, values[states[1:]], lam, ends)
        wanted = values.copy()
        for s, target in zip(states, targets, strict=False):
            wanted[s] += alpha * (target - values[s])
        args = (states, rewards, terminated, values, float(alpha), float(gamma), float(lam))
        got, changed = after(offline, *args)
        expect(
            got,
            wanted,
            tolerance=1e-10,
            look="a state that is visited twice: its trace grows each time",
            what=f"an episode of {steps} steps, terminated = {terminated}",
        )
        expect(changed[3], values, look="np.array(values) makes a copy", what="your input")


# %% tags=["mutant"] q="backward" kills="test_backward_is_forward"
def offline(states, rewards, terminated, values, alpha, gamma, lam):
    """Replacing traces: a second visit sets the trace to one, and one target goes missing."""
    old, trace = np.array(values, dtype=float), np.zeros(len(values))
    new = old.copy()
    for t, reward in enumerate(rewards):
        last = terminated and t == len(rewards) - 1
        delta = reward + gamma * (0.0 if last else old[states[t + 1]]) - old[states[t]]
        trace *= gamma * lam
        trace[states[t]] = 1.0
        new += alpha * delta * trace
    return new


# %% tags=["mutant"] q="backward" kills="test_two_surprises test_backward_is_forward"
def offline(states, rewards, terminated, values, alpha, gamma, lam):
    """The trace shrinks by lambda alone: old states are blamed as if nothing were discounted."""
    old, trace = np.array(values, dtype=float), np.zeros(len(values))
    new = old.copy()
    for t, reward in enumerate(rewards):
        last = terminated and t == len(rewards) - 1
        delta = reward + gamma * (0.0 if last else old[states[t + 1]]) - old[states[t]]
        trace *= lam
        trace[states[t]] += 1.0
        new += alpha * delta * trace
    return new


# %% tags=["mutant"] q="backward" kills="test_two_surprises test_backward_is_forward"
def offline(states, rewards, terminated, values, alpha, gamma, lam):
    """Shrinks after it has grown: the present state is blamed only in part."""
    old, trace = np.array(values, dtype=float), np.zeros(len(values))
    new = old.copy()
    for t, reward in enumerate(rewards):
        last = terminated and t == len(rewards) - 1
        delta = reward + gamma * (0.0 if last else old[states[t + 1]]) - old[states[t]]
        trace[states[t]] += 1.0
        trace *= gamma * lam
        new += alpha * delta * trace
    return new


# %% tags=["mutant"] q="backward" kills="test_backward_is_forward"
def offline(states, rewards, terminated, values, alpha, gamma, lam):
    """Learns while it walks: later surprises are measured with a table that has moved."""
    new, trace = np.array(values, dtype=float), np.zeros(len(values))
    for t, reward in enumerate(rewards):
        last = terminated and t == len(rewards) - 1
        delta = reward + gamma * (0.0 if last else new[states[t + 1]]) - new[states[t]]
        trace *= gamma * lam
        trace[states[t]] += 1.0
        new += alpha * delta * trace
    return new


# %% tags=["trial"] q="backward"
if written(lambda_targets) and written(offline):
    rng = np.random.default_rng(0)
    states, rewards, terminated = walk(rng)
    table = rng.random(21)
    print(f"a walk of {len(rewards)} steps; both views, each with its own loop:")
    for lam in (0.0, 0.5, 0.9, 1.0):
        looked = table.copy()
        targets = lambda_targets(states, rewards, terminated, table, 1.0, lam)
        for s, target in zip(states, targets):
            looked[s] += 0.1 * (target - table[s])
        remembered = offline(states, rewards, terminated, table, 0.1, 1.0, lam)
        print(f"λ = {lam}: they differ by at most {np.abs(looked - remembered).max():.1e}, "
              f"cell 10 moved by {remembered[10] - table[10]:+.3f}")  # fmt: skip

# %% [markdown]
# ## 4. At once
#
# Now learn at every step: the newest table measures each surprise.
# Write `online(episodes, values, alpha, gamma, lam) -> [S]`: several episodes, one after another,
# `episodes` a list of `(states, rewards, terminated)`.
# No blame is carried from one episode into the next: nothing that happens in a new walk is the
# doing of the old one.
#
# By hand: the episode with states 0, 1, 2 and rewards 0 and 1, an end, twice; values zero,
# α = ½, γ = 1, λ = ½. After the first (0.25, 0.5, 0), after the second (0.5, 0.75, 0).


# %% tags=["task"] q="online"
def online(episodes, values, alpha, gamma, lam):
    """The table `[S]` after TD(lambda) with accumulating traces, learning at every step."""
    # BEGIN SOLUTION
    values = np.array(values, dtype=float)
    for states, rewards, terminated in episodes:
        trace = np.zeros(len(values))
        for t, reward in enumerate(rewards):
            last = terminated and t == len(rewards) - 1
            following = 0.0 if last else values[states[t + 1]]
            delta = reward + gamma * following - values[states[t]]
            trace *= gamma * lam
            trace[states[t]] += 1.0
            values += alpha * delta * trace
    return values
    # END SOLUTION


# %% tags=["test"] q="online" points=1
def test_twice_the_same_walk(online):
    """Two short walks, alpha and lambda one half: (0.25, 0.5, 0), then (0.5, 0.75, 0)."""
    short = (np.array([0, 1, 2]), np.array([0.0, 1.0]), True)
    expect(
        online([short], np.zeros(3), 0.5, 1.0, 0.5), [0.25, 0.5, 0], look="the traces", what="once"
    )
    expect(
        online([short, short], np.zeros(3), 0.5, 1.0, 0.5),
        [0.5, 0.75, 0],
        look="what the traces are when a new episode begins",
        what="twice",
    )


# %% tags=["test"] q="online" points=1 hidden=true
def test_blame_by_definition(online, rng):
    """One walk: each surprise reaches each earlier visit with (gamma lambda) ** distance."""
    for terminated in (True, False):
        steps = 12
        states, rewards = rng.integers(4, size=steps + 1), rng.normal(size=steps)
        values = rng.normal(size=4)
        alpha, gamma, lam = rng.uniform(0.1, 0.4), rng.uniform(0.6, 1.0), rng.uniform(0.3, 0.95)
        wanted = values.copy()
        for t in range(steps):
            future = 0.0 if terminated and t == steps - 1 else wanted[states[t + 1]]
            delta = rewards[t] + gamma * future - wanted[states[t]]
            for k in range(t + 1):
                wanted[states[k]] += alpha * delta * (gamma * lam) ** (t - k)
        args = (float(alpha), float(gamma), float(lam))
        expect(
            online([(states, rewards, terminated)], values, *args),
            wanted,
            tolerance=1e-10,
            look="the surprise: both values in it come from the newest table",
            what=f"a walk of {steps} steps, terminated = {terminated}",
        )


# %% tags=["test"] q="online" points=1 hidden=true
def test_no_blame_across_episodes(online, rng):
    """Three walks in a row, one of them cut by a clock: each starts without traces."""
    walks = [
        (rng.integers(4, size=n + 1), rng.normal(size=n), ended)
        for n, ended in ((5, True), (4, False), (6, True))
    ]
    values, (alpha, gamma, lam) = rng.normal(size=4), (0.3, 0.9, 0.8)
    wanted = values.copy()
    for states, rewards, terminated in walks:
        for t in range(len(rewards)):
            last = terminated and t == len(rewards) - 1
            future = 0.0 if last else wanted[states[t + 1]]
            delta = rewards[t] + gamma * future - wanted[states[t]]
            for k in range(t + 1):
                wanted[states[k]] += alpha * delta * (gamma * lam) ** (t - k)
    look = "the first step of the second walk: which traces does it find?"
    got, changed = after(online, walks, values, alpha, gamma, lam)
    expect(got, wanted, tolerance=1e-10, look=look, what="three walks")
    expect(changed[1], values, look="np.array(values) makes a copy", what="your input")


# %% tags=["mutant"] q="online" kills="test_twice_the_same_walk test_no_blame_across_episodes"
def online(episodes, values, alpha, gamma, lam):
    """Traces live on: the last walk is blamed for what the next one meets."""
    values = np.array(values, dtype=float)
    trace = np.zeros(len(values))
    for states, rewards, terminated in episodes:
        for t, reward in enumerate(rewards):
            last = terminated and t == len(rewards) - 1
            delta = reward + gamma * (0.0 if last else values[states[t + 1]]) - values[states[t]]
            trace *= gamma * lam
            trace[states[t]] += 1.0
            values += alpha * delta * trace
    return values


# %% tags=["mutant"] q="online" kills="test_blame_by_definition test_no_blame_across_episodes"
def online(episodes, values, alpha, gamma, lam):
    """Learns after each walk only: that is the offline version."""
    for states, rewards, terminated in episodes:
        values = offline(states, rewards, terminated, values, alpha, gamma, lam)
    return values


# %% tags=["mutant"] q="online" kills="test_twice_the_same_walk test_blame_by_definition"
def online(episodes, values, alpha, gamma, lam):
    """Only the present state learns: TD(0) with a decoration."""
    values = np.array(values, dtype=float)
    for states, rewards, terminated in episodes:
        for t, reward in enumerate(rewards):
            last = terminated and t == len(rewards) - 1
            delta = reward + gamma * (0.0 if last else values[states[t + 1]]) - values[states[t]]
            values[states[t]] += alpha * delta
    return values


# %% tags=["mutant"] q="online" kills="test_no_blame_across_episodes"
def online(episodes, values, alpha, gamma, lam):
    """A walk that a clock cut is treated as one that ended."""
    values = np.array(values, dtype=float)
    for states, rewards, _ in episodes:
        trace = np.zeros(len(values))
        for t, reward in enumerate(rewards):
            last = t == len(rewards) - 1
            delta = reward + gamma * (0.0 if last else values[states[t + 1]]) - values[states[t]]
            trace *= gamma * lam
            trace[states[t]] += 1.0
            values += alpha * delta * trace
    return values


# %% [markdown]
# ## 5. Exactly at once
#
# At λ = 1 and γ = 1 TD(λ) "is" Monte Carlo. Is it, when it learns while it walks?
# Visit a state three times before the only reward arrives: its trace is 3, and with α = ½ the
# table is moved by one and a half times the surprise. *Past* the target.
#
# Van Seijen and Sutton (2014) asked for an algorithm that, at every moment, stands exactly where
# the forward view would stand if the walk were cut at that moment. It exists, and it costs two more
# terms. With $V = V(S_t)$, $V' = V(S_{t+1})$ (zero at an end), both read *before* the update, and
# $V_\text{old}$ what $V'$ was a step earlier (zero in the first step of each walk):
#
# $$
# \begin{aligned}
# \delta &= R_{t+1} + \gamma V' - V \\
# e &\leftarrow \gamma\lambda\, e, \qquad
# e(S_t) \leftarrow e(S_t) + 1 - \alpha\, e(S_t) \\
# V(s) &\leftarrow V(s) + \alpha\,(\delta + V - V_\text{old})\, e(s) \quad \text{for all } s \\
# V(S_t) &\leftarrow V(S_t) - \alpha\,(V - V_\text{old}), \qquad V_\text{old} \leftarrow V'
# \end{aligned}
# $$
#
# (In the second line $e(S_t)$ on the right is the trace after it has shrunk.)
# Write `true_online(episodes, values, alpha, gamma, lam) -> [S]`.
#
# The public test: at λ = γ = 1 each episode ends where Monte Carlo ends, which visits the states
# in order and moves each by $\alpha\,[G_t - V(S_t)]$.


# %% tags=["task"] q="true-online"
def true_online(episodes, values, alpha, gamma, lam):
    """The table `[S]` after true online TD(lambda)."""
    # BEGIN SOLUTION
    values = np.array(values, dtype=float)
    for states, rewards, terminated in episodes:
        trace, old = np.zeros(len(values)), 0.0
        for t, reward in enumerate(rewards):
            s = states[t]
            last = terminated and t == len(rewards) - 1
            value, following = values[s], 0.0 if last else values[states[t + 1]]
            delta = reward + gamma * following - value
            trace *= gamma * lam
            trace[s] += 1.0 - alpha * trace[s]
            values += alpha * (delta + value - old) * trace
            values[s] -= alpha * (value - old)
            old = following
    return values
    # END SOLUTION


# %% tags=["test"] q="true-online" points=2
def test_monte_carlo(true_online):
    """A state visited three times, alpha one half: where Monte Carlo with its returns ends."""
    laps = (np.array([0, 0, 0, 1, 0, 2]), np.array([0.0, 1.0, 0.0, 0.0, 2.0]), True)
    table = np.array([1.0, -1.0, 5.0])
    wanted = table.copy()
    for _ in range(2):
        for t in range(5):
            wanted[laps[0][t]] += 0.5 * (laps[1][t:].sum() - wanted[laps[0][t]])
    look = (
        "`value` and `old`: what the table said of this state before this step, and a step earlier"
    )
    expect(
        true_online([laps, laps], table, 0.5, 1.0, 1.0),
        wanted,
        tolerance=1e-9,
        look=look,
        what="two walks at lambda = 1",
    )
    short = (np.array([0, 1, 2]), np.array([3.0, 1.0]), False)
    expect(
        true_online([short], np.array([0.0, 2.0, 4.0]), 0.5, 0.5, 0.0),
        [2.0, 2.5, 4.0],
        look="lambda = 0: the two new terms cancel, and TD(0) is left",
        what="a walk that was cut, at lambda = 0",
    )


# %% tags=["test"] q="true-online" points=2 hidden=true
def test_every_moment(true_online, rng):
    """The forward view, computed anew for every horizon from the start of the walk."""
    for terminated in (True, False, True):
        steps = int(rng.integers(6, 10))
        states, rewards = rng.integers(3, size=steps + 1), rng.normal(size=steps)
        alpha, gamma, lam = rng.uniform(0.2, 0.6), rng.uniform(0.6, 1.0), rng.uniform(0.2, 0.95)
        first = rng.normal(size=3)
        tables = [first.copy()]  # tables[h]: where the view with horizon h ends
        for horizon in range(1, steps + 1):
            v = first.copy()
            for t in range(horizon):
                left, target = horizon - t, 0.0
                for n in range(1, left + 1):
                    g = sum(gamma**k * rewards[t + k] for k in range(n))
                    if not (terminated and t + n == steps):
                        g += gamma**n * tables[t + n - 1][states[t + n]]
                    target += g * (lam ** (n - 1) if n == left else (1 - lam) * lam ** (n - 1))
                v[states[t]] += alpha * (target - v[states[t]])
            tables.append(v)
        args = (float(alpha), float(gamma), float(lam))
        expect(
            true_online([(states, rewards, terminated)], first, *args),
            tables[-1],
            tolerance=1e-9,
            look="the trace of the present state, and which values were read before the update",
            what=f"a walk of {steps} steps, terminated = {terminated}",
        )


# %% tags=["mutant"] q="true-online" kills="test_monte_carlo test_every_moment"
def true_online(episodes, values, alpha, gamma, lam):
    """The usual online version: traces that pile up overshoot the target."""
    return online(episodes, values, alpha, gamma, lam)


# %% tags=["mutant"] q="true-online" kills="test_monte_carlo test_every_moment"
def true_online(episodes, values, alpha, gamma, lam):
    """The new trace without the new terms: half of the repair."""
    values = np.array(values, dtype=float)
    for states, rewards, terminated in episodes:
        trace = np.zeros(len(values))
        for t, reward in enumerate(rewards):
            s, last = states[t], terminated and t == len(rewards) - 1
            delta = reward + gamma * (0.0 if last else values[states[t + 1]]) - values[s]
            trace *= gamma * lam
            trace[s] += 1.0 - alpha * trace[s]
            values += alpha * delta * trace
    return values


# %% tags=["mutant"] q="true-online" kills="test_monte_carlo test_every_moment"
def true_online(episodes, values, alpha, gamma, lam):
    """`old` read after the update: the very difference that it should mend is gone."""
    values = np.array(values, dtype=float)
    for states, rewards, terminated in episodes:
        trace, old = np.zeros(len(values)), 0.0
        for t, reward in enumerate(rewards):
            s, last = states[t], terminated and t == len(rewards) - 1
            value = values[s]
            delta = reward + gamma * (0.0 if last else values[states[t + 1]]) - value
            trace *= gamma * lam
            trace[s] += 1.0 - alpha * trace[s]
            values += alpha * (delta + value - old) * trace
            values[s] -= alpha * (value - old)
            old = 0.0 if last else values[states[t + 1]]
    return values


# %% tags=["mutant"] q="true-online" kills="test_monte_carlo"
def true_online(episodes, values, alpha, gamma, lam):
    """`old` and the traces are carried into the next walk."""
    values = np.array(values, dtype=float)
    trace, old = np.zeros(len(values)), 0.0
    for states, rewards, terminated in episodes:
        for t, reward in enumerate(rewards):
            s, last = states[t], terminated and t == len(rewards) - 1
            value, following = values[s], 0.0 if last else values[states[t + 1]]
            delta = reward + gamma * following - value
            trace *= gamma * lam
            trace[s] += 1.0 - alpha * trace[s]
            values += alpha * (delta + value - old) * trace
            values[s] -= alpha * (value - old)
            old = following
    return values


# %% [markdown]
# What is it good for?
# Nineteen cells, ten walks, λ = 0.9; the error of the table at the end, for several step sizes,
# twenty seeds each, both algorithms on the same walks.
# *Guess: at which α does the usual version become worse than the table that it started from?*

# %% tags=["trial"] q="true-online"
if written(online) and written(true_online):
    truth, alphas = np.arange(1, 20) / 20, (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
    data = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        data.append([walk(rng) for _ in range(10)])

    def error(algorithm, walks, alpha):
        """Root-mean-square error of the nineteen values after ten walks from a table of 1/2."""
        with np.errstate(all="ignore"):
            v = algorithm(walks, np.full(21, 0.5), alpha, 1.0, 0.9)
            return np.sqrt(np.mean((np.asarray(v)[1:20] - truth) ** 2))

    start = np.sqrt(np.mean((0.5 - truth) ** 2))
    fig, panel = new_figure(height=3.2)
    for colour, (name, f) in zip(COLOURS, {"usual": online, "true online": true_online}.items()):
        errors = np.array([[error(f, walks, a) for a in alphas] for walks in data])
        panel.plot(alphas, np.minimum(errors, 1.0).T, color=colour, alpha=0.2, linewidth=0.7)
        panel.plot(alphas, np.minimum(np.median(errors, axis=0), 1.0), color=colour, label=name)
        print(f"{name:12s}" + "".join(f"{e:9.3f}" for e in np.median(errors, axis=0)))
    print(f"{'alpha':12s}" + "".join(f"{a:9.2f}" for a in alphas) + f"   (start: {start:.3f})")
    panel.axhline(start, linestyle="--", linewidth=1.0, color="grey", label="before any walk")
    panel.set(xlabel="step size α", ylabel="RMS error (median of 20)", ylim=(0, 0.6))
    panel.legend(fontsize=9)
    alt = "Error against step size; the true online version stays low where the usual one explodes."
    display(show_figure(fig, alt=alt))

# %% [markdown]
# ## 6. Yours: a picture and five sentences
#
# **The picture (2 points).** Error after ten walks against **λ** (0 to 1, six values or more),
# for one α, `true_online`, at least five seeds: every seed thin, their median thick.
# Names and units on the axes.
#
# **The sentences (4 points).** (a) At which λ is your picture lowest, and what is paid on either
# side of it? (b) The usual version explodes at a large α, the true one does not. Name the state
# of a walk whose trace is to blame, and give its size in one walk of yours (a number from your own
# run). Why can the new trace never exceed $1/\alpha$ for a state that is visited again and again?

# %%
# Your picture.

# %% [markdown]
# *Your sentences.*

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Timing.** Mixture 5 minutes, forward 12, backward 15, online 10, true online 20; picture and
# sentences 13.
#
# **What goes wrong.**
#
# - The weight of the last return. Let students sum their weights.
# - Behind the last step: 0 at an end, the table's value at a cut. The recursion needs *both* of its
#   futures set to it, `value` and `future`.
# - "Replacing" traces out of habit. They are an algorithm of their own, but not the one whose
#   identity is proven here.
# - In the true online version values must be read before the update. `old` read afterwards gives
#   a learner that works, a little worse, and nobody ever notices. The test does.
# - Traces across episodes: the commonest bug in published code, and harmless at λ = 0.
#
# **Sentences, full marks.** (a) Somewhere between, for most α; towards 0 news travels too slowly
# in ten walks (bias of the first table), towards 1 the noise of whole walks comes in (variance).
# (b) A cell that was visited often in a short time, near the middle; its trace is the discounted
# number of visits, and α times it exceeds one, so that the table jumps past its target. The new
# trace obeys e ← (1 - α) γλ e + 1, a fixed point of at most 1/α.
#
# **Power.** All hidden tests compare with exact sums at a tolerance of 1e-9 or less on random
# walks with revisits; a wrong version passes only if a drawn walk never meets the difference. The
# cell measures how often *replacing* traces would agree by chance.

# %% tags=["instructor"]
rng, same = np.random.default_rng(0), 0
for _ in range(2000):
    steps = int(rng.integers(5, 12))
    visited = rng.integers(4, size=steps + 1)[:-1]
    same += len(set(visited.tolist())) == steps
print(f"walks of the hidden test without a revisit: {same} of 2000; the test draws four")
print(f"it fails replacing traces with p = {1 - (same / 2000) ** 4:.6f} or more")
