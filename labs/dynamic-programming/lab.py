# ---
# lab: dynamic-programming
# title: "Dynamic programming: who is backed up, and when"
# minutes: 75
# extras: ""
# version: 1
# ---

# %% [markdown]
# # Dynamic programming: who is backed up, and when
#
# A map of sixteen cells, every probability known.
# One sweep asks every cell what it is worth, given what its neighbours were worth a moment ago.
# Repeat, and the values settle.
#
# *A moment ago?* Which moment?
# When is it settled?
# And why ask a cell whose neighbours have not changed since it was asked last?
#
# Three questions about bookkeeping, and the third one is worth a factor of ten.
#
# Chapter: *Bellman equations and dynamic programming*. Time: 75 minutes. Automatic points: 14.
# By hand: 6.
#
# **The model** comes as three arrays in the whole lab:
#
# - `P` `[S, A, S]`: `P[s, a, t]` is the chance that action `a` leads from `s` to `t`;
# - `R` `[S, A]`: the expected reward of that step;
# - `terminal` `[S]`: `True` where an episode is over. *What `P` and `R` say about such a state
#   means nothing*; it is worth zero, always. Tests will put nonsense there.

# %%
import gymnasium as gym
import numpy as np

from rlcourse.algorithms.dynamic_programming import evaluate as exactly
from rlcourse.algorithms.dynamic_programming import policy_iteration
from rlcourse.mdp import from_env, grid
from rlcourse.plotting import COLOURS, new_figure, show_figure

CORNERS = grid(["G...", ".S..", "....", "...G"], step=-1.0, goal=0.0)
LAKE = from_env(gym.make("FrozenLake-v1"))


def arrays(mdp):
    """The three arrays of a model of the package."""
    return mdp.transition, mdp.reward, mdp.terminal


# %% [markdown]
# ## 1. Sweeps
#
# A policy is a table `[S, A]` of probabilities.
# Write `evaluate(P, R, terminal, policy, gamma, sweeps) -> [S]`: start with zeros and apply
#
# $$v(s) \leftarrow \sum_a \pi(a \mid s)
# \Bigl[ R(s, a) + \gamma \sum_t P(t \mid s, a)\, v(t) \Bigr]$$
#
# to all states at once, exactly `sweeps` times.
# Terminal states stay at zero.
#
# After $k$ sweeps the number is no approximation of anything: it is the exact expected reward of
# the next $k$ steps. That is how you will be tested.
#
# By hand: four by four cells, every move costs 1, two corners are the end, and the policy is
# random. After one sweep each cell says -1. After ten the cell beside a corner says -6.1.


# %% tags=["task"] q="evaluate"
def evaluate(P, R, terminal, policy, gamma, sweeps):
    """Values `[S]` of a policy `[S, A]` after so many sweeps from zero."""
    # BEGIN SOLUTION
    values = np.zeros(len(terminal))
    for _ in range(sweeps):
        q = R + gamma * P @ values
        values = np.where(terminal, 0.0, (policy * q).sum(axis=1))
    return values
    # END SOLUTION


# %% tags=["test"] q="evaluate" points=1
def test_textbook_grid(evaluate):
    """Random walk on 4 x 4 cells: -1 after 1 sweep; -6.1, -8.4, -9.0 after 10; -14, -20, -22."""
    from rlcourse.mdp import grid

    world = grid(["G...", ".S..", "....", "...G"], step=-1.0, goal=0.0)
    model = (world.transition, world.reward, world.terminal, np.full((16, 4), 0.25), 1.0)
    for sweeps, wanted, tolerance in (
        (1, [0, -1, -1, -1], 1e-6),
        (10, [0.0, -6.1, -8.4, -9.0], 0.051),
        (1500, [0, -14, -20, -22], 1e-4),
    ):
        got = evaluate(*model, sweeps)
        if np.shape(got) != (16,):
            fail(f"expected 16 values, got shape {np.shape(got)}")
        expect(
            np.asarray(got)[:4],
            wanted,
            tolerance=tolerance,
            look="whether every sweep reads the values of the sweep before it, in all states",
            what=f"the first row after {sweeps} sweeps",
        )


