# ---
# lab: gae-ppo
# title: PPO, what to believe and how far to go
# minutes: 90
# extras: "deep"
# version: 1
# ---

# %% [markdown]
# # PPO, what to believe and how far to go
#
# A robot walked a plank of ten cells, picking up coins: ten in the first cell, nine in the second,
# one in the last.
# Falling cost one coin and ended the walk.
# After a night of training the robot walked part of the way, stopped, and jumped.
#
# Its reward was right.
# Its loss was right, copied from the paper.
# Its critic was right, to the last digit.
# What was wrong is one line that no curve shows, and you will write that line, properly, in the
# first task.
#
# PPO is two questions, asked of one batch.
# *What was each action worth?*
# That is generalised advantage estimation, and all its bugs live where one episode ends and the
# next begins.
# *How far may the policy go on the strength of it?*
# That is the clip, and all its bugs live in which side of it has a gradient.
#
# You will write both, from the batch as it leaves the environments to the new policy, and judge the
# result by the model: the returns in the last figures are computed, not played.
#
# You need the chapters on actor-critic methods and on PPO.
# Five tasks, about ninety minutes.

# %%
import numpy as np
import torch

# %% [markdown]
# ## Task 1: whose future is it?
#
# Environments run side by side and start afresh by themselves.
# So the row behind the last row of an episode belongs to *another* episode, and what the critic
# says there is no business of this one.
#
# A batch has `T` rows of `N` environments.
# What you are given:
#
# - `value`, `[T, N]`: what the critic says of the observation of each row;
# - `after`, `[N]`: what it says of the observation behind the last row, from which the next batch
#   will begin;
# - `ends`, `[T, N]` of bools: this row was the last of its episode, for whatever reason;
# - `final`, `[T, N]`: where a row ended an episode, what the critic says of the observation that it
#   *truly* led to.
#   Everywhere else it holds anything, `nan` included.
#
# Write `beyond(value, after, ends, final)`: `[T, N]`, what the critic says of the observation that
# each row truly led to.
# Everything is numpy.
#
# By hand, one environment, three rows: values 5, 6, 7, after them 8; the second row ended an
# episode, and its final observation was worth 1.
# The answer is 6, **1**, 8.


# %% tags=["task"] q="beyond"
def beyond(value, after, ends, final):
    """What the critic says of the observation that each row truly led to, ``[T, N]``."""
    # BEGIN SOLUTION
    following = np.concatenate([value[1:], after[None]])
    return np.where(ends, final, following)
    # END SOLUTION


# %% tags=["test"] q="beyond" points=1
def test_beyond_by_hand(beyond):
    """Values 5, 6, 7, then 8; the second row ends at 1: 6, 1, 8."""
    value, after = np.array([[5.0], [6.0], [7.0]]), np.array([8.0])
    ends, final = np.array([[False], [True], [False]]), np.array([[0.0], [1.0], [0.0]])
    look = "which row of `value` stands for the next observation, and where there is none"
    expect(beyond(value, after, ends, final), [[6.0], [1.0], [8.0]], look, what="three rows")


# %% tags=["test"] q="beyond" points=1 hidden=true
def test_beyond_follows_each_environment(beyond, rng):
    """Random batches with nan in `final` where nothing ended, row by row."""
    for _ in range(5):
        rows, envs = 7, 3
        value, after = rng.normal(size=(rows, envs)), rng.normal(size=envs)
        ends = rng.random((rows, envs)) < 0.4
        ends[-1] = [True, False, True]  # the last row can end an episode as well
        final = np.where(ends, rng.normal(size=(rows, envs)), np.nan)
        wanted = np.zeros((rows, envs))
        for t in range(rows):
            for i in range(envs):
                if ends[t, i]:
                    wanted[t, i] = final[t, i]
                else:
                    wanted[t, i] = after[i] if t == rows - 1 else value[t + 1, i]
        look = "the last row, which may end an episode too, and nan: what is nan times zero?"
        expect(beyond(value, after, ends, final), wanted, look, what="seven rows of three")


# %% tags=["mutant"] q="beyond" kills="test_beyond_by_hand test_beyond_follows_each_environment"
def beyond(value, after, ends, final):
    """The next row is the next state: an episode that ends is worth what the next one begins with."""
    return np.concatenate([value[1:], after[None]])


# %% tags=["mutant"] q="beyond" kills="test_beyond_by_hand test_beyond_follows_each_environment"
def beyond(value, after, ends, final):
    """The flag of the next row says whether this one ended: off by one."""
    following = np.concatenate([value[1:], after[None]])
    shifted = np.concatenate([ends[1:], np.zeros_like(ends[:1])])
    return np.where(shifted, np.nan_to_num(final), following)


# %% tags=["mutant"] q="beyond" kills="test_beyond_follows_each_environment"
def beyond(value, after, ends, final):
    """A mask is a multiplication: nan times zero is nan."""
    following = np.concatenate([value[1:], after[None]])
    return ends * final + (1.0 - ends) * following


# %% tags=["mutant"] q="beyond" kills="test_beyond_follows_each_environment"
def beyond(value, after, ends, final):
    """The batch ends with the last row, so what follows it is always `after`."""
    following = np.where(ends[:-1], final[:-1], value[1:])
    return np.concatenate([following, after[None]])


