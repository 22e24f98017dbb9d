# ---
# lab: bug-hunt-ppo
# title: "Bug hunt B: PPO, and the clerk who quit"
# minutes: 90
# extras: "deep"
# version: 1
# ---

# %% [markdown]
# # Bug hunt B: PPO, and the clerk who quit
#
# A clerk sits at a desk. Every step of work pays 0.05, for as long as one likes, and the future
# counts with γ = 0.95: whoever stays has $0.05 / (1 - 0.95) = 1$.
# Two steps away is a door. Whoever walks out gets 0.6, once, and that is the end.
#
# So one stays. PPO, trained on this world, quits. In every run.
#
# There is one more thing to know: the shift. Every ten steps somebody rings a bell and the record
# begins anew, at the desk. The bell is a *time limit*. It is not the end of the world.
#
# The code is four functions. Five bugs are in them, and none of them raises an error.
# Some you would see in a learning curve. Some you would *not*: the clerk would stay at the desk
# with them, and you would ship it. That is why each part has a check of its own.
#
# You need the chapters on actor-critic methods and on PPO, or the lab on PPO. Ninety minutes.
# Automatic points: 14. By hand: 6.
#
# **First run every cell down to the figure, without reading the code.**

# %%
import numpy as np
import torch
from scipy.special import log_softmax

# %% [markdown]
# ## Part 1: the batch
#
# `collect(world, logits, state, age, dice)` lets `N` walkers take `T` steps side by side, and
# whoever's episode is over begins a new one by itself.
#
# - `world`: a dictionary of `chances` `[S, A, S]`, `pays` `[S]` (for arriving there), `end` `[S]`
#   (bools: the world is over there), `first` (the state in which episodes begin) and `limit` (the
#   bell);
# - `logits` `[S, A]`, an array; `state` and `age` `[N]`: where the walkers stand, and how many steps
#   their episodes have;
# - `dice` `[T, 2, N]`, uniform numbers: the first row throws the actions, the second the world.
#
# It returns the batch, a dictionary of tensors `[T, N]`, and the walkers' `state` and `age`
# afterwards. In the batch, `next_state` is the state that a step *truly* led to, `log_prob` that of
# the action under the policy that took it; `terminated` says that the world ended, `truncated` that
# the bell rang, and both can be true.