# %% tags=["test"] q="evaluate" points=1 hidden=true
def test_expected_reward_of_k_steps(evaluate, rng):
    """Pushing the agent forward through time pays, in k steps, what k sweeps say."""
    from rlcourse.mdp import random_mdp

    for sweeps in (1, 3, 8):
        world = random_mdp(5, 3, seed=int(rng.integers(2**31)))
        policy, gamma = rng.dirichlet(np.ones(3), size=5), float(rng.uniform(0.5, 1.0))
        wanted = []
        for s in range(5):
            here, total = np.eye(5)[s], 0.0
            for k in range(sweeps):
                doing = here[:, None] * policy  # [S, A]: where it is and what it does
                total += gamma**k * (doing * world.reward).sum()
                here = np.einsum("sa,sat->t", doing, world.transition)
            wanted.append(total)
        expect(
            evaluate(world.transition, world.reward, world.terminal, policy, gamma, sweeps),
            wanted,
            look="where the policy's probabilities and gamma stand in the sum",
            what=f"a random world, {sweeps} sweeps",
        )


# %% tags=["test"] q="evaluate" points=1 hidden=true
def test_nothing_happens_after_the_end(evaluate, rng):
    """A terminal state whose rows in P and R are nonsense is worth zero and passes nothing on."""
    from rlcourse.algorithms.dynamic_programming import evaluate as exactly
    from rlcourse.mdp import TabularMDP, random_mdp

    for _ in range(3):
        world = random_mdp(6, 2, seed=int(rng.integers(2**31)))
        terminal, policy = np.arange(6) >= 4, rng.dirichlet(np.ones(2), size=6)
        reward = np.array(world.reward)
        reward[4:] = rng.uniform(5, 9, size=(2, 2))
        known = TabularMDP(world.transition, reward.copy(), terminal)
        expect(
            evaluate(world.transition, reward, terminal, policy, 0.9, 400),
            exactly(known, policy, 0.9),
            look="the values of terminal states after *every* sweep, not after the last one",
            what="a world with two ends",
        )


# %% tags=["mutant"] q="evaluate" kills="test_textbook_grid test_expected_reward_of_k_steps"
def evaluate(P, R, terminal, policy, gamma, sweeps):
    """In place: later states already see this sweep's values, so k sweeps are not k steps."""
    values = np.zeros(len(terminal))
    for _ in range(sweeps):
        for s in np.flatnonzero(~np.asarray(terminal)):
            values[s] = policy[s] @ (R[s] + gamma * P[s] @ values)
    return values


# %% tags=["mutant"] q="evaluate" kills="test_nothing_happens_after_the_end"
def evaluate(P, R, terminal, policy, gamma, sweeps):
    """Terminal states get their zero at the very end: until then they earn, and pass it on."""
    values = np.zeros(len(terminal))
    for _ in range(sweeps):
        values = (policy * (R + gamma * P @ values)).sum(axis=1)
    return np.where(terminal, 0.0, values)


# %% tags=["mutant"] q="evaluate" kills="test_textbook_grid test_expected_reward_of_k_steps"
def evaluate(P, R, terminal, policy, gamma, sweeps):
    """The best action instead of the policy's: this values another agent."""
    values = np.zeros(len(terminal))
    for _ in range(sweeps):
        values = np.where(terminal, 0.0, (R + gamma * P @ values).max(axis=1))
    return values


# %% tags=["mutant"] q="evaluate" kills="test_expected_reward_of_k_steps"
def evaluate(P, R, terminal, policy, gamma, sweeps):
    """The discount taken on the reward, too: every reward counts one step late."""
    values = np.zeros(len(terminal))
    for _ in range(sweeps):
        values = np.where(terminal, 0.0, gamma * (policy * (R + P @ values)).sum(axis=1))
    return values


# %% tags=["trial"] q="evaluate"
if written(evaluate):
    walk = np.full((16, 4), 0.25)
    print("sweeps   beside the corner   far corner   still to come, at most")
    truth = exactly(CORNERS, walk, 1.0)
    for sweeps in (1, 2, 3, 10, 30, 100, 300):
        v = evaluate(*arrays(CORNERS), walk, 1.0, sweeps)
        print(f"{sweeps:6d}{v[1]:20.3f}{v[3]:13.3f}{np.abs(truth - v).max():25.6f}")