# %% [markdown]
# ## Task 2: what was each action worth?
#
# Generalised advantage estimation adds up TD errors,
#
# $$
# \delta_t = R_{t+1} + \gamma\,(1 - \text{terminated}_t)\,V(S_{t+1}) - V(S_t), \qquad
# \hat A_t = \sum_{k \ge 0} (\gamma\lambda)^k\, \delta_{t+k}
# $$
#
# and the sum stops where the episode stops.
# Two ways to stop, and they are not alike.
# An episode that *terminated* has no future: its last value counts nothing.
# One that was *truncated*, by a time limit, has a future that you did not see: its last value
# counts, and yet no error from behind the cut belongs to it.
# Both at once happens too, and then the end is true.
#
# Write `gae(reward, value, ahead, terminated, truncated, gamma, lam)`: all arrays are `[T, N]`,
# `ahead` is what Task 1 returns, the flags are bools; the result is `[T, N]`.
#
# By hand, one environment, $\gamma = \lambda = \tfrac12$: rewards 1, 0, 2; values 2, 4, 1; ahead 4,
# 1, 8.
# Errors 1, $-3.5$, 5; nothing ends; so the last advantage is 5, the one before
# $-3.5 + \tfrac14 \cdot 5 = -2.25$, the first $1 - \tfrac14 \cdot 2.25 = 0.4375$.


# %% tags=["task"] q="gae"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Generalised advantage estimates, ``[T, N]``."""
    # BEGIN SOLUTION
    delta = reward + gamma * ~terminated * ahead - value
    advantages, later = np.zeros_like(delta), np.zeros(delta.shape[1])
    for t in reversed(range(len(delta))):
        later = delta[t] + gamma * lam * ~(terminated[t] | truncated[t]) * later
        advantages[t] = later
    return advantages
    # END SOLUTION


# %% tags=["test"] q="gae" points=1
def test_gae_by_hand(gae):
    """Three rows: with no end, with a true end, with a time limit."""
    reward, value = np.array([[1.0], [0.0], [2.0]]), np.array([[2.0], [4.0], [1.0]])
    ahead, no = np.array([[4.0], [1.0], [8.0]]), np.zeros((3, 1), bool)
    third = np.array([[False], [False], [True]])

    def judge(wanted, look, *flags):
        got = gae(reward, value, ahead, *flags, 0.5, 0.5)
        expect(got, np.array(wanted)[:, None], look, what="three rows, gamma = lambda = 1/2")

    judge([0.4375, -2.25, 5.0], "the factor between two errors, and the direction of time", no, no)
    judge([0.1875, -3.25, 1.0], "a true end: no value behind it", third, no)
    judge([0.4375, -2.25, 5.0], "a time limit in the last row: its value counts", no, third)


# %% tags=["test"] q="gae" points=1 hidden=true
def test_gae_two_ways_to_stop(gae):
    """One step, reward 1, worth 0, ahead 10: a limit makes it 6, an end 1; behind it another episode."""
    reward, value = np.array([[1.0], [100.0]]), np.zeros((2, 1))
    ahead, yes = np.array([[10.0], [0.0]]), np.array([[True], [False]])
    for terminated, truncated, first in (
        (~yes & yes, yes, 6.0),
        (yes, ~yes & yes, 1.0),
        (yes, yes, 1.0),
    ):
        got = gae(reward, value, ahead, terminated, truncated, 0.5, 1.0)
        name = " and ".join(
            word
            for word, flag in (("terminated", terminated), ("truncated", truncated))
            if flag[0, 0]
        )
        look = "whether the value counts, and whether the next episode's hundred is heard"
        expect(got, [[first], [100.0]], look, what=f"a first row that is {name}")


# %% tags=["test"] q="gae" points=1 hidden=true
def test_gae_by_double_sum(gae, rng):
    """Random batches with random ends, against the definition as a sum for each row."""
    for _ in range(5):
        reward, value, ahead = rng.normal(size=(3, 9, 2))
        terminated, truncated = rng.random((2, 9, 2)) < 0.25
        gamma, lam = (float(x) for x in rng.uniform(0.3, 0.95, size=2))
        wanted = np.zeros((9, 2))
        for i in range(2):
            for t in range(9):
                for k in range(t, 9):
                    error = reward[k, i] - value[k, i]
                    if not terminated[k, i]:
                        error += gamma * ahead[k, i]
                    wanted[t, i] += (gamma * lam) ** (k - t) * error
                    if terminated[k, i] or truncated[k, i]:
                        break
        look = "which errors belong to a row, and what each of them counts"
        got = gae(reward, value, ahead, terminated, truncated, gamma, lam)
        expect(got, wanted, look, what=f"nine rows of two, gamma {gamma:.2f}, lambda {lam:.2f}")


# %% tags=["mutant"] q="gae" kills="test_gae_by_hand test_gae_two_ways_to_stop test_gae_by_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Done is done: a time limit takes the value away, as an end does."""
    done = terminated | truncated
    delta = reward + gamma * ~done * ahead - value
    advantages, later = np.zeros_like(delta), np.zeros(delta.shape[1])
    for t in reversed(range(len(delta))):
        advantages[t] = later = delta[t] + gamma * lam * ~done[t] * later
    return advantages


# %% tags=["mutant"] q="gae" kills="test_gae_two_ways_to_stop test_gae_by_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """A time limit is no end, so the sum goes on through it, into the next episode."""
    delta = reward + gamma * ~terminated * ahead - value
    advantages, later = np.zeros_like(delta), np.zeros(delta.shape[1])
    for t in reversed(range(len(delta))):
        advantages[t] = later = delta[t] + gamma * lam * ~terminated[t] * later
    return advantages


# %% tags=["mutant"] q="gae" kills="test_gae_two_ways_to_stop test_gae_by_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """The value is masked and that is enough: errors of the next episode flow into this one."""
    delta = reward + gamma * ~terminated * ahead - value
    advantages, later = np.zeros_like(delta), np.zeros(delta.shape[1])
    for t in reversed(range(len(delta))):
        advantages[t] = later = delta[t] + gamma * lam * later
    return advantages