# %% tags=["task"] q="collect"
def collect(world, logits, state, age, dice):
    """A batch `[T, N]`, and where the walkers stand after it."""
    log_pi, rows = log_softmax(logits, axis=1), []
    for u, v in dice:
        action = (u[:, None] > np.exp(log_pi[state]).cumsum(axis=1)[:, :-1]).sum(axis=1)
        log_prob, chances = log_pi[state, action], world["chances"][state, action]
        reached = (v[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward, age = world["pays"][reached], age + 1
        terminated, truncated = world["end"][reached], age == world["limit"]
        over = terminated | truncated
        following = np.where(over, world["first"], reached)
        # BEGIN SOLUTION
        rows.append((state, action, log_prob, reward, reached, terminated, truncated))
        # END SOLUTION
        # BEGIN STUDENT
        # rows.append((state, action, log_prob, reward, following, terminated, truncated))
        # END STUDENT
        state, age = following, np.where(over, 0, age)
    names = ("state", "action", "log_prob", "reward", "next_state", "terminated", "truncated")
    columns = zip(names, zip(*rows))
    return {name: torch.tensor(np.array(column)) for name, column in columns}, state, age


# %% tags=["test"] q="collect" points=1
def test_clerk_walks_a_plank(collect):
    """Five cells in a row and a bell every three steps: each row leads one cell on, also the last of an episode."""
    chances = np.zeros((6, 1, 6))
    for cell in range(5):
        chances[cell, 0, cell + 1] = 1.0
    chances[5, 0, 5] = 1.0
    world = {
        "chances": chances,
        "pays": np.arange(6.0),
        "end": np.arange(6) == 5,
        "first": 0,
        "limit": 3,
    }
    start, dice = (np.array([0, 3]), np.array([0, 0])), np.full((4, 2, 2), 0.5)
    batch, state, age = collect(world, np.zeros((6, 1)), *start, dice)
    wanted = {
        "state": [[0, 3], [1, 4], [2, 0], [0, 1]],
        "action": np.zeros((4, 2), int),
        "log_prob": np.zeros((4, 2)),
        "reward": [[1, 4], [2, 5], [3, 1], [1, 2]],
        "next_state": [[1, 4], [2, 5], [3, 1], [1, 2]],
        "terminated": [[False, False], [False, True], [False, False], [False, False]],
        "truncated": [[False, False], [False, False], [True, False], [False, False]],
    }
    expect(batch, wanted, what="two walkers, four steps")
    expect((state, age), ([1, 2], [1, 2]), what="where they stand afterwards, and how old they are")


# %% tags=["test"] q="collect" points=2 hidden=true
def test_clerk_walks_anywhere(collect, rng):
    """Boundaries: the next state of a row is where it led, never where the next episode begins."""
    for limit in (2, 3, 5):
        S, A, T, N = 5, 3, 12, 3
        chances = rng.dirichlet(np.ones(S), size=(S, A))
        logits, end = rng.normal(size=(S, A)), np.arange(S) >= S - 1
        world = {
            "chances": chances,
            "pays": rng.normal(size=S),
            "end": end,
            "first": 1,
            "limit": limit,
        }
        dice = rng.random((T, 2, N))
        batch, last, old = collect(world, logits, np.zeros(N, int), np.zeros(N, int), dice)
        names = ["state", "action", "log_prob", "reward", "next_state", "terminated", "truncated"]
        wanted = {name: [[0] * N for _ in range(T)] for name in names}
        for i in range(N):
            s, age = 0, 0
            for t in range(T):
                weights = [float(np.exp(x)) for x in logits[s]]
                shares = [w / sum(weights) for w in weights]
                a = next(k for k in range(A) if dice[t, 0, i] <= sum(shares[: k + 1]) or k == A - 1)
                after_a = chances[s, a]
                s2 = next(
                    k for k in range(S) if dice[t, 1, i] <= sum(after_a[: k + 1]) or k == S - 1
                )
                age += 1
                row = (
                    s,
                    a,
                    float(np.log(shares[a])),
                    world["pays"][s2],
                    s2,
                    s2 == S - 1,
                    age == limit,
                )
                for name, value in zip(names, row):
                    wanted[name][t][i] = value
                s, age = (1, 0) if s2 == S - 1 or age == limit else (s2, age)
            expect((int(last[i]), int(old[i])), (s, age), what="where a walker stands afterwards")
        for name in names:
            if name not in batch:
                fail(f"the batch lacks {name}")
            expect(
                batch[name],
                np.array(wanted[name]),
                what=f"{name} of {N} walkers, a bell every {limit} steps",
            )


# %% tags=["mutant"] q="collect" kills="test_clerk_walks_a_plank test_clerk_walks_anywhere"
def collect(world, logits, state, age, dice):
    """Boundaries: the next state of an episode's last row is the first of the next episode."""
    log_pi, rows = log_softmax(logits, axis=1), []
    for u, v in dice:
        action = (u[:, None] > np.exp(log_pi[state]).cumsum(axis=1)[:, :-1]).sum(axis=1)
        log_prob, chances = log_pi[state, action], world["chances"][state, action]
        reached = (v[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward, age = world["pays"][reached], age + 1
        terminated, truncated = world["end"][reached], age == world["limit"]
        over = terminated | truncated
        following = np.where(over, world["first"], reached)
        rows.append((state, action, log_prob, reward, following, terminated, truncated))
        state, age = following, np.where(over, 0, age)
    names = ("state", "action", "log_prob", "reward", "next_state", "terminated", "truncated")
    columns = zip(names, zip(*rows))
    return {name: torch.tensor(np.array(column)) for name, column in columns}, state, age


# %% tags=["mutant"] q="collect" kills="test_clerk_walks_a_plank test_clerk_walks_anywhere"
def collect(world, logits, state, age, dice):
    """Boundaries, half repaired: right behind an end, wrong behind the bell."""
    log_pi, rows = log_softmax(logits, axis=1), []
    for u, v in dice:
        action = (u[:, None] > np.exp(log_pi[state]).cumsum(axis=1)[:, :-1]).sum(axis=1)
        log_prob, chances = log_pi[state, action], world["chances"][state, action]
        reached = (v[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward, age = world["pays"][reached], age + 1
        terminated, truncated = world["end"][reached], age == world["limit"]
        over = terminated | truncated
        following = np.where(over, world["first"], reached)
        rows.append(
            (
                state,
                action,
                log_prob,
                reward,
                np.where(truncated, world["first"], reached),
                terminated,
                truncated,
            )
        )
        state, age = following, np.where(over, 0, age)
    names = ("state", "action", "log_prob", "reward", "next_state", "terminated", "truncated")
    columns = zip(names, zip(*rows))
    return {name: torch.tensor(np.array(column)) for name, column in columns}, state, age


# %% tags=["mutant"] q="collect" kills="test_clerk_walks_a_plank test_clerk_walks_anywhere"
def collect(world, logits, state, age, dice):
    """Boundaries, repaired too well: nobody begins a new episode."""
    log_pi, rows = log_softmax(logits, axis=1), []
    for u, v in dice:
        action = (u[:, None] > np.exp(log_pi[state]).cumsum(axis=1)[:, :-1]).sum(axis=1)
        log_prob, chances = log_pi[state, action], world["chances"][state, action]
        reached = (v[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward, age = world["pays"][reached], age + 1
        terminated, truncated = world["end"][reached], age == world["limit"]
        over = terminated | truncated
        following = reached
        rows.append((state, action, log_prob, reward, reached, terminated, truncated))
        state, age = following, np.where(over, 0, age)
    names = ("state", "action", "log_prob", "reward", "next_state", "terminated", "truncated")
    columns = zip(names, zip(*rows))
    return {name: torch.tensor(np.array(column)) for name, column in columns}, state, age


# %% tags=["mutant"] q="collect" kills="test_clerk_walks_a_plank test_clerk_walks_anywhere"
def collect(world, logits, state, age, dice):
    """Boundaries: a new episode inherits the age of the old one, and the bell rings once."""
    log_pi, rows = log_softmax(logits, axis=1), []
    for u, v in dice:
        action = (u[:, None] > np.exp(log_pi[state]).cumsum(axis=1)[:, :-1]).sum(axis=1)
        log_prob, chances = log_pi[state, action], world["chances"][state, action]
        reached = (v[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward, age = world["pays"][reached], age + 1
        terminated, truncated = world["end"][reached], age == world["limit"]
        over = terminated | truncated
        following = np.where(over, world["first"], reached)
        rows.append((state, action, log_prob, reward, reached, terminated, truncated))
        state = following
    names = ("state", "action", "log_prob", "reward", "next_state", "terminated", "truncated")
    columns = zip(names, zip(*rows))
    return {name: torch.tensor(np.array(column)) for name, column in columns}, state, age


# %% tags=["mutant"] q="collect" kills="test_clerk_walks_anywhere"
def collect(world, logits, state, age, dice):
    """Old policy: the log-probability is that of the action in the next state."""
    log_pi, rows = log_softmax(logits, axis=1), []
    for u, v in dice:
        action = (u[:, None] > np.exp(log_pi[state]).cumsum(axis=1)[:, :-1]).sum(axis=1)
        chances = world["chances"][state, action]
        reached = (v[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward, age = world["pays"][reached], age + 1
        terminated, truncated = world["end"][reached], age == world["limit"]
        over = terminated | truncated
        following = np.where(over, world["first"], reached)
        rows.append(
            (state, action, log_pi[reached, action], reward, reached, terminated, truncated)
        )
        state, age = following, np.where(over, 0, age)
    names = ("state", "action", "log_prob", "reward", "next_state", "terminated", "truncated")
    columns = zip(names, zip(*rows))
    return {name: torch.tensor(np.array(column)) for name, column in columns}, state, age


# %% [markdown]
# ## Part 2: what was each action worth?
#
# `gae(reward, value, ahead, terminated, truncated, gamma, lam)`: tensors `[T, N]`; `ahead` is what
# the critic says of `next_state`. The TD error of a row counts the value ahead unless the world
# ended there. The sum of the errors stops wherever an episode stops, for whatever reason.
#
# By hand, one walker, γ = λ = ½: rewards 2, 0, 1; values 1, 3, 2; ahead 4, 6, 5. Errors 3, 0, 1.5.
# Nothing ends: 3.09375, 0.375, 1.5. The bell after the second row: 3, **0**, 1.5. A true end there:
# 2.25, **−3**, 1.5.


# %% tags=["task"] q="gae"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Generalised advantage estimates `[T, N]`."""
    over = terminated | truncated
    # BEGIN SOLUTION
    delta = reward + gamma * ahead * ~terminated - value
    # END SOLUTION
    # BEGIN STUDENT
    # delta = reward + gamma * ahead * ~over - value
    # END STUDENT
    gains, later = [], torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        later = delta[t] + gamma * lam * later * ~over[t]
        gains.append(later)
    return torch.stack(gains[::-1])


# %% tags=["test"] q="gae" points=2
def test_clerk_three_rows(gae):
    """Three rows: with no end, with the bell, with a true end, with both."""
    import torch

    columns = ([2.0, 0.0, 1.0], [1.0, 3.0, 2.0], [4.0, 6.0, 5.0])
    numbers = [torch.tensor(x, dtype=torch.float64)[:, None] for x in columns]
    never, second = torch.zeros((3, 1), dtype=torch.bool), torch.tensor([[False], [True], [False]])
    for name, flags, wanted in (
        ("nothing ends", (never, never), [3.09375, 0.375, 1.5]),
        ("the bell after the second row", (never, second), [3.0, 0.0, 1.5]),
        ("the world ends after the second row", (second, never), [2.25, -3.0, 1.5]),
        ("both after the second row", (second, second), [2.25, -3.0, 1.5]),
    ):
        expect(gae(*numbers, *flags, 0.5, 0.5), np.array(wanted)[:, None], what=name)


# %% tags=["test"] q="gae" points=2 hidden=true
def test_clerk_double_sum(gae, rng):
    """Time limits: the bell cuts the sum and keeps the value ahead; an end takes both."""
    import torch

    for _ in range(4):
        reward, value, ahead = rng.normal(size=(3, 8, 2))
        terminated, truncated = rng.random((2, 8, 2)) < 0.3
        truncated[1], terminated[1] = True, [True, False]
        gamma, lam = (float(x) for x in rng.uniform(0.3, 0.95, size=2))
        wanted = np.zeros((8, 2))
        for i in range(2):
            for t in range(8):
                for k in range(t, 8):
                    error = reward[k, i] - value[k, i]
                    if not terminated[k, i]:
                        error += gamma * ahead[k, i]
                    wanted[t, i] += (gamma * lam) ** (k - t) * error
                    if terminated[k, i] or truncated[k, i]:
                        break
        given = [torch.tensor(x) for x in (reward, value, ahead, terminated, truncated)]
        what = f"eight rows of two, gamma {gamma:.2f}, lambda {lam:.2f}"
        expect(gae(*given, gamma, lam), wanted, what=what)


# %% tags=["mutant"] q="gae" kills="test_clerk_three_rows test_clerk_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Time limits: the bell is taken for the end of the world."""
    over = terminated | truncated
    delta = reward + gamma * ahead * ~over - value
    gains, later = [], torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        later = delta[t] + gamma * lam * later * ~over[t]
        gains.append(later)
    return torch.stack(gains[::-1])


# %% tags=["mutant"] q="gae" kills="test_clerk_three_rows test_clerk_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Time limits, half repaired: with the bell on the last step an end is no end."""
    over = terminated | truncated
    gone = terminated & ~truncated
    delta = reward + gamma * ahead * ~gone - value
    gains, later = [], torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        later = delta[t] + gamma * lam * later * ~over[t]
        gains.append(later)
    return torch.stack(gains[::-1])


# %% tags=["mutant"] q="gae" kills="test_clerk_three_rows test_clerk_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Time limits, repaired too well: the sum runs through the bell into the next episode."""
    delta = reward + gamma * ahead * ~terminated - value
    gains, later = [], torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        later = delta[t] + gamma * lam * later * ~terminated[t]
        gains.append(later)
    return torch.stack(gains[::-1])


# %% tags=["mutant"] q="gae" kills="test_clerk_three_rows test_clerk_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Time limits, repaired too well: no end takes the value ahead."""
    over = terminated | truncated
    delta = reward + gamma * ahead - value
    gains, later = [], torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        later = delta[t] + gamma * lam * later * ~over[t]
        gains.append(later)
    return torch.stack(gains[::-1])


# %% tags=["mutant"] q="gae" kills="test_clerk_three_rows test_clerk_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Boundaries: the flag of the next row cuts this one."""
    over = terminated | truncated
    delta = reward + gamma * ahead * ~terminated - value
    gains, later = [], torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        later = delta[t] + gamma * lam * later * ~over[min(t + 1, len(over) - 1)]
        gains.append(later)
    return torch.stack(gains[::-1])


# %% [markdown]
# ## Part 3: how far may it go?
#
# `policy_loss(log_prob, old_log_prob, advantages, clip)`: tensors `[B]`, and one number comes back,
#
# $$
# L = -\frac1B \sum_i \min\bigl(\rho_i \hat A_i,\; \operatorname{clip}(\rho_i,\, 1 - \text{clip},\, 1
# + \text{clip})\, \hat A_i\bigr).
# $$
#
# By hand, clip ¼: ratios 1.5, 0.5, 1.5, 0.5 with advantages 2, 2, −1, −1. The minima are 2.5, 1,
# −1.5, −0.75, so the loss is −0.3125. A good action that has grown far enough and a bad one that
# has shrunk far enough have no gradient; the other two are brought back.


# %% tags=["task"] q="loss"
def policy_loss(log_prob, old_log_prob, advantages, clip):
    """The clipped loss of a batch `[B]`, a number."""
    ratio = (log_prob - old_log_prob).exp()
    free = -ratio * advantages
    held = -ratio.clamp(1 - clip, 1 + clip) * advantages
    # BEGIN SOLUTION
    return torch.max(free, held).mean()
    # END SOLUTION
    # BEGIN STUDENT
    # return torch.min(free, held).mean()
    # END STUDENT


# %% tags=["test"] q="loss" points=1
def test_clerk_four_corners(policy_loss):
    """A policy that has not moved, and the four corners: the loss, and what it pulls at."""
    import torch

    old = torch.full((4,), 0.5, dtype=torch.float64).log()
    gains = torch.tensor([2.0, 2.0, -1.0, -1.0], dtype=torch.float64)
    got, (slope,) = gradient(policy_loss, old, old, gains, 0.25, wrt=(0,))
    expect(got, -0.5, what="the loss of a policy that has not moved")
    expect(slope, [-0.5, -0.5, 0.25, 0.25], what="its gradient")
    moved = old + torch.tensor([1.5, 0.5, 1.5, 0.5], dtype=torch.float64).log()
    got, (slope,) = gradient(policy_loss, moved, old, gains, 0.25, wrt=(0,))
    expect(got, -0.3125, what="the loss of the four corners")
    expect(slope, [0.0, -0.25, 0.375, 0.0], what="their gradient")


# %% tags=["test"] q="loss" points=1 hidden=true
def test_clerk_loss_by_differences(policy_loss, rng):
    """Clipping: of the free and the held loss the worse one counts, and beyond the clip nothing pulls."""
    import torch

    ratio, gains = rng.uniform(0.3, 2.0, size=24), rng.normal(size=24)
    ratio[:4], gains[:4] = [1.6, 0.5, 1.6, 0.5], [1.0, -1.0, -1.0, 1.0]  # every corner
    ratio = np.where(abs(abs(ratio - 1) - 0.2) < 1e-3, 1.0, ratio)  # no kink among them
    old = rng.uniform(-3.0, -0.1, size=24)

    def loss(log_prob):
        total = 0.0
        for new, before, gain in zip(log_prob, old, gains):
            r = float(np.exp(new - before))
            total -= gain * (min(r, 1.2) if gain > 0 else max(r, 0.8))  # paid no further than that
        return total / 24

    new, step = old + np.log(ratio), 1e-6
    wanted = [(loss(new + step * e) - loss(new - step * e)) / (2 * step) for e in np.eye(24)]
    got, (slope,) = gradient(
        policy_loss, *(torch.tensor(x) for x in (new, old, gains)), 0.2, wrt=(0,)
    )
    expect(got, loss(new), what="the loss of 24 samples, clip 0.2")
    expect(slope, wanted, tolerance=1e-5, what="its gradient, by finite differences")


# %% tags=["mutant"] q="loss" kills="test_clerk_four_corners test_clerk_loss_by_differences"
def policy_loss(log_prob, old_log_prob, advantages, clip):
    """Clipping: of two losses the smaller counts, as in the formula, which is about gains."""
    ratio = (log_prob - old_log_prob).exp()
    free = -ratio * advantages
    held = -ratio.clamp(1 - clip, 1 + clip) * advantages
    return torch.min(free, held).mean()


# %% tags=["mutant"] q="loss" kills="test_clerk_four_corners test_clerk_loss_by_differences"
def policy_loss(log_prob, old_log_prob, advantages, clip):
    """Clipping, half repaired: the held loss alone; who moved the wrong way is not brought back."""
    ratio = (log_prob - old_log_prob).exp()
    held = -ratio.clamp(1 - clip, 1 + clip) * advantages
    return held.mean()


# %% tags=["mutant"] q="loss" kills="test_clerk_four_corners test_clerk_loss_by_differences"
def policy_loss(log_prob, old_log_prob, advantages, clip):
    """Clipping, repaired by sign: the gain itself goes to the optimiser, downhill."""
    ratio = (log_prob - old_log_prob).exp()
    free = -ratio * advantages
    held = -ratio.clamp(1 - clip, 1 + clip) * advantages
    return torch.min(-free, -held).mean()


# %% tags=["mutant"] q="loss" kills="test_clerk_four_corners test_clerk_loss_by_differences"
def policy_loss(log_prob, old_log_prob, advantages, clip):
    """Clipping, repaired too well: the sign of the advantage turns, too."""
    ratio = (log_prob - old_log_prob).exp()
    free = ratio * advantages
    held = ratio.clamp(1 - clip, 1 + clip) * advantages
    return torch.max(free, held).mean()


# %% [markdown]
# ## Part 4: one batch, many passes
#
# `update(logits, values, batch, order, clip, gamma, lam, rate)`: `logits` `[S, A]` and `values`
# `[S]` are tensors, `order` `[M, size]` holds the rows of each of `M` minibatches as numbers into
# the flattened batch. For each minibatch: one step of plain gradient descent, of the size `rate`,
# on the policy's loss plus half the mean squared error of the values.
#
# - Advantages, and the critic's targets (advantage plus value), are *data*. They are computed once,
#   before the first minibatch; nobody learns through them.
# - The ratio compares with the policy *that collected the batch*, in every pass.
# - What was passed in is not changed.


# %% tags=["task"] q="update"
def update(logits, values, batch, order, clip, gamma, lam, rate):
    """New logits `[S, A]` and values `[S]` after the minibatches of `order` `[M, size]`."""
    logits, values = (x.detach().clone().requires_grad_() for x in (logits, values))
    value, ahead = values[batch["state"]], values[batch["next_state"]]
    ends = batch["terminated"], batch["truncated"]
    gains = gae(batch["reward"], value, ahead, *ends, gamma, lam)
    # BEGIN SOLUTION
    gains, target = gains.detach().flatten(), (gains + value).detach().flatten()
    # END SOLUTION
    # BEGIN STUDENT
    # gains, target = gains.flatten(), (gains + value).detach().flatten()
    # END STUDENT
    state, action, log_prob = (batch[name].flatten() for name in ("state", "action", "log_prob"))
    for rows in order:
        new_log_prob = torch.log_softmax(logits, dim=1)[state[rows], action[rows]]
        # BEGIN SOLUTION
        old_log_prob = log_prob[rows]
        # END SOLUTION
        # BEGIN STUDENT
        # old_log_prob = new_log_prob.detach()
        # END STUDENT
        loss = policy_loss(new_log_prob, old_log_prob, gains[rows], clip)
        loss = loss + ((values[state[rows]] - target[rows]) ** 2).mean() / 2
        # BEGIN SOLUTION
        slopes = torch.autograd.grad(loss, (logits, values))
        # END SOLUTION
        # BEGIN STUDENT
        # slopes = torch.autograd.grad(loss, (logits, values), retain_graph=True)
        # END STUDENT
        with torch.no_grad():
            logits -= rate * slopes[0]
            values -= rate * slopes[1]
    return logits.detach(), values.detach()


# %% tags=["test"] q="update" points=1
def test_clerk_one_pass(update):
    """Two rows, one minibatch of both: values 2 and 4 become 2.5 and 4, and what was passed in stays."""
    import torch

    half = float(np.log(0.5))
    columns = {
        "state": [[0, 1]], "action": [[0, 1]], "log_prob": [[half, half]], "reward": [[1.0, 3.0]],
        "next_state": [[1, 0]], "terminated": [[False, False]], "truncated": [[False, False]],
    }  # fmt: skip
    batch = {
        name: torch.tensor(x, dtype=torch.float64 if name in ("log_prob", "reward") else None)
        for name, x in columns.items()
    }
    before = torch.zeros((2, 2), dtype=torch.float64), torch.tensor([2.0, 4.0], dtype=torch.float64)
    (logits, values), left = after(
        update, *before, batch, torch.tensor([[0, 1]]), 0.2, 0.5, 0.0, 1.0
    )
    expect(values, [2.5, 4.0], what="the values: their targets are 3 and 4")
    expect(logits, [[0.25, -0.25], [0.0, 0.0]], what="the logits: advantages 1 and 0")
    expect(
        left[:2],
        (np.zeros((2, 2)), [2.0, 4.0]),
        what="the tensors that were passed in, after the call",
    )


# %% tags=["test"] q="update" points=1
def test_clerk_two_passes(update):
    """One good action and a clip that never acts: the second pass starts from where the first has led."""
    import torch

    columns = {"state": [[0]], "action": [[1]], "next_state": [[0]]}
    batch = {name: torch.tensor(x) for name, x in columns.items()}
    batch["log_prob"] = torch.full((1, 1), 0.5, dtype=torch.float64).log()
    batch["reward"] = torch.ones((1, 1), dtype=torch.float64)
    batch["terminated"] = torch.ones((1, 1), dtype=torch.bool)
    batch["truncated"] = torch.zeros((1, 1), dtype=torch.bool)
    before = torch.zeros((1, 2), dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    height = 0.0
    for passes in (1, 2, 3):
        chance = 1 / (1 + np.exp(-2 * height))
        height += chance / 0.5 * (1 - chance)
        order = torch.zeros((passes, 1), dtype=torch.int64)
        logits, _ = update(*before, batch, order, 1e6, 0.5, 0.5, 1.0)
        expect(logits, [[-height, height]], what=f"the logits, passes: {passes}")


# %% tags=["test"] q="update" points=1 hidden=true
def test_clerk_critic_alone(update, rng):
    """Detaching: the critic learns from its own error, and nothing else pulls at it."""
    import torch

    for gamma in (0.5, 0.9):
        state, following = rng.integers(3, size=(2, 6, 2))
        action, reward, start = (
            rng.integers(2, size=(6, 2)),
            rng.normal(size=(6, 2)),
            rng.normal(size=3),
        )
        terminated = rng.random((6, 2)) < 0.3
        target = (reward + gamma * np.where(terminated, 0.0, start[following])).ravel()
        theta = rng.normal(size=(3, 2))
        chosen = np.exp(theta) / np.exp(theta).sum(axis=1, keepdims=True)
        order = np.stack([rng.permutation(12)[:4] for _ in range(8)])
        wanted = start.copy()
        for rows in order:
            pull = np.zeros(3)
            for row in rows:
                s = state.ravel()[row]
                pull[s] += (target[row] - wanted[s]) / 4
            wanted = wanted + 0.5 * pull
        arrays = {
            "state": state, "action": action, "log_prob": np.log(chosen[state, action]),
            "reward": reward, "next_state": following, "terminated": terminated,
            "truncated": np.zeros((6, 2), bool),
        }  # fmt: skip
        batch = {name: torch.tensor(x) for name, x in arrays.items()}
        given = torch.tensor(theta), torch.tensor(start), batch, torch.tensor(order)
        _, values = update(*given, 1e6, gamma, 0.0, 0.5)
        expect(values, wanted, what=f"the values after eight minibatches, gamma {gamma}, lambda 0")


# %% tags=["test"] q="update" points=1 hidden=true
def test_clerk_ruler_stays(update, rng):
    """Old policy: in every pass the ratio compares with the policy that collected the batch."""
    import torch

    for size in (12, 4):
        state, action = rng.integers(3, size=(6, 2)), rng.integers(2, size=(6, 2))
        reward, theta = rng.normal(size=(6, 2)), rng.normal(size=(3, 2))

        def chances(x):
            return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)

        old = chances(theta)[state, action].ravel()
        order = np.concatenate([rng.permutation(12).reshape(-1, size) for _ in range(5)])
        wanted = theta.copy()
        for rows in order:
            pi, uphill = chances(wanted), np.zeros((3, 2))
            for row in rows:
                s, a = state.ravel()[row], action.ravel()[row]
                push = pi[s, a] / old[row] * reward.ravel()[row] / size
                for b in range(2):
                    uphill[s, b] += push * ((a == b) - pi[s, b])
            wanted = wanted + 0.5 * uphill
        arrays = {
            "state": state, "action": action, "log_prob": np.log(old).reshape(6, 2), "reward": reward,
            "next_state": state, "terminated": np.ones((6, 2), bool), "truncated": np.zeros((6, 2), bool),
        }  # fmt: skip
        batch = {name: torch.tensor(x) for name, x in arrays.items()}
        given = torch.tensor(theta), torch.zeros(3, dtype=torch.float64), batch, torch.tensor(order)
        logits, _ = update(*given, 1e6, 0.9, 0.9, 0.5)
        expect(logits, wanted, what=f"the logits after five passes in minibatches of {size}")


# %% tags=["test"] q="update" points=1 hidden=true
def test_clerk_keeps_the_job(collect, update, rng):
    """Everything together: a coin for ever is worth its sum, and one sample moves no further than the clip."""
    import torch

    gamma = float(rng.uniform(0.4, 0.7))
    world = {
        "chances": np.ones((1, 1, 1)),
        "pays": np.ones(1),
        "end": np.zeros(1, bool),
        "first": 0,
        "limit": 3,
    }
    logits, values = torch.zeros((1, 1), dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    state, age = np.zeros(2, int), np.array([0, 1])
    for _ in range(40):
        batch, state, age = collect(world, np.zeros((1, 1)), state, age, rng.random((6, 2, 2)))
        batch = {name: torch.tensor(np.asarray(column)) for name, column in batch.items()}
        order = torch.tensor(np.stack([rng.permutation(12) for _ in range(3)]))
        _, values = update(logits, values, batch, order, 0.2, gamma, 0.9, 0.7)
        values = torch.tensor(np.asarray(values))
    expect(
        np.asarray(values),
        [1 / (1 - gamma)],
        tolerance=1e-4,
        what=f"a coin a step for ever, gamma {gamma:.3f}",
    )
    batch = {
        name: torch.zeros((1, 1), dtype=torch.int64) for name in ("state", "next_state", "action")
    }
    batch["log_prob"] = torch.full((1, 1), 0.5, dtype=torch.float64).log()
    batch["reward"] = torch.ones((1, 1), dtype=torch.float64)
    batch["terminated"] = torch.ones((1, 1), dtype=torch.bool)
    batch["truncated"] = torch.zeros((1, 1), dtype=torch.bool)
    before = torch.zeros((1, 2), dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    ends = []
    for passes in (80, 160):
        order = torch.zeros((passes, 1), dtype=torch.int64)
        got, _ = update(*before, batch, order, 0.2, gamma, 0.9, 0.05)
        got = np.asarray(got, dtype=float)
        if got.shape != (1, 2):
            fail(f"expected logits of shape (1, 2), got {got.shape}")
        ends.append(2 / (1 + np.exp(got[0, 1] - got[0, 0])))
    if not (1.2 < ends[0] < 1.22 and ends[0] == ends[1]):
        fail(
            f"one good sample: the ratio after 80 passes is {ends[0]:.3f}, after 160 {ends[1]:.3f}; "
            "expected one step past 1.2 and then a standstill"
        )


# %% tags=["mutant"] q="update" kills="test_clerk_one_pass test_clerk_critic_alone"
def update(logits, values, batch, order, clip, gamma, lam, rate):
    """Detaching: the policy's loss pulls at the critic through the advantages."""
    logits, values = (x.detach().clone().requires_grad_() for x in (logits, values))
    value, ahead = values[batch["state"]], values[batch["next_state"]]
    ends = batch["terminated"], batch["truncated"]
    gains = gae(batch["reward"], value, ahead, *ends, gamma, lam)
    gains, target = gains.flatten(), (gains + value).detach().flatten()
    state, action, log_prob = (batch[name].flatten() for name in ("state", "action", "log_prob"))
    for rows in order:
        new_log_prob = torch.log_softmax(logits, dim=1)[state[rows], action[rows]]
        old_log_prob = log_prob[rows]
        loss = policy_loss(new_log_prob, old_log_prob, gains[rows], clip)
        loss = loss + ((values[state[rows]] - target[rows]) ** 2).mean() / 2
        slopes = torch.autograd.grad(loss, (logits, values), retain_graph=True)
        with torch.no_grad():
            logits -= rate * slopes[0]
            values -= rate * slopes[1]
    return logits.detach(), values.detach()


# %% tags=["mutant"] q="update" kills="test_clerk_one_pass test_clerk_critic_alone"
def update(logits, values, batch, order, clip, gamma, lam, rate):
    """Detaching, half repaired: the critic's target moves along with the critic."""
    logits, values = (x.detach().clone().requires_grad_() for x in (logits, values))
    value, ahead = values[batch["state"]], values[batch["next_state"]]
    ends = batch["terminated"], batch["truncated"]
    gains = gae(batch["reward"], value, ahead, *ends, gamma, lam)
    gains, target = gains.detach().flatten(), (gains + value).flatten()
    state, action, log_prob = (batch[name].flatten() for name in ("state", "action", "log_prob"))
    for rows in order:
        new_log_prob = torch.log_softmax(logits, dim=1)[state[rows], action[rows]]
        old_log_prob = log_prob[rows]
        loss = policy_loss(new_log_prob, old_log_prob, gains[rows], clip)
        loss = loss + ((values[state[rows]] - target[rows]) ** 2).mean() / 2
        slopes = torch.autograd.grad(loss, (logits, values), retain_graph=True)
        with torch.no_grad():
            logits -= rate * slopes[0]
            values -= rate * slopes[1]
    return logits.detach(), values.detach()


# %% tags=["mutant"] q="update" kills="test_clerk_one_pass test_clerk_two_passes"
def update(logits, values, batch, order, clip, gamma, lam, rate):
    """Detaching, repaired too well: the policy is detached, too, and learns nothing."""
    logits, values = (x.detach().clone().requires_grad_() for x in (logits, values))
    value, ahead = values[batch["state"]], values[batch["next_state"]]
    ends = batch["terminated"], batch["truncated"]
    gains = gae(batch["reward"], value, ahead, *ends, gamma, lam)
    gains, target = gains.detach().flatten(), (gains + value).detach().flatten()
    state, action, log_prob = (batch[name].flatten() for name in ("state", "action", "log_prob"))
    for rows in order:
        new_log_prob = torch.log_softmax(logits, dim=1)[state[rows], action[rows]].detach()
        old_log_prob = log_prob[rows]
        loss = policy_loss(new_log_prob, old_log_prob, gains[rows], clip)
        loss = loss + ((values[state[rows]] - target[rows]) ** 2).mean() / 2
        slopes = torch.autograd.grad(loss, (logits, values), allow_unused=True)
        with torch.no_grad():
            values -= rate * slopes[1]
    return logits.detach(), values.detach()


# %% tags=["mutant"] q="update" kills="test_clerk_two_passes test_clerk_ruler_stays test_clerk_keeps_the_job"
def update(logits, values, batch, order, clip, gamma, lam, rate):
    """Old policy: recomputed for every minibatch; the ratio is always one, and nothing is ever clipped."""
    logits, values = (x.detach().clone().requires_grad_() for x in (logits, values))
    value, ahead = values[batch["state"]], values[batch["next_state"]]
    ends = batch["terminated"], batch["truncated"]
    gains = gae(batch["reward"], value, ahead, *ends, gamma, lam)
    gains, target = gains.detach().flatten(), (gains + value).detach().flatten()
    state, action = (batch[name].flatten() for name in ("state", "action"))
    for rows in order:
        new_log_prob = torch.log_softmax(logits, dim=1)[state[rows], action[rows]]
        old_log_prob = new_log_prob.detach()
        loss = policy_loss(new_log_prob, old_log_prob, gains[rows], clip)
        loss = loss + ((values[state[rows]] - target[rows]) ** 2).mean() / 2
        slopes = torch.autograd.grad(loss, (logits, values))
        with torch.no_grad():
            logits -= rate * slopes[0]
            values -= rate * slopes[1]
    return logits.detach(), values.detach()


# %% tags=["mutant"] q="update" kills="test_clerk_critic_alone"
def update(logits, values, batch, order, clip, gamma, lam, rate):
    """Advantages are data, and this computes them anew for every minibatch."""
    logits, values = (x.detach().clone().requires_grad_() for x in (logits, values))
    value, ahead = values[batch["state"]], values[batch["next_state"]]
    ends = batch["terminated"], batch["truncated"]
    gains = gae(batch["reward"], value, ahead, *ends, gamma, lam)
    gains, target = gains.detach().flatten(), (gains + value).detach().flatten()
    state, action, log_prob = (batch[name].flatten() for name in ("state", "action", "log_prob"))
    for rows in order:
        now, later = values[batch["state"]], values[batch["next_state"]]
        gains = gae(batch["reward"], now, later, *ends, gamma, lam)
        target = (gains + now).detach().flatten()
        gains = gains.detach().flatten()
        new_log_prob = torch.log_softmax(logits, dim=1)[state[rows], action[rows]]
        old_log_prob = log_prob[rows]
        loss = policy_loss(new_log_prob, old_log_prob, gains[rows], clip)
        loss = loss + ((values[state[rows]] - target[rows]) ** 2).mean() / 2
        slopes = torch.autograd.grad(loss, (logits, values))
        with torch.no_grad():
            logits -= rate * slopes[0]
            values -= rate * slopes[1]
    return logits.detach(), values.detach()


# %% tags=["mutant"] q="update" kills="test_clerk_one_pass"
def update(logits, values, batch, order, clip, gamma, lam, rate):
    """What was passed in is changed in place."""
    logits, values = (x.detach().requires_grad_() for x in (logits, values))
    value, ahead = values[batch["state"]], values[batch["next_state"]]
    ends = batch["terminated"], batch["truncated"]
    gains = gae(batch["reward"], value, ahead, *ends, gamma, lam)
    gains, target = gains.detach().flatten(), (gains + value).detach().flatten()
    state, action, log_prob = (batch[name].flatten() for name in ("state", "action", "log_prob"))
    for rows in order:
        new_log_prob = torch.log_softmax(logits, dim=1)[state[rows], action[rows]]
        old_log_prob = log_prob[rows]
        loss = policy_loss(new_log_prob, old_log_prob, gains[rows], clip)
        loss = loss + ((values[state[rows]] - target[rows]) ** 2).mean() / 2
        slopes = torch.autograd.grad(loss, (logits, values))
        with torch.no_grad():
            logits -= rate * slopes[0]
            values -= rate * slopes[1]
    return logits.detach(), values.detach()


# %% [markdown]
# ## What it does
#
# The desk, the door, the bell. Three runs of 25 batches; after each batch the *model* says what the
# policy is worth from the desk, without the bell: the bell is not part of the world.
#
# *Guess before you look: the best is 1, walking out is worth 0.57, and a coin flipped at each step
# is worth 0.6. Where do the runs end?*
#
# Then three numbers that a good engineer plots before any learning curve. What the critic says of
# the desk, and what the model says of it, for one and the same policy. And how far one batch moves
# the policy: the largest ratio of a new probability to an old one, with a clip of 0.2.

# %% tags=["trial"] q="update"
if written(collect, gae, policy_loss, update):
    from IPython.display import display

    from rlcourse.algorithms.dynamic_programming import evaluate
    from rlcourse.mdp import TabularMDP
    from rlcourse.plotting import COLOURS, new_figure, show_figure

    DISCOUNT = 0.95
    # States: desk, corridor, outside. Actions: to the desk, to the door.
    moves = np.zeros((3, 2, 3))
    moves[:2, 0, 0] = moves[0, 1, 1] = moves[1, 1, 2] = moves[2, :, 2] = 1.0
    OFFICE = {
        "chances": moves,
        "pays": np.array([0.05, 0.0, 0.6]),
        "end": np.array([False, False, True]),
        "first": 0,
        "limit": 10,
    }
    model = TabularMDP(
        moves, np.where(OFFICE["end"][:, None], 0.0, moves @ OFFICE["pays"]), OFFICE["end"]
    )

    def clerk(seed, batches=25, rows=32, walkers=4, passes=8, size=64, clip=0.2, rate=1.0):
        """After each batch: worth of the desk by the model, by the critic, and the largest ratio."""
        rng, log = np.random.default_rng(seed), []
        logits = torch.zeros((3, 2), dtype=torch.float64)
        values = torch.zeros(3, dtype=torch.float64)
        state, age = np.zeros(walkers, int), np.zeros(walkers, int)
        for _ in range(batches):
            pi = torch.softmax(logits, dim=1).numpy()
            batch, state, age = collect(
                OFFICE, logits.numpy(), state, age, rng.random((rows, 2, walkers))
            )
            order = [rng.permutation(rows * walkers).reshape(-1, size) for _ in range(passes)]
            order = torch.tensor(np.concatenate(order))
            logits, values = update(logits, values, batch, order, clip, DISCOUNT, 0.9, rate)
            new = torch.softmax(logits, dim=1).numpy()
            ratio = (new / pi)[batch["state"].numpy(), batch["action"].numpy()].max()
            log.append((evaluate(model, new, DISCOUNT)[0], float(values[0]), ratio))
        return np.array(log)

    logs = np.array([clerk(seed) for seed in range(3)])
    fig, axes = new_figure(height=3.0)
    axes.plot(np.arange(1, 26), logs[:, :, 0].T, color=COLOURS[0], linewidth=1.2)
    for worth, name in ((1.0, "stay"), (0.57, "walk out")):
        axes.axhline(worth, linestyle="--", linewidth=1.2, color="gray")
        axes.annotate(name, (1, worth + 0.02), fontsize=9)
    axes.set(xlabel="batches", ylabel="worth of the desk, exact", ylim=(0.4, 1.1))
    ends = ", ".join(f"{x:.2f}" for x in logs[:, -1, 0])
    display(
        show_figure(fig, alt=f"Worth of the desk against batches, three runs; at the end {ends}.")
    )
    print(f"the desk is worth, by the model: {ends}")
    print("              and by the critic:", ", ".join(f"{x:.2f}" for x in logs[:, -1, 1]))
    print(
        "largest ratio after one batch, of all batches:",
        ", ".join(f"{x:.2f}" for x in logs[:, :, 2].max(axis=1)),
    )

# %% [markdown]
# ## The hunt
#
# Go back to the four parts and mend them *in place*. There are five bugs; the checks tell you which
# parts are ill, and not how many bugs are in one.
#
# - One change at a time: the check, then the figure. Write down what *each* repair did to the
#   figure, and to the three numbers. You will need it below.
# - Two bugs can hide each other. With one of them in place, the other never shows.
# - The checks compare with numbers that you can work out on paper. Do that for one of them.
# - Keep names and arguments: the hidden tests call the parts.
# - **Repair, do not rewrite.** The grader counts the lines that you changed. Fifteen are plenty.
#
# ## A diagnosis in five lines (4 points, marked by hand)
#
# Choose a bug whose repair moved the figure *little or not at all*, and write one line on each:
#
# 1. **Symptom**: what one can see, and where, with a number of your own run.
# 2. **Cause**: the line, and what it really does.
# 3. **Repair**: what you wrote instead, and the number after it.
# 4. **How the check finds it**: and why the figure does not.
# 5. **What else it could have been**: another bug with the same symptom, and how you ruled it out.
#
# *Your five lines.*
#
# 1. Symptom:
# 2. Cause:
# 3. Repair:
# 4. How the check finds it:
# 5. What else it could have been:
#
# ## The repair (2 points, marked by hand)
#
# All five found with at most fifteen changed lines; the grader counts.

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Time.** Running and guessing 5 minutes, reading 15, the hunt 50, the diagnosis 20.
#
# **The five.**
#
# 1. *Boundaries* (`collect`): `following` where `reached` belongs; the value behind the bell is
#    that of the next episode's first state. As long as bug 2 is in, nobody asks for it.
# 2. *Time limits* (`gae`): the bell is taken for an end. The desk then has no more than ten steps
#    to live, and the door looks better. The figure shows it, once bug 4 is gone.
# 3. *Clipping* (`policy_loss`): the minimum of two *losses*. The formula has the minimum of two
#    gains; with the sign turned it is the maximum. As long as bug 5 is in, the ratio is one and
#    nothing is clipped, rightly or wrongly.
# 4. *Detaching* (`update`): the advantages hang on the critic, so the policy's loss pulls at it.
#    `retain_graph=True` stands in the code because somebody silenced the error that said so. The
#    figure shows it, and the critic most of all: it says less than nothing of a desk that pays.
# 5. *Old policy* (`update`): recomputed for each minibatch. The ratio is always one. Only the
#    largest ratio shows it, and not in every run.
#
# With 2 and 4 mended the clerk stays, and three bugs are left.
#
# **What goes wrong.** *Time limits*: the mask of the sum is taken away as well. *Clipping*: the sign
# is turned and `min` stays: that is right, and so is `max` without. *Detaching*: the advantages
# are computed anew in the loop; then they are no data of this batch any more. Whoever detaches
# them in `policy_loss` has repaired it as well. Whoever computes the old log-probabilities once,
# before the loop, too.
#
# **A bug that is left in** shows in the feedback by its category: every hidden test's title begins
# with it. The tests of a part look at one bug each; only *Everything together* needs all five.
#
# **Power.** No test rests on luck: batches and minibatches are dealt, and what comes out is compared
# with sums, differences and closed forms.