# %% [markdown]
# ## 2. A promise
#
# Now the best policy: the sum over actions becomes a maximum.
# Write `solve(P, R, terminal, gamma, tolerance) -> [S]`: value iteration from zero, for γ < 1, and
# **stop when you can promise that no value is wrong by more than `tolerance`**.
#
# How far are you from the truth when the last sweep changed no value by more than $d$?
# Not $d$. All the sweeps that you did not do would have changed something, too:
# at most $\gamma d + \gamma^2 d + \dots$
#
# By hand: one state, every step pays 1, γ = 0.99. The truth is 100.
# The sweep in which the change falls below 0.01 leaves you at 99.
# Somebody who stops there is wrong by a hundred times what they promised.


# %% tags=["task"] q="solve"
def solve(P, R, terminal, gamma, tolerance):
    """Optimal values `[S]`, none of them wrong by more than `tolerance`; gamma < 1."""
    # BEGIN SOLUTION
    values = np.zeros(len(terminal))
    while True:
        new = np.where(terminal, 0.0, (R + gamma * P @ values).max(axis=1))
        change = np.abs(new - values).max()
        values = new
        if gamma / (1 - gamma) * change <= tolerance:
            return values
    # END SOLUTION


# %% tags=["test"] q="solve" points=1
def test_slippery_lake(solve):
    """FrozenLake at gamma = 0.99: the start is worth 0.542026."""
    import gymnasium as gym

    from rlcourse.mdp import from_env

    lake = from_env(gym.make("FrozenLake-v1"))
    got = solve(lake.transition, lake.reward, lake.terminal, 0.99, 1e-7)
    if np.shape(got) != (16,):
        fail(f"expected 16 values, got shape {np.shape(got)}")
    expect(
        np.asarray(got)[0],
        0.542026,
        tolerance=2e-6,
        look="the order: first the mean over where you land, then the largest over actions",
        what="the start of the lake",
    )


# %% tags=["test"] q="solve" points=2 hidden=true
def test_promise_is_kept(solve, rng):
    """No value is wrong by more than the tolerance, in slow worlds and in random ones."""
    from rlcourse.algorithms.dynamic_programming import policy_iteration
    from rlcourse.mdp import TabularMDP, random_mdp

    forever = TabularMDP(np.ones((1, 1, 1)), np.array([[float(rng.uniform(1, 3))]]))
    worlds = [(forever, 0.99, 0.1), (forever, 0.9, 0.01)]
    for _ in range(4):
        drawn = random_mdp(7, 3, branching=3, seed=int(rng.integers(2**31)))
        reward = np.array(drawn.reward)
        reward[6] = 50.0
        ends = np.arange(7) == 6
        worlds.append((TabularMDP(drawn.transition, reward, ends), 0.95, 0.05))
        worlds.append((drawn, 0.98, 0.5))
    for world, gamma, tolerance in worlds:
        *_, best = policy_iteration(world, gamma)
        nonsense = np.where(world.terminal[:, None], 50.0, world.reward)
        got = solve(world.transition, nonsense, world.terminal, gamma, tolerance)
        if np.shape(got) != best.values.shape:
            fail(f"expected {best.values.shape[0]} values, got shape {np.shape(got)}")
        wrong = np.abs(np.asarray(got, dtype=float) - best.values).max()
        if not wrong <= tolerance * (1 + 1e-9):
            fail(
                f"promised {tolerance} at gamma = {gamma}: expected values within it, got one "
                f"that is wrong by {wrong:.4g}; look at what all further sweeps could still change"
            )


# %% tags=["mutant"] q="solve" kills="test_promise_is_kept"
def solve(P, R, terminal, gamma, tolerance):
    """Stops when the last change is small: near gamma = 1 that promises far too much."""
    values = np.zeros(len(terminal))
    while True:
        new = np.where(terminal, 0.0, (R + gamma * P @ values).max(axis=1))
        if np.abs(new - values).max() <= tolerance:
            return new
        values = new


# %% tags=["mutant"] q="solve" kills="test_slippery_lake test_promise_is_kept"
def solve(P, R, terminal, gamma, tolerance):
    """The maximum inside the mean: the agent chooses where it lands."""
    values = np.zeros(len(terminal))
    while True:
        reach = np.where(P > 0, values, -np.inf).max(axis=2)
        new = np.where(terminal, 0.0, (R + gamma * reach).max(axis=1))
        if gamma / (1 - gamma) * np.abs(new - values).max() <= tolerance:
            return new
        values = new