# %% tags=["mutant"] q="gae" kills="test_gae_two_ways_to_stop test_gae_by_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Whoever falls in the very step in which the time is up has only run out of time."""
    gone = terminated & ~truncated
    delta = reward + gamma * ~gone * ahead - value
    advantages, later = np.zeros_like(delta), np.zeros(delta.shape[1])
    for t in reversed(range(len(delta))):
        advantages[t] = later = delta[t] + gamma * lam * ~(terminated[t] | truncated[t]) * later
    return advantages


# %% tags=["mutant"] q="gae" kills="test_gae_by_hand test_gae_by_double_sum"
def gae(reward, value, ahead, terminated, truncated, gamma, lam):
    """Between two errors stands lambda alone: the discount is in the errors already."""
    delta = reward + gamma * ~terminated * ahead - value
    advantages, later = np.zeros_like(delta), np.zeros(delta.shape[1])
    for t in reversed(range(len(delta))):
        advantages[t] = later = delta[t] + lam * ~(terminated[t] | truncated[t]) * later
    return advantages


# %% [markdown]
# Back to the plank: ten coins, nine, eight, down to one.
# The agent walks on in nine of ten cells and falls in one; the critic is exact for it.
# The colleague's advantages take the next row's value as it comes: no mask, no `final`.
#
# **Predict**: in which cells does falling look *better than walking on* to the colleague?
# What does the row behind a fall say, and to whom does it belong?

# %% tags=["trial"] q="gae"
if written(beyond, gae):
    from IPython.display import display

    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    CELLS, DISCOUNT, WALKS = 10, 0.95, 0.9
    worth = np.zeros(
        CELLS + 1
    )  # of every cell under this policy; behind the plank there is nothing
    for cell in reversed(range(CELLS)):
        worth[cell] = WALKS * (CELLS - cell + DISCOUNT * worth[cell + 1]) - (1 - WALKS)

    def preference(seed, colleague, rows=4000):
        """Mean advantage of falling less that of walking on, cell by cell."""
        rng, cell = np.random.default_rng(seed), 0
        cells, falls, rewards, ended = [], [], [], []
        for _ in range(rows):
            fell = rng.random() > WALKS
            cells.append(cell)
            falls.append(fell)
            rewards.append(-1.0 if fell else float(CELLS - cell))
            ended.append(fell or cell == CELLS - 1)
            cell = 0 if ended[-1] else cell + 1
        at, fall = np.array(cells), np.array(falls)
        reward, value = np.array(rewards)[:, None], worth[at][:, None]
        ends, never = np.array(ended)[:, None], np.zeros((rows, 1), bool)
        after = worth[[cell]]
        final = np.where(
            ends, np.where(fall, 0.0, worth[np.minimum(at + 1, CELLS)])[:, None], np.nan
        )
        if colleague:
            ahead = beyond(value, after, never, final)
            gains = gae(reward, value, ahead, never, never, DISCOUNT, 0.9)
        else:
            ahead = beyond(value, after, ends, final)
            gains = gae(reward, value, ahead, ends, never, DISCOUNT, 0.9)
        means = [
            [gains[(at == c) & (fall == f)].mean() for f in (True, False)] for c in range(CELLS)
        ]
        return np.subtract(*np.array(means).T)

    fig, axes = new_figure(height=3.2)
    said = []
    for colour, (name, wrong) in zip(COLOURS, (("yours", False), ("the colleague's", True))):
        prefers = np.array([preference(seed, wrong) for seed in range(10)])
        learning_curves(axes, np.arange(CELLS), prefers, label=name, colour=colour)
        likes = np.flatnonzero((prefers > 0).mean(axis=0) > 0.5)
        said.append(f"{name}: falling looks better in cells {likes.tolist()}")
        print(said[-1])
    axes.axhline(0, linewidth=0.8, color="gray")
    axes.set(xlabel="cell of the plank", ylabel="falling less walking on")
    axes.legend(fontsize=9)
    display(show_figure(fig, alt=f"How much better falling looks, by cell. {'; '.join(said)}."))

# %% [markdown]
# The row behind a fall is cell 0, where a whole plank of coins is ahead.
# It belongs to the next life.
# Far along the plank, dying and being born again looks like a bargain, and the critic never said
# so:
# it was asked about somebody else.
# With your two lines it never does.
#
# ## Task 3: how far may it go?
#
# Now the loss, in torch, with one twist: the two sides of the clip need not be equally wide.
# With $\rho = \pi(A \mid S) / \pi_{\text{old}}(A \mid S)$,
#
# $$
# L = -\frac1B \sum_i \min\bigl(\rho_i \hat A_i,\; \operatorname{clip}(\rho_i,\, 1 - \text{low},\, 1
# + \text{high})\, \hat A_i\bigr)
# $$
#
# Write `policy_loss(log_prob, old_log_prob, advantages, low, high)`: three tensors `[B]` and two
# floats; the result is **one number**, a tensor without axes.
# Only `log_prob` may be moved by it.
# Whoever hands you advantages that still hang on the critic must not get a gradient through them.
#
# By hand, low 0.2, high 0.3: ratios 1.5, 0.5, 1.5, 0.5 with advantages 2, 2, $-1$, $-1$.
# The minima are 2.6, 1, $-1.5$, $-0.8$, and the loss is $-0.325$.
# **Before you code**: which two of the four have no gradient?