# %% tags=["mutant"] q="solve" kills="test_promise_is_kept"
def solve(P, R, terminal, gamma, tolerance):
    """The end is never looked at: whatever the arrays say there is earned for ever."""
    values = np.zeros(len(terminal))
    while True:
        new = (R + gamma * P @ values).max(axis=1)
        if gamma / (1 - gamma) * np.abs(new - values).max() <= tolerance:
            return new
        values = new


# %% tags=["mutant"] q="solve" kills="test_slippery_lake test_promise_is_kept"
def solve(P, R, terminal, gamma, tolerance):
    """A hundred sweeps are surely enough."""
    values = np.zeros(len(terminal))
    for _ in range(100):
        values = np.where(terminal, 0.0, (R + gamma * P @ values).max(axis=1))
    return values


# %% [markdown]
# ## 3. From values to actions
#
# Write `greedy(values, P, R, terminal, gamma) -> [S]` of whole numbers: in each state an action
# that is best if the next state is worth what `values` says.
# In a terminal state any number will do.
#
# By hand, three states, the last one terminal. From state 0, action 0 pays 1 and ends; action 1
# pays nothing and leads to state 1, where both actions pay 3 and end. `values` is (1.5, 3, 0).
# At γ = 0.5 action 1 is worth 1.5: take it. At γ = 0.3 it is worth 0.9: take the 1.


# %% tags=["task"] q="greedy"
def greedy(values, P, R, terminal, gamma):
    """A best action for every state `[S]`, by looking one step ahead into `values` `[S]`."""
    # BEGIN SOLUTION
    ahead = np.where(terminal, 0.0, values)
    return (R + gamma * P @ ahead).argmax(axis=1)
    # END SOLUTION


# %% tags=["test"] q="greedy" points=1
def test_one_now_or_three_later(greedy):
    """Patience pays at gamma = 0.5 and does not at 0.3."""
    P, R = np.zeros((3, 2, 3)), np.array([[1.0, 0.0], [3.0, 3.0], [9.0, 0.0]])
    P[0, 0, 2] = P[0, 1, 1] = P[1, :, 2] = P[2, :, 2] = 1.0
    for gamma, wanted in ((0.5, 1), (0.3, 0)):
        got = greedy(np.array([1.5, 3.0, 0.0]), P, R, np.array([False, False, True]), gamma)
        if np.shape(got) != (3,):
            fail(f"expected 3 actions, got shape {np.shape(got)}")
        expect(
            np.asarray(got)[0],
            wanted,
            look="the whole sum: the reward now, and gamma times what comes after",
            what=f"the action in state 0 at gamma = {gamma}",
        )


# %% tags=["test"] q="greedy" points=1 hidden=true
def test_best_of_all_policies(greedy, rng):
    """Four states, three actions: none of all 81 policies is better anywhere."""
    from itertools import product

    from rlcourse.algorithms.dynamic_programming import evaluate as exactly
    from rlcourse.mdp import TabularMDP, random_mdp

    for gamma, now in ((0.5, 2.0), (0.9, 2.0), (0.9, 0.01), (0.9, 0.01), (0.9, 0.01)):
        drawn = random_mdp(4, 3, branching=1, seed=int(rng.integers(2**31)))
        reward = rng.normal(size=(4, 1)) + now * drawn.reward  # how much the action matters now
        world = TabularMDP(drawn.transition, reward)
        every = [exactly(world, np.array(p), gamma) for p in product(range(3), repeat=4)]
        best = np.max(every, axis=0)
        got = np.asarray(greedy(best, world.transition, world.reward, world.terminal, gamma))
        if got.shape != (4,) or not np.isin(got, (0, 1, 2)).all():
            fail(f"expected 4 actions out of 0, 1, 2; got {got}")
        expect(
            exactly(world, got.astype(int), gamma),
            best,
            look="what the lookahead adds up before it takes the largest",
            what="the values of your policy, computed by the model",
        )


# %% tags=["mutant"] q="greedy" kills="test_one_now_or_three_later test_best_of_all_policies"
def greedy(values, P, R, terminal, gamma):
    """Walks uphill in the values and forgets what the step itself pays."""
    return (P @ values).argmax(axis=1)


# %% tags=["mutant"] q="greedy" kills="test_one_now_or_three_later test_best_of_all_policies"
def greedy(values, P, R, terminal, gamma):
    """Takes the largest reward now: no lookahead at all."""
    return np.asarray(R).argmax(axis=1)


# %% tags=["mutant"] q="greedy" kills="test_one_now_or_three_later"
def greedy(values, P, R, terminal, gamma):
    """The discount forgotten in the lookahead: too patient."""
    return (R + P @ values).argmax(axis=1)


# %% [markdown]
# When is the *plan* right, and when are the *values*?
# *Guess: on the slippery lake at γ = 0.99, after how many sweeps does acting greedily first earn
# 99 % of the optimum? And when are all values within 1 % of the truth?*

# %% tags=["trial"] q="greedy"
if written(solve) and written(greedy):
    *_, best = policy_iteration(LAKE, 0.99)
    P, R, ends = arrays(LAKE)
    v, errors, earned = np.zeros(16), [], []
    for _ in range(200):
        errors.append(np.abs(best.values - v).max())
        earned.append(exactly(LAKE, greedy(v, P, R, ends, 0.99), 0.99)[0])
        v = np.where(ends, 0.0, (R + 0.99 * P @ v).max(axis=1))
    share = np.array(earned) / best.values[0]
    for k in (1, 5, 10, 20, 50, 100, 199):
        print(f"after {k:3d} sweeps: a value is wrong by {errors[k]:.4f}, "
              f"the plan earns {share[k]:6.1%} of the optimum")  # fmt: skip
    fig, panel = new_figure(height=3.0)
    panel.plot(errors, color=COLOURS[0], label="largest error of a value")
    panel.plot(share, color=COLOURS[1], label="share of the optimum that its plan earns")
    panel.set(xlabel="sweeps", ylabel="reward (error), share (plan)", ylim=(0, 1.05))
    panel.legend(fontsize=9, loc="center right")
    alt = f"After 50 sweeps the plan earns {share[50]:.0%}, a value is wrong by {errors[50]:.2f}."
    display(show_figure(fig, alt=alt))

# %% [markdown]
# ## 4. In place, and in which order
#
# One array instead of two: a state that is backed up *now* uses what its neighbours learned a
# moment ago, in this very sweep.
# Then the order matters.
#
# Write `sweep(values, P, R, terminal, gamma, order) -> [S]`: back up the states of `order`, one
# after the other, each with the newest values, by the best action. States that are not in `order`
# keep their values. Return a new array; the one that you were given stays as it is.
#
# By hand: a corridor of four cells, only stepping on the end (cell 3) pays 1, γ = 0.5.
# In the order 2, 1, 0 a single sweep from zero gives (0.25, 0.5, 1, 0): all done.
# In the order 0, 1, 2 it gives (0, 0, 1, 0).


# %% tags=["task"] q="sweep"
def sweep(values, P, R, terminal, gamma, order):
    """Values `[S]` after backing up the states of `order` one by one, in place in a copy."""
    # BEGIN SOLUTION
    values = np.array(values, dtype=float)
    for s in order:
        values[s] = 0.0 if terminal[s] else (R[s] + gamma * P[s] @ values).max()
    return values
    # END SOLUTION


# %% tags=["test"] q="sweep" points=1
def test_corridor_in_both_orders(sweep):
    """Backward one sweep solves the corridor; forward it moves the news by a single cell."""
    from rlcourse.mdp import grid

    hall = grid("S..G")
    model = (hall.transition, hall.reward, hall.terminal, 0.5)
    look = "which values a backup reads: those of this very sweep, where there are any"
    expect(sweep(np.zeros(4), *model, [2, 1, 0]), [0.25, 0.5, 1, 0], look=look, what="2, 1, 0")
    expect(sweep(np.zeros(4), *model, [0, 1, 2]), [0, 0, 1, 0], look=look, what="0, 1, 2")