# %% tags=["task"] q="policy"
def policy_loss(log_prob, old_log_prob, advantages, low, high):
    """PPO's loss of a batch, a number; the ratio is held to ``[1 - low, 1 + high]``."""
    # BEGIN SOLUTION
    gains = advantages.detach()
    ratio = (log_prob - old_log_prob.detach()).exp()
    return -torch.min(ratio * gains, ratio.clamp(1 - low, 1 + high) * gains).mean()
    # END SOLUTION


# %% tags=["test"] q="policy" points=1
def test_policy_values(policy_loss):
    """Ratio 1: minus the mean advantage. The four corners: -0.325."""
    import torch

    old = torch.full((4,), 0.5, dtype=torch.float64).log()
    gains = torch.tensor([2.0, 2.0, -1.0, -1.0], dtype=torch.float64)
    got = policy_loss(old, old, gains, 0.2, 0.3)
    expect(got, -0.5, "the sign, and the mean over the batch", what="a policy that has not moved")
    moved = old + torch.tensor([1.5, 0.5, 1.5, 0.5], dtype=torch.float64).log()
    look = "the ratio, which side is cut at which width, and the smaller of the two products"
    expect(policy_loss(moved, old, gains, 0.2, 0.3), -0.325, look, what="the four corners")


# %% tags=["test"] q="policy" points=1
def test_policy_slope(policy_loss):
    """The four corners' gradients: two are exactly zero, two bring the policy back."""
    import torch

    old = torch.full((4,), 0.5, dtype=torch.float64).log()
    gains = torch.tensor([2.0, 2.0, -1.0, -1.0], dtype=torch.float64)
    moved = old + torch.tensor([1.5, 0.5, 1.5, 0.5], dtype=torch.float64).log()
    _, (slope,) = gradient(policy_loss, moved, old, gains, 0.2, 0.3, wrt=(0,))
    look = "where the smaller product still depends on the ratio"
    expect(slope, [0.0, -0.25, 0.375, 0.0], look, what="the gradient at the four corners")


# %% tags=["test"] q="policy" points=1 hidden=true
def test_policy_many(policy_loss, rng):
    """Random batches and widths, case by case."""
    import torch

    for low, high in ((0.2, 0.2), (0.1, 0.5), (0.4, 0.1), (1.0, 1e6)):
        ratio, gains = rng.uniform(0.3, 2.0, size=40), rng.normal(size=40)
        old = rng.uniform(-3.0, -0.1, size=40)
        worth = []
        for r, g in zip(ratio, gains, strict=True):
            cut = r
            if g > 0 and r > 1 + high:
                cut = 1 + high  # a gain is paid no further
            if g < 0 and r < 1 - low:
                cut = 1 - low
            worth.append(cut * g)
        arguments = (torch.tensor(x) for x in (old + np.log(ratio), old, gains))
        got = policy_loss(*arguments, low, high)
        look = "which width belongs to which side"
        expect(got, -np.mean(worth), look, what=f"40 samples, low {low:g}, high {high:g}")


# %% tags=["test"] q="policy" points=1 hidden=true
def test_policy_alone(policy_loss, rng):
    """Gradients of random batches, and none through old probabilities and advantages."""
    import torch

    ratio, gains = rng.uniform(0.3, 2.0, size=30), rng.normal(size=30)
    ratio[:4], gains[:4] = [1.25, 0.75, 1.35, 0.85], [1.0, -1.0, 1.0, -1.0]  # one in each corner
    old = rng.uniform(-3.0, -0.1, size=30)
    stopped = np.where(gains > 0, ratio > 1.3, ratio < 0.8)
    arguments = [torch.tensor(x) for x in (old + np.log(ratio), old, gains)]
    _, slopes = gradient(policy_loss, *arguments, 0.2, 0.3, wrt=(0, 1, 2))
    look = "the samples beyond the clip, and those on the wrong side of it"
    expect(slopes[0], np.where(stopped, 0.0, -ratio * gains) / 30, look, what="the gradient of 30")
    for name, slope in zip(("old log-probabilities", "advantages"), slopes[1:], strict=True):
        look = "what is data here: detach() it"
        expect(slope, np.zeros(30), look, what=f"the gradient through the {name}")


# %% tags=["mutant"] q="policy" kills="test_policy_values test_policy_slope test_policy_many test_policy_alone"
def policy_loss(log_prob, old_log_prob, advantages, low, high):
    """The clip alone: whoever has moved the wrong way is not brought back."""
    ratio = (log_prob - old_log_prob.detach()).exp()
    return -(ratio.clamp(1 - low, 1 + high) * advantages.detach()).mean()


# %% tags=["mutant"] q="policy" kills="test_policy_values test_policy_slope test_policy_many test_policy_alone"
def policy_loss(log_prob, old_log_prob, advantages, low, high):
    """The larger of the two products: a loss takes the worst case, so it must be the maximum."""
    gains, ratio = advantages.detach(), (log_prob - old_log_prob.detach()).exp()
    return -torch.max(ratio * gains, ratio.clamp(1 - low, 1 + high) * gains).mean()


# %% tags=["mutant"] q="policy" kills="test_policy_values test_policy_many test_policy_alone"
def policy_loss(log_prob, old_log_prob, advantages, low, high):
    """The widths are swapped."""
    gains, ratio = advantages.detach(), (log_prob - old_log_prob.detach()).exp()
    return -torch.min(ratio * gains, ratio.clamp(1 - high, 1 + low) * gains).mean()


# %% tags=["mutant"] q="policy" kills="test_policy_values test_policy_slope test_policy_many test_policy_alone"
def policy_loss(log_prob, old_log_prob, advantages, low, high):
    """An objective is an objective: it is handed to the optimiser as it is, and goes down."""
    gains, ratio = advantages.detach(), (log_prob - old_log_prob.detach()).exp()
    return torch.min(ratio * gains, ratio.clamp(1 - low, 1 + high) * gains).mean()