# %% tags=["test"] q="sweep" points=1 hidden=true
def test_any_order(sweep, rng):
    """Every backup by hand in a random world; unlisted states and your input stay as they are."""
    from rlcourse.mdp import random_mdp

    for _ in range(4):
        world = random_mdp(6, 2, branching=3, seed=int(rng.integers(2**31)))
        ends, gamma = np.arange(6) == 5, float(rng.uniform(0.5, 0.95))
        order = [int(s) for s in rng.permutation(6)[:4]] + [5]
        first = np.where(ends, 0.0, rng.normal(size=6))
        wanted = list(first)
        for s in order:
            if s != 5:
                q = []
                for a in range(2):
                    chances = world.successors(s, a)
                    q.append(
                        world.reward[s, a] + gamma * sum(chances[t] * wanted[t] for t in range(6))
                    )
                wanted[s] = max(q)
        got, (before, *_) = after(sweep, first, world.transition, world.reward, ends, gamma, order)
        expect(got, wanted, look="one backup at a time, in the order given", what=f"order {order}")
        expect(
            before, first, look="np.array(values) makes a copy", what="the values you were given"
        )


# %% tags=["mutant"] q="sweep" kills="test_corridor_in_both_orders test_any_order"
def sweep(values, P, R, terminal, gamma, order):
    """Two arrays: nobody sees this sweep's news, and the order does not matter."""
    new = np.array(values, dtype=float)
    for s in order:
        new[s] = 0.0 if terminal[s] else (R[s] + gamma * P[s] @ values).max()
    return new


# %% tags=["mutant"] q="sweep" kills="test_any_order"
def sweep(values, P, R, terminal, gamma, order):
    """Works on the caller's array."""
    for s in order:
        values[s] = 0.0 if terminal[s] else (R[s] + gamma * P[s] @ values).max()
    return values


# %% tags=["mutant"] q="sweep" kills="test_corridor_in_both_orders test_any_order"
def sweep(values, P, R, terminal, gamma, order):
    """Sorts the order: states are backed up by their numbers, whatever was asked."""
    values = np.array(values, dtype=float)
    for s in sorted(order):
        values[s] = 0.0 if terminal[s] else (R[s] + gamma * P[s] @ values).max()
    return values


# %% [markdown]
# ## 5. Only where there is news
#
# A whole sweep backs up cells about which nothing new is known.
# **Prioritised sweeping** asks instead: *where is the surprise largest?*
#
# The surprise of a state is $|(Tv)(s) - v(s)|$: how far one backup would move it.
# Start with zeros. Again and again, back up the state with the largest surprise, as long as that
# is larger than `threshold`.
#
# Write `prioritised(P, R, terminal, gamma, threshold) -> (values, backups)`: the values `[S]` and
# how many backups were done.
# Terminal states are never surprised.
#
# After a backup of $s$ only states that can reach $s$ in one step change their surprise. (Computing
# all of them anew gives the same answer, only slower.)
#
# By hand: a corridor of $n$ cells before the end needs exactly $n$ backups, one each.


# %% tags=["task"] q="prioritised"
def prioritised(P, R, terminal, gamma, threshold):
    """Optimal values `[S]` and the number of backups: always the most surprised state."""
    # BEGIN SOLUTION
    P, R, terminal = np.asarray(P), np.asarray(R), np.asarray(terminal, dtype=bool)
    values, backups = np.zeros(len(terminal)), 0
    aim = np.where(terminal, 0.0, R.max(axis=1))
    reaches = (P > 0).any(axis=1)  # [s, t]: some action leads from s to t
    while True:
        surprise = np.abs(aim - values)
        s = surprise.argmax()
        if surprise[s] <= threshold:
            return values, backups
        values[s] = aim[s]
        backups += 1
        for before in np.flatnonzero(reaches[:, s] & ~terminal):
            aim[before] = (R[before] + gamma * P[before] @ values).max()
    # END SOLUTION


# %% tags=["test"] q="prioritised" points=2
def test_corridor_backups(prioritised):
    """Five cells before the end: five backups, and all values are right."""
    from rlcourse.mdp import grid

    for text, cells in (("S....G", 5), ("S.........G", 10)):
        hall = grid(text)
        got = prioritised(hall.transition, hall.reward, hall.terminal, 0.9, 1e-9)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("expected two things, (values, backups)")
        look = "whose surprise changes when the value of its neighbour has changed"
        wanted = [0.9 ** (cells - 1 - i) for i in range(cells)] + [0.0]
        expect(got[0], wanted, look=look, what=f"values of {text!r}")
        expect(got[1], cells, look=look, what=f"backups for {text!r}")


# %% tags=["test"] q="prioritised" points=2 hidden=true
def test_always_the_most_surprised(prioritised, rng):
    """As many backups as by computing every surprise anew, in random worlds; right values."""
    from rlcourse.algorithms.dynamic_programming import policy_iteration, q_values
    from rlcourse.mdp import TabularMDP, random_mdp

    for shift in (0.0, 0.0, -2.0, -2.0):
        drawn = random_mdp(8, 2, branching=2, seed=int(rng.integers(2**31)))
        ends = np.arange(8) == 7
        world = TabularMDP(drawn.transition, drawn.reward + shift, ends)
        nonsense = np.where(ends[:, None], 20.0, drawn.reward + shift)
        got = prioritised(drawn.transition, nonsense, ends, 0.8, 1e-3)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("expected two things, (values, backups)")
        values, backups = np.zeros(8), 0
        while True:
            surprise = np.where(ends, 0.0, q_values(world, values, 0.8).max(axis=1) - values)
            s = int(np.abs(surprise).argmax())
            if abs(surprise[s]) <= 1e-3:
                break
            values[s] += surprise[s]
            backups += 1
        *_, best = policy_iteration(world, 0.8)
        expect(
            got[0],
            best.values,
            tolerance=1e-3 / (1 - 0.8),
            look="when you may stop, and that a surprise may also be negative",
            what="values",
        )
        expect(
            got[1],
            backups,
            tolerance=0.5,
            look="the state that you choose: the largest |Tv - v|, newest values",
            what="backups",
        )


# %% tags=["mutant"] q="prioritised" kills="test_corridor_backups test_always_the_most_surprised"
def prioritised(P, R, terminal, gamma, threshold):
    """Neighbours are not told: after the first round nobody is ever surprised again."""
    values, backups = np.zeros(len(terminal)), 0
    surprise = np.where(terminal, 0.0, np.abs(np.max(R, axis=1)))
    while surprise.max() > threshold:
        s = surprise.argmax()
        values[s] = (R[s] + gamma * P[s] @ values).max()
        surprise[s] = 0.0
        backups += 1
    return values, backups


# %% tags=["mutant"] q="prioritised" kills="test_corridor_backups test_always_the_most_surprised"
def prioritised(P, R, terminal, gamma, threshold):
    """Whole sweeps, counted as backups: right values, all the work."""
    values, backups = np.zeros(len(terminal)), 0
    while True:
        new = np.where(terminal, 0.0, (R + gamma * P @ values).max(axis=1))
        change, values = np.abs(new - values).max(), new
        if change <= threshold:
            return values, backups
        backups += len(terminal)


# %% tags=["mutant"] q="prioritised" kills="test_always_the_most_surprised"
def prioritised(P, R, terminal, gamma, threshold):
    """Only good news is a surprise: values that were too high are never corrected."""
    values, backups = np.zeros(len(terminal)), 0
    while True:
        surprise = np.where(terminal, 0.0, (R + gamma * P @ values).max(axis=1) - values)
        s = surprise.argmax()
        if surprise[s] <= threshold:
            return values, backups
        values[s] += surprise[s]
        backups += 1


# %% tags=["mutant"] q="prioritised" kills="test_always_the_most_surprised"
def prioritised(P, R, terminal, gamma, threshold):
    """The first surprised state instead of the most surprised one."""
    values, backups = np.zeros(len(terminal)), 0
    while True:
        aim = np.where(terminal, 0.0, (R + gamma * P @ values).max(axis=1))
        surprised = np.flatnonzero(np.abs(aim - values) > threshold)
        if not len(surprised):
            return values, backups
        values[surprised[0]] = aim[surprised[0]]
        backups += 1


# %% [markdown]
# A maze with one prize, sixty-four cells.
# Three ways to the same values: whole sweeps by number, sweeps in a random order (five of them),
# and prioritised.
# *Guess the factor between the first and the last.*