# %% tags=["mutant"] q="policy" kills="test_policy_alone"
def policy_loss(log_prob, old_log_prob, advantages, low, high):
    """Advantages that hang on the critic pull at the critic, and nobody asked them to."""
    ratio = (log_prob - old_log_prob.detach()).exp()
    return -torch.min(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages).mean()


# %% tags=["mutant"] q="policy" kills="test_policy_values test_policy_slope test_policy_many test_policy_alone"
def policy_loss(log_prob, old_log_prob, advantages, low, high):
    """The ratio of two log-probabilities is the ratio."""
    gains, ratio = advantages.detach(), log_prob / old_log_prob.detach()
    return -torch.min(ratio * gains, ratio.clamp(1 - low, 1 + high) * gains).mean()


# %% tags=["mutant"] q="policy" kills="test_policy_values test_policy_slope test_policy_many test_policy_alone"
def policy_loss(log_prob, old_log_prob, advantages, low, high):
    """A sum over the batch is as good as a mean: the step grows with the batch."""
    gains, ratio = advantages.detach(), (log_prob - old_log_prob.detach()).exp()
    return -torch.min(ratio * gains, ratio.clamp(1 - low, 1 + high) * gains).sum()


# %% [markdown]
# Your loss can train a real agent.
# `ppo.train(config, seed, loss=...)` is the package's whole agent with one part missing: this one.
# Five carts with your clip and five without one, at three times the usual step size.
# (Half a minute or less.)
# **Predict** which of the two falls further below its own best.

# %% tags=["trial"] q="policy"
if written(policy_loss):
    from IPython.display import display

    from rlcourse.algorithms import ppo
    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    def carts(high, seeds=5, steps=5120, every=512):
        """Mean return of the episodes that ended in each stretch of 512 steps, ``[seeds, points]``."""

        def loss(log_prob, old_log_prob, advantages, clip):
            return policy_loss(log_prob, old_log_prob, advantages, min(high, 1.0), high)

        settings = ppo.Config(steps=steps, epochs=10, learning_rate=3e-3, learning_rate_end=3e-3)
        curves = []
        for seed in range(seeds):
            log = ppo.train(settings, seed, loss=loss).log
            ended = np.array([row["step"] for row in log])
            stood = np.array([row["return"] for row in log])
            stretches = [(ended > k) & (ended <= k + every) for k in range(0, steps, every)]
            curves.append([stood[here].mean() if here.any() else np.nan for here in stretches])
        return np.arange(every, steps + 1, every), np.array(curves)

    fig, axes = new_figure(height=3.2)
    said = []
    for colour, (name, high) in zip(COLOURS, (("clip 0.2", 0.2), ("no clip", 1e6))):
        x, curves = carts(high)
        curves = np.array([np.where(np.isnan(c), np.nanmean(c), c) for c in curves])
        learning_curves(axes, x, curves, label=name, colour=colour)
        last = curves[:, -1]
        said.append(f"{name} {last.mean():.0f}, from {last.min():.0f} to {last.max():.0f}")
        print(f"last stretch, {said[-1]}")
    axes.set(xlabel="steps of the carts", ylabel="return")
    axes.legend(fontsize=9, loc="upper left")
    display(
        show_figure(
            fig, alt=f"CartPole by your loss, five runs each. At the end: {'; '.join(said)}."
        )
    )

# %% [markdown]
# ## Task 4: the other clip
#
# Much code clips the critic as well, in the same spirit: it may not leave its old values by more
# than `clip`.
# With
# $\tilde V = V_{\text{old}} + \operatorname{clip}(V - V_{\text{old}}, -\text{clip}, \text{clip})$
# the loss of a sample is $\tfrac12 \max\bigl((V - G)^2, (\tilde V - G)^2\bigr)$, and that of a
# batch is the mean.
#
# Write `value_loss(values, old_values, returns, clip)`: three tensors `[B]` and a float; one
# number.
# Only `values` may be moved by it.
#
# By hand, clip 0.5: value 3, old 1, return 2: the clipped value is 1.5; the squared errors are 1
# and 0.25, the loss $\tfrac12$.
# And value 2, old 0, return 2.5: the clipped value is 0.5; the squared errors are 0.25 and 4, the
# loss 2.
# **Which way does the gradient of the second one point, and how long is it?**


# %% tags=["task"] q="value"
def value_loss(values, old_values, returns, clip):
    """Half the larger squared error, of the value or of one that moved no further than clip; a number."""
    # BEGIN SOLUTION
    old, wanted = old_values.detach(), returns.detach()
    near = old + (values - old).clamp(-clip, clip)
    return torch.max((values - wanted) ** 2, (near - wanted) ** 2).mean() / 2
    # END SOLUTION


# %% tags=["test"] q="value" points=1
def test_value_by_hand(value_loss):
    """Two samples: 1/2 and 2, so 1.25 on average."""
    import torch

    three = [torch.tensor(x, dtype=torch.float64) for x in ([3.0, 2.0], [1.0, 0.0], [2.0, 2.5])]
    look = "what is clipped (the way from the old value), and the larger error of each sample"
    expect(value_loss(*three, 0.5), 1.25, look, what="two samples, clip 0.5")
    inside = [torch.tensor(x, dtype=torch.float64) for x in ([1.2], [1.0], [4.2])]
    expect(value_loss(*inside, 0.5), 4.5, "the factor one half", what="a value that moved by 0.2")


# %% tags=["test"] q="value" points=1 hidden=true
def test_value_slopes(value_loss, rng):
    """Random batches: the loss, its gradient case by case, and none through data."""
    import torch

    old, returns = rng.normal(size=(2, 40)) * 2
    values, clip = old + rng.normal(size=40), 0.4
    near = np.clip(values, old - clip, old + clip)
    errors = np.stack([values - returns, near - returns])
    stopped = (abs(values - old) > clip) & (abs(errors[1]) > abs(errors[0]))
    arguments = [torch.tensor(x) for x in (values, old, returns)]
    got, slopes = gradient(value_loss, *arguments, clip, wrt=(0, 1, 2))
    look = "the larger of the two squares, sample by sample"
    expect(got, (errors**2).max(axis=0).mean() / 2, look, what="the loss of 40 samples")
    wanted = np.where(stopped, 0.0, errors[0]) / 40
    look = "where the larger square no longer depends on the value"
    expect(slopes[0], wanted, look, what="its gradient by the values")
    for name, slope in zip(("old values", "returns"), slopes[1:], strict=True):
        look = "what is data here: detach() it"
        expect(slope, np.zeros(40), look, what=f"the gradient through the {name}")


# %% tags=["mutant"] q="value" kills="test_value_by_hand test_value_slopes"
def value_loss(values, old_values, returns, clip):
    """The smaller error, in the spirit of the policy's minimum."""
    old, wanted = old_values.detach(), returns.detach()
    near = old + (values - old).clamp(-clip, clip)
    return torch.min((values - wanted) ** 2, (near - wanted) ** 2).mean() / 2


# %% tags=["mutant"] q="value" kills="test_value_by_hand test_value_slopes"
def value_loss(values, old_values, returns, clip):
    """The error is clipped, not the way from the old value."""
    error = values - returns.detach()
    return torch.max(error**2, error.clamp(-clip, clip) ** 2).mean() / 2


# %% tags=["mutant"] q="value" kills="test_value_slopes"
def value_loss(values, old_values, returns, clip):
    """Targets and old values are tensors like any other: the gradient flows through them too."""
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.max((values - returns) ** 2, (near - returns) ** 2).mean() / 2


# %% tags=["mutant"] q="value" kills="test_value_by_hand test_value_slopes"
def value_loss(values, old_values, returns, clip):
    """The maximum is taken over the batch, once: of the two mean errors the larger."""
    old, wanted = old_values.detach(), returns.detach()
    near = old + (values - old).clamp(-clip, clip)
    return torch.max(((values - wanted) ** 2).mean(), ((near - wanted) ** 2).mean()) / 2


# %% [markdown]
# The gradient of the second sample is zero.
# Its value was on the way to the return, quickly, and for that it was stopped; a value that runs
# *away* from its return is never stopped.
# The chapter on PPO asks whether this clip has ever helped anybody.
#
# ## Task 5: one batch, many passes
#
# Put the policy's half together, on a table.
# `logits` is a tensor `[S, A]`, the numbers behind the softmax of each state.
# Write `improve(logits, states, actions, advantages, low, high, epochs, rate)`: take `epochs` steps
# of plain gradient descent on `policy_loss`, each over the whole batch with the step size `rate`,
# and return the new logits, `[S, A]`.
# `states` and `actions` are tensors `[B]` of whole numbers, `advantages` is `[B]`.
#
# Two things that go wrong here.
# The old log-probabilities are those of the policy *that collected the batch*, in every epoch.
# And the logits you were given belong to somebody else: leave them as they are.
#
# By hand, one state, two even actions, one sample: action 1, advantage 1, `rate` 1, one epoch.
# At ratio one the gradient of the loss is minus the score, $(\tfrac12, -\tfrac12)$: the new logits
# are $(-\tfrac12, \tfrac12)$.


# %% tags=["task"] q="improve"
def improve(logits, states, actions, advantages, low, high, epochs, rate):
    """The logits ``[S, A]`` after some epochs of gradient descent on one batch."""
    # BEGIN SOLUTION
    old_log_prob = torch.log_softmax(logits, dim=1)[states, actions].detach()
    new = logits.detach().clone().requires_grad_()
    for _ in range(epochs):
        log_prob = torch.log_softmax(new, dim=1)[states, actions]
        loss = policy_loss(log_prob, old_log_prob, advantages, low, high)
        (slope,) = torch.autograd.grad(loss, new)
        with torch.no_grad():
            new -= rate * slope
    return new.detach()
    # END SOLUTION