# %% tags=["trial"] q="prioritised"
MAZE = grid(
    [
        "S.#.....",
        "..#.###.",
        "#...#.#.",
        "#.#.#...",
        "..#.##.#",
        ".##....#",
        "....##..",
        ".##....G",
    ]
)
if written(sweep) and written(prioritised):
    *_, best = policy_iteration(MAZE, 0.95)
    P, R, ends = arrays(MAZE)
    cells = np.flatnonzero(~ends)

    def backups_of(order_of):
        """Backups until all values are right; sweep number k goes in the order `order_of(k)`."""
        v, k = np.zeros(len(ends)), 0
        while np.abs(v - best.values).max() > 1e-9:
            v, k = sweep(v, P, R, ends, 0.95, order_of(k)), k + 1
        return k * len(cells)

    dice = [np.random.default_rng(seed) for seed in range(5)]
    shuffled = [backups_of(lambda k, rng=rng: rng.permutation(cells)) for rng in dice]
    print(f"by number          {backups_of(lambda k: cells):6d} backups")
    print(f"random order, five {min(shuffled):6d} to {max(shuffled)}")
    print(f"prioritised        {prioritised(P, R, ends, 0.95, 1e-12)[1]:6d}")

# %% [markdown]
# ## 6. Yours: a picture and five sentences
#
# **The picture (2 points).** On the slippery lake (`LAKE`, γ = 0.99): the largest error of a value
# against the number of backups, for in-place sweeps in random orders (at least five seeds, all of
# them drawn, with their mean) and for `prioritised` (several thresholds give several points).
# A logarithmic error axis; names and units.
#
# **The sentences (4 points).** (a) In the maze the factor between sweeps and priorities is large.
# Is it as large on the slippery lake? Say what is different about that world, with two numbers
# of your own runs. (b) A friend stops when the change of a sweep falls below 0.001, at γ = 0.999,
# and reports three right digits. What can you say about them?

# %%
# Your picture.

# %% [markdown]
# *Your sentences.*

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Timing.** Sweeps 10 minutes, the promise 15, greedy 8, in place 12, priorities 20; picture and
# sentences 10.
#
# **What goes wrong.**
#
# - Terminal states set to zero once, at the end. Ask: what did their neighbours read meanwhile?
#   The tests put rewards of 50 there, so that it shows.
# - `P @ values` multiplies along the last axis of `P`: `[S, A, S] @ [S] -> [S, A]`. Draw it.
# - Stopping at a small change. The one-state world of the text settles every argument.
# - The lake at γ = 1 cannot be given to `solve`: there is no promise to be had. Somebody will try.
# - Prioritised sweeping with only positive surprises works in every maze and fails in every world
#   where a reward may be negative.
#
# **Sentences, full marks.** (a) On the lake each cell reaches several others and is reached by
# them, and the values depend on one another in circles: every backup makes its neighbours a little
# surprised again, so that there is always news everywhere. In the maze news travels once, along
# one way. Both numbers must be from their own run. (b) Nothing better than 0.001 · 0.999 / 0.001,
# about one: no digit is proven.
#
# **Power.** Every test is exact: solution and mutants pass or fail with certainty for almost every
# draw of the worlds. The cell measures it for the one mutant whose fate depends on the draw, the
# first surprised state instead of the most surprised one.

# %% tags=["instructor"]
from rlcourse.mdp import random_mdp


def backups_by(choose, world, ends):
    """Backups until no surprise exceeds 0.001, for a rule `choose(surprises) -> state`."""
    v, count = np.zeros(8), 0
    while True:
        aim = np.where(ends, 0.0, (world.reward + 0.8 * world.transition @ v).max(axis=1))
        if np.abs(aim - v).max() <= 1e-3:
            return count
        s = choose(np.abs(aim - v))
        v[s], count = aim[s], count + 1


told_apart, ends = 0, np.arange(8) == 7
for seed in range(100):
    world = random_mdp(8, 2, branching=2, seed=seed)
    most = backups_by(np.argmax, world, ends)
    told_apart += most != backups_by(lambda d: np.flatnonzero(d > 1e-3)[0], world, ends)
print(f"one random world tells the two apart in {told_apart} of 100 cases; the test takes four")
print(f"so it fails the wrong one with p = {1 - (1 - told_apart / 100) ** 4:.4f} or more")