# %% tags=["test"] q="improve" points=1
def test_improve_one_epoch(improve):
    """One sample, one epoch: (-1/2, 1/2), and the given logits stay as they were."""
    import torch

    zeros = torch.zeros((1, 2), dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    which = torch.tensor([0]), torch.tensor([1])
    got, left = after(improve, zeros, *which, one, 0.2, 0.2, 1, 1.0)
    look = "the direction of the step, and its length"
    expect(got, [[-0.5, 0.5]], look, what="one sample, one epoch")
    look = "whether you changed the tensor that you were given; clone() it"
    expect(left[0], [[0.0, 0.0]], look, what="the logits that were given, after the call")


# %% tags=["test"] q="improve" points=1 hidden=true
def test_improve_many_epochs(improve, rng):
    """Random batches, against a gradient worked out by hand."""
    import torch

    for low, high, epochs in ((0.2, 0.2, 10), (0.1, 0.4, 25), (1.0, 1e6, 10)):
        logits, size = rng.normal(size=(3, 4)), 24
        states, actions = rng.integers(3, size=size), rng.integers(4, size=size)
        gains, rate, new = rng.normal(size=size), 2.0, logits.copy()

        def chances(theta):
            weight = np.exp(theta - theta.max(axis=1, keepdims=True))
            return weight / weight.sum(axis=1, keepdims=True)

        old = chances(logits)[states, actions]
        for _ in range(epochs):
            pi = chances(new)
            ratio = pi[states, actions] / old
            going = np.where(gains > 0, ratio < 1 + high, ratio > 1 - low)
            uphill = np.zeros((3, 4))
            push = going * ratio * gains / size
            np.add.at(uphill, states, -push[:, None] * pi[states])
            np.add.at(uphill, (states, actions), push)
            new = new + rate * uphill
        batch = (torch.tensor(x) for x in (logits, states, actions, gains))
        look = "which policy the ratio compares with, in the second epoch and after"
        what = f"{epochs} epochs over 24 samples, low {low:g}, high {high:g}"
        expect(improve(*batch, low, high, epochs, rate), new, look, 1e-6, what)


# %% tags=["test"] q="improve" points=1 hidden=true
def test_improve_stays_near(improve):
    """A hundred epochs on one good sample: it is paid up to 1 + high, and then nothing moves."""
    import torch

    zeros, one = torch.zeros((1, 2), dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    which = torch.tensor([0]), torch.tensor([1])
    for high in (0.2, 0.5):
        ends = []
        for epochs in (100, 200):
            got = np.asarray(improve(zeros, *which, one, 0.2, high, epochs, 0.05), dtype=float)
            if got.shape != (1, 2):
                fail(f"expected logits of shape (1, 2), got {got.shape}; look at your return")
            ends.append(1 / (1 + np.exp(got[0, 0] - got[0, 1])) / 0.5)
        if not (1 + high < ends[0] < 1 + high + 0.02 and ends[0] == ends[1]):
            fail(
                f"one good sample, high {high}: the ratio after 100 epochs is {ends[0]:.3f}, after 200 "
                f"{ends[1]:.3f}; expected one step past {1 + high} and then a standstill; look at which "
                "policy the ratio compares with"
            )


# %% tags=["mutant"] q="improve" kills="test_improve_many_epochs test_improve_stays_near"
def improve(logits, states, actions, advantages, low, high, epochs, rate):
    """The old policy is the one before this epoch: the ruler moves along, and nothing is ever clipped."""
    new = logits.detach().clone().requires_grad_()
    for _ in range(epochs):
        log_prob = torch.log_softmax(new, dim=1)[states, actions]
        loss = policy_loss(log_prob, log_prob.detach(), advantages, low, high)
        (slope,) = torch.autograd.grad(loss, new)
        new = (new - rate * slope).detach().requires_grad_()
    return new.detach()


# %% tags=["mutant"] q="improve" kills="test_improve_one_epoch"
def improve(logits, states, actions, advantages, low, high, epochs, rate):
    """``detach()`` is not ``clone()``: the caller's logits are changed in place."""
    old_log_prob = torch.log_softmax(logits, dim=1)[states, actions].detach().clone()
    new = logits.detach().requires_grad_()
    for _ in range(epochs):
        log_prob = torch.log_softmax(new, dim=1)[states, actions]
        loss = policy_loss(log_prob, old_log_prob, advantages, low, high)
        (slope,) = torch.autograd.grad(loss, new)
        with torch.no_grad():
            new -= rate * slope
    return new.detach()


# %% tags=["mutant"] q="improve" kills="test_improve_one_epoch test_improve_many_epochs test_improve_stays_near"
def improve(logits, states, actions, advantages, low, high, epochs, rate):
    """Up the loss: the gradient is added."""
    old_log_prob = torch.log_softmax(logits, dim=1)[states, actions].detach()
    new = logits.detach().clone().requires_grad_()
    for _ in range(epochs):
        log_prob = torch.log_softmax(new, dim=1)[states, actions]
        loss = policy_loss(log_prob, old_log_prob, advantages, low, high)
        (slope,) = torch.autograd.grad(loss, new)
        new = (new + rate * slope).detach().requires_grad_()
    return new.detach()


# %% tags=["mutant"] q="improve" kills="test_improve_many_epochs test_improve_stays_near"
def improve(logits, states, actions, advantages, low, high, epochs, rate):
    """Gradients pile up: nobody sets them to zero between two epochs."""
    old_log_prob = torch.log_softmax(logits, dim=1)[states, actions].detach()
    new = logits.detach().clone().requires_grad_()
    for _ in range(epochs):
        log_prob = torch.log_softmax(new, dim=1)[states, actions]
        policy_loss(log_prob, old_log_prob, advantages, low, high).backward()
        with torch.no_grad():
            new -= rate * new.grad
    return new.detach()


# %% [markdown]
# ## All of it, over a ledge
#
# A ledge above a row of holes, a little slippery, with a time limit of 25 steps.
# Four walkers, fifty steps each a batch; the critic is exact for the policy that collected the
# batch, so that whatever goes wrong is not the critic's fault.
# Advantages by your `beyond` and `gae`, the step by your `improve`: twenty epochs a batch, a large
# step size.
# After each batch the policy is judged by the model, time limit included.
#
# **Predict** the order at the end: one epoch a batch; twenty with a clip of 0.2; twenty without a
# clip.
# And in which of them do the eight runs differ most?

# %% tags=["trial"] q="improve"
if written(beyond, gae, policy_loss, improve):
    from IPython.display import display
    from scipy.special import softmax

    from rlcourse.algorithms.dynamic_programming import evaluate
    from rlcourse.evaluation import exact_return
    from rlcourse.mdp import grid
    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    LEDGE, LIMIT, PAYS = ["......", "......", "SHHHHG"], 25, {"G": 1.0, "H": -1.0}
    ledge = grid(LEDGE, slip=0.1, goal=PAYS["G"], hole=PAYS["H"], step=-0.02)
    arrival = np.array([PAYS.get(mark, 0.0) for mark in "".join(LEDGE)]) - 0.02

    def collect(pi, worth, rng, rows=50, envs=4):
        """A batch as it leaves the environments, every array ``[T, N]``."""
        first = ledge.start.argmax()
        state, age, rows_of = np.full(envs, first), np.zeros(envs, int), []
        for _ in range(rows):
            action = (rng.random((envs, 1)) > pi[state].cumsum(axis=1)[:, :-1]).sum(axis=1)
            chance = ledge.transition[state, action].cumsum(axis=1)
            following = (rng.random((envs, 1)) > chance[:, :-1]).sum(axis=1)
            age = age + 1
            terminated, truncated = ledge.terminal[following], age == LIMIT
            ends = terminated | truncated
            final = np.where(ends, worth[following], np.nan)
            rows_of.append(
                (state, action, arrival[following], worth[state], terminated, truncated, final)
            )
            state, age = np.where(ends, first, following), np.where(ends, 0, age)
        return [np.array(column) for column in zip(*rows_of)], worth[state]

    def walk(seed, low, high, epochs, batches=20, gamma=0.97, lam=0.9, rate=20.0):
        """The exact return after each batch."""
        rng, logits, curve = np.random.default_rng(seed), np.zeros((ledge.num_states, 4)), []
        for batch in range(batches + 1):
            pi = softmax(logits, axis=1)
            curve.append(exact_return(ledge, pi, horizon=LIMIT))
            if batch == batches:
                return curve
            worth = evaluate(ledge, pi, gamma)
            (state, action, reward, value, terminated, truncated, final), after = collect(
                pi, worth, rng
            )
            ahead = beyond(value, after, terminated | truncated, final)
            gains = gae(reward, value, ahead, terminated, truncated, gamma, lam)
            gains = (gains - gains.mean()) / gains.std()
            tensors = (
                torch.tensor(x) for x in (logits, state.ravel(), action.ravel(), gains.ravel())
            )
            logits = np.asarray(improve(*tensors, low, high, epochs, rate))

    best = np.zeros(ledge.num_states)
    for _ in range(LIMIT):
        best = ~ledge.terminal * (ledge.reward + ledge.transition @ best).max(axis=1)
    fig, axes = new_figure(height=3.6)
    said = []
    for colour, (name, *settings) in zip(
        COLOURS,
        (
            ("1 epoch, clip 0.2", 0.2, 0.2, 1),
            ("20 epochs, clip 0.2", 0.2, 0.2, 20),
            ("20 epochs, no clip", 1.0, 1e6, 20),
        ),
    ):
        curves = np.array([walk(seed, *settings) for seed in range(8)])
        last = curves[:, -1]
        learning_curves(axes, np.arange(21), curves, label=name, colour=colour)
        said.append(
            f"{name}: after 5 batches {curves[:, 5].mean():.2f}, at the end {last.mean():.2f}, "
            f"from {last.min():.2f} to {last.max():.2f}"
        )
        print(said[-1])
    axes.axhline(ledge.start @ best, linestyle="--", linewidth=1.2, color="gray")
    print(f"the best that can be done in {LIMIT} steps: {ledge.start @ best:.2f}")
    axes.set(xlabel="batches", ylabel="return, exact", ylim=(-1.4, 1.0), xticks=range(0, 21, 5))
    axes.legend(fontsize=9, loc="lower right")
    display(show_figure(fig, alt=f"Exact return on the ledge against batches. {'; '.join(said)}."))

# %% [markdown]
# ## In your own words (4 points, marked by hand)
#
# Twenty epochs without a clip: what happened to the worst of the eight runs, and why did the batches
# that it collected afterwards not help it?
# Then: one epoch a batch arrives too. What do twenty epochs buy, and what does the clip have to do
# with it?
# At most ten sentences, with at least two numbers from *your own run* and what each of them shows.
#
# *Your answer:*
#
# ## Your figure (2 points, marked by hand)
#
# A wider upper side lets rare good actions grow ("clip higher").
# With `low` at 0.2, try at least five values of `high` between 0.05 and 2, twenty epochs, at least
# five seeds each.
# One figure: the final exact return against `high`, with the spread over the seeds.

# %%
# Your figure: code here.

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Time.** Task 1: 10 minutes. Task 2 and the plank: 20. Task 3: 15, and the carts half a minute on
# a laptop.
# Task 4: 10. Task 5: 15. Text and figure: 20.
#
# **What goes wrong.** Task 1: multiplication as a mask, and `nan` times zero.
# Task 2: `done = terminated | truncated` once at the top, used for both masks; the public test has
# a time limit in the last row for it.
# Task 3: the two without a gradient are the good action that has grown and the bad one that has
# shrunk; many name "all that are outside".
# Task 5: `detach()` without `clone()` shares memory with the caller; and `backward()` without
# zeroing the gradient.
#
# **The plank** is the bug of several public repositories: an episode's end is paid the value of the
# next start.
# The critic is exact, and the advantages are wrong: in the colleague's numbers the robot lives for
# ever and may choose when to be born again.
# Passing the last cell gives the same bonus; that is why falling looks worse there than one cell
# before.
#
# **A wrong `policy_loss` costs `improve` as well**, since the one calls the other. The tests of
# Task 5 say what differs; give back what the second task would have earned if only the first is at
# fault.
