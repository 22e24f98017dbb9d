# ---
# lab: dqn-parts
# title: DQN, part by part
# minutes: 90
# extras: "deep"
# version: 1
# ---

# %% [markdown]
# # DQN, part by part
#
# A memory told a story that never happened.
# It began this morning, with the newest transition; it went on with a transition from a hundred
# thousand steps ago, in another episode, under another policy; and it ended with a reward that
# nobody had earned.
# The network believed it, as it believes everything.
# No line was red, the loss went down, and the agent was a little worse than it should have been,
# for ever.
#
# That is what the bugs of DQN are like.
# The algorithm has few parts, each is a handful of lines, and almost every way to get one wrong
# *learns something*.
# So in this lab no curve judges you.
# You write the parts, one by one, and each is compared with a calculation that comes by another
# road.
# Then the parts play together, in a lottery that pays less than nothing and that most agents keep
# buying into.
#
# You need the chapter on deep Q-networks, and Double DQN from the one after it.
# Five tasks, about ninety minutes.

# %%
import numpy as np
import torch

# %% [markdown]
# ## Task 1: a ring
#
# Write a class `Ring` that keeps the last `capacity` transitions in arrays made once.
#
# - `Ring(capacity, width)`: observations are vectors of `width` numbers.
# - `add(obs, action, reward, next_obs, ended)`: store one transition, over the oldest if the ring
#   is full.
# - `len(ring)`: how many transitions it holds.
# - `sample(size, seed)`: draw `size` transitions *with replacement*, each one held as likely as any
#   other, with `np.random.default_rng(seed)`.
#   Return a dict of arrays: `"obs"` and `"next_obs"` are `[size, width]`; `"action"`, `"reward"`
#   and `"ended"` are `[size]`.
#
# By hand, capacity 3: after one, two, three, four and five transitions the length is 1, 2, 3, 3, 3,
# and after the fifth the ring holds the third, the fourth and the fifth.


# %% tags=["task"] q="ring"
class Ring:
    """The last ``capacity`` transitions, drawn from evenly."""

    def __init__(self, capacity, width):
        """Arrays for ``capacity`` transitions with observations ``[width]``."""
        # BEGIN SOLUTION
        self.capacity, self.added = capacity, 0
        self.rows = {
            "obs": np.zeros((capacity, width)),
            "action": np.zeros(capacity, int),
            "reward": np.zeros(capacity),
            "next_obs": np.zeros((capacity, width)),
            "ended": np.zeros(capacity, bool),
        }
        # END SOLUTION

    def add(self, obs, action, reward, next_obs, ended):
        """Store one transition, over the oldest if the ring is full."""
        # BEGIN SOLUTION
        row = self.added % self.capacity
        for name, value in zip(self.rows, (obs, action, reward, next_obs, ended), strict=True):
            self.rows[name][row] = value
        self.added += 1
        # END SOLUTION

    def __len__(self):
        """How many transitions it holds."""
        # BEGIN SOLUTION
        return min(self.added, self.capacity)
        # END SOLUTION

    def sample(self, size, seed):
        """A dict of arrays: ``size`` transitions, with replacement."""
        # BEGIN SOLUTION
        index = np.random.default_rng(seed).integers(len(self), size=size)
        return {name: array[index] for name, array in self.rows.items()}
        # END SOLUTION


# %% tags=["test"] q="ring" points=1
def test_ring_lengths(Ring):
    """Capacity 3, five transitions: 1, 2, 3, 3, 3."""
    ring, lengths = Ring(3, 2), []
    for k in range(5):
        ring.add(np.full(2, float(k)), k % 2, float(k), np.full(2, k + 1.0), False)
        lengths.append(len(ring))
    expect(lengths, [1, 2, 3, 3, 3], "min of two numbers", what="the lengths after each add")


# %% tags=["test"] q="ring" points=1
def test_ring_keeps_the_newest(Ring):
    """Capacity 3: what can be drawn after 1, 3, 4 and 8 transitions."""
    for count, there in ((1, [0]), (3, [0, 1, 2]), (4, [1, 2, 3]), (8, [5, 6, 7])):
        ring = Ring(3, 1)
        for k in range(count):
            ring.add(np.array([float(k)]), 0, 10.0 * k, np.array([k + 1.0]), False)
        drawn = ring.sample(300, 0)
        if not isinstance(drawn, dict) or "reward" not in drawn:
            fail('sample: expected a dict with "obs", "action", "reward", ...; look at your return')
        expect(np.shape(drawn["reward"]), (300,), "the size", what="the shape of 300 rewards")
        found = sorted({round(float(r)) // 10 for r in np.asarray(drawn["reward"])})
        if found != there:
            fail(
                f"capacity 3, transitions 0 to {count - 1} added: expected to draw {there}, got "
                f"{found}; look at where number `added` goes, and how many rows hold something"
            )


# %% tags=["test"] q="ring" points=1 hidden=true
def test_ring_is_even_and_in_line(Ring, rng):
    """Fields of a row belong together, and every row is drawn equally often."""
    ring, added, draws = Ring(5, 2), [], 20_000
    for k in range(13):
        obs, next_obs = rng.normal(size=(2, 2))
        added.append((obs, int(rng.integers(4)), float(k), next_obs, bool(rng.random() < 0.5)))
        ring.add(*added[-1])
    drawn = ring.sample(draws, int(rng.integers(2**31)))
    if not isinstance(drawn, dict):
        fail(f"sample: expected a dict of arrays, got {type(drawn).__name__}; look at your return")
    number = np.asarray(drawn["reward"]).astype(int)
    expect(np.shape(number), (draws,), "the size", what="the shape of the rewards")
    for column, name in enumerate(("obs", "action", "reward", "next_obs", "ended")):
        wanted = np.array([added[k][column] for k in number])
        expect(drawn[name], wanted, "one index for all fields", what=f"{name} of the rows drawn")
    counts = np.bincount(number, minlength=13)[8:]
    # 20,000 draws over 5 rows: a deviation of 57 around 4,000; six of them never happen
    if abs(counts - draws / 5).max() > 6 * np.sqrt(draws * 0.2 * 0.8):
        fail(
            f"five rows were drawn {counts} times; expected about {draws // 5} each; look at the draw"
        )


# %% tags=["mutant"] q="ring" kills="test_ring_lengths test_ring_keeps_the_newest test_ring_is_even_and_in_line"
class Ring:
    """When it is full it is full: what comes later is not stored."""

    def __init__(self, capacity, width):
        self.capacity, self.rows = capacity - 1, []

    def add(self, obs, action, reward, next_obs, ended):
        if len(self.rows) < self.capacity:
            self.rows.append((obs, action, reward, next_obs, ended))

    def __len__(self):
        return len(self.rows)

    def sample(self, size, seed):
        index = np.random.default_rng(seed).integers(len(self.rows), size=size)
        names = ("obs", "action", "reward", "next_obs", "ended")
        return {n: np.array([self.rows[i][k] for i in index]) for k, n in enumerate(names)}


# %% tags=["mutant"] q="ring" kills="test_ring_keeps_the_newest"
class Ring:
    """Any row may be drawn, also one that holds nothing yet: zeros are learned from."""

    def __init__(self, capacity, width):
        self.capacity, self.added = capacity, 0
        self.rows = [(np.zeros(width), 0, -10.0, np.zeros(width), False)] * capacity

    def add(self, obs, action, reward, next_obs, ended):
        self.rows[self.added % self.capacity] = (obs, action, reward, next_obs, ended)
        self.added += 1

    def __len__(self):
        return min(self.added, self.capacity)

    def sample(self, size, seed):
        index = np.random.default_rng(seed).integers(self.capacity, size=size)
        names = ("obs", "action", "reward", "next_obs", "ended")
        return {n: np.array([self.rows[i][k] for i in index]) for k, n in enumerate(names)}


# %% tags=["mutant"] q="ring" kills="test_ring_keeps_the_newest test_ring_is_even_and_in_line"
class Ring:
    """``integers(n - 1)``: the last row is never drawn."""

    def __init__(self, capacity, width):
        self.capacity, self.added, self.rows = capacity, 0, [None] * capacity

    def add(self, obs, action, reward, next_obs, ended):
        self.rows[self.added % self.capacity] = (obs, action, reward, next_obs, ended)
        self.added += 1

    def __len__(self):
        return min(self.added, self.capacity)

    def sample(self, size, seed):
        index = np.random.default_rng(seed).integers(max(len(self) - 1, 1), size=size)
        names = ("obs", "action", "reward", "next_obs", "ended")
        return {n: np.array([self.rows[i][k] for i in index]) for k, n in enumerate(names)}


# %% tags=["mutant"] q="ring" kills="test_ring_is_even_and_in_line"
class Ring:
    """Each field draws its own rows: rewards of one transition, observations of another."""

    def __init__(self, capacity, width):
        self.capacity, self.added, self.rows = capacity, 0, [None] * capacity

    def add(self, obs, action, reward, next_obs, ended):
        self.rows[self.added % self.capacity] = (obs, action, reward, next_obs, ended)
        self.added += 1

    def __len__(self):
        return min(self.added, self.capacity)

    def sample(self, size, seed):
        rng, drawn = np.random.default_rng(seed), {}
        for k, name in enumerate(("obs", "action", "reward", "next_obs", "ended")):
            index = rng.integers(len(self), size=size)
            drawn[name] = np.array([self.rows[i][k] for i in index])
        return drawn


# %% tags=["mutant"] q="ring" kills="test_ring_lengths"
class Ring:
    """The length is what was ever added, and the ring has forgotten that it is one."""

    def __init__(self, capacity, width):
        self.capacity, self.added, self.rows = capacity, 0, []

    def add(self, obs, action, reward, next_obs, ended):
        self.rows = [*self.rows, (obs, action, reward, next_obs, ended)][-self.capacity :]
        self.added += 1

    def __len__(self):
        return self.added

    def sample(self, size, seed):
        index = np.random.default_rng(seed).integers(len(self.rows), size=size)
        names = ("obs", "action", "reward", "next_obs", "ended")
        return {n: np.array([self.rows[i][k] for i in index]) for k, n in enumerate(names)}


# %% [markdown]
# ## Task 2: several rewards, one target
#
# A target of up to $n$ rewards looks further before it trusts a guess:
#
# $$
# Y = R_1 + \gamma R_2 + \dots + \gamma^{m-1} R_m + (\text{discount}) \cdot \max_a Q(S_m, a)
# $$
#
# The rows of one environment lie in a ring one behind the other, so the window from row $i$ goes on
# at row $i + 1$, and from the last row at row 0.
# It holds $m \le n$ rewards, because it must stop
#
# - at the last step of an episode, whether that was *terminated* or *truncated*;
# - at the **newest** row.
#   Behind it, in the ring, lies the *oldest*: that is the story that never happened.
#
# The discount is $\gamma^m$, unless the last step of the window was a true end, after which nothing
# counts: then 0.
#
# Write `n_step(reward, terminated, truncated, added, index, n, gamma)`.
# The first three are arrays `[capacity]` of a ring; `added` is how many rows were ever written, so
# that the newest is row `(added - 1) % capacity`; `index` is `[B]`, the rows from which the windows
# start.
# Return three arrays `[B]`: the sum of the rewards, the discount, and the row in which the window
# stops.
#
# By hand, capacity 4, `added` 6, rewards 5, 6, 3, 4 (row 1 is the newest), $n = 3$,
# $\gamma = \tfrac12$, nothing ended.
# From row 0 the window is rows 0 and 1: $5 + 3 = 8$, discount $\tfrac14$, it stops in row 1.
# From row 3 it is rows 3, 0 and 1: $4 + 2.5 + 1.5 = 8$, discount $\tfrac18$, row 1.


# %% tags=["task"] q="window"
def n_step(reward, terminated, truncated, added, index, n, gamma):
    """Sums of up to n rewards, what the guess behind them counts, and the last row: each ``[B]``."""
    # BEGIN SOLUTION
    capacity = len(reward)
    newest = (added - 1) % capacity
    sums, discounts, last = [], [], []
    for row in index:
        total, weight = reward[row], gamma
        for _ in range(n - 1):
            if terminated[row] or truncated[row] or row == newest:
                break
            row = (row + 1) % capacity
            total += weight * reward[row]
            weight *= gamma
        sums.append(total)
        discounts.append(0.0 if terminated[row] else weight)
        last.append(row)
    return np.array(sums), np.array(discounts), np.array(last)
    # END SOLUTION


# %% tags=["test"] q="window" points=1
def test_window_by_hand(n_step):
    """Capacity 4, the newest in row 1: windows from rows 0 and 3."""
    no = np.zeros(4, bool)
    got = n_step(np.array([5.0, 6.0, 3.0, 4.0]), no, no, 6, np.array([0, 3]), 3, 0.5)
    if not isinstance(got, (tuple, list)) or len(got) != 3:
        fail("n_step: expected three arrays, sums, discounts and last rows; look at your return")
    expect(got[0], [8.0, 8.0], "where a window stops, and the powers of gamma", what="the sums")
    expect(got[1], [0.25, 0.125], "one gamma for each reward summed", what="the discounts")
    expect(got[2], [1, 1], "the newest row", what="the last rows")


# %% tags=["test"] q="window" points=1 hidden=true
def test_window_two_ends(n_step):
    """A true end drops the guess, a time limit keeps it; neither is looked across."""
    reward, yes, no = np.array([1.0, 2.0, 4.0, 8.0]), np.eye(4, dtype=bool)[1], np.zeros(4, bool)
    for terminated, truncated, counts, name in (
        (yes, no, 0.0, "terminated"),
        (no, yes, 0.25, "truncated"),
        (yes, yes, 0.0, "both"),
    ):
        got = n_step(reward, terminated, truncated, 4, np.array([0, 1, 2]), 3, 0.5)
        if not isinstance(got, (tuple, list)) or len(got) != 3:
            fail("n_step: expected three arrays; look at your return")
        what = f"row 1 {name}, windows from rows 0, 1 and 2"
        expect(got[0], [2.0, 2.0, 8.0], "rewards behind an end", what=f"{what}: sums")
        wanted = [counts, 2 * counts, 0.25]
        expect(
            got[1], wanted, "which of the two ends takes the guess away", what=f"{what}: discounts"
        )
        expect(got[2], [1, 1, 3], "the row in which a window stops", what=f"{what}: last rows")


# %% tags=["test"] q="window" points=1 hidden=true
def test_window_by_diary(n_step, rng):
    """Random rings, against a diary that was never cut up."""
    for capacity, added in ((6, 4), (6, 6), (6, 17), (9, 31)):
        diary = rng.normal(size=added)
        terminated, truncated = rng.random((2, added)) < 0.2
        held = range(max(0, added - capacity), added)  # what the ring still holds, oldest first
        ring = [np.zeros(capacity), np.ones(capacity, bool), np.ones(capacity, bool)]
        for k in held:
            for array, told in zip(ring, (diary, terminated, truncated), strict=True):
                array[k % capacity] = told[k]
        for n in (1, 2, 5, 12):
            gamma = float(rng.uniform(0.5, 0.99))
            sums, discounts, last = [], [], []
            for k in held:
                ends = [j for j in range(k, added) if terminated[j] or truncated[j]]
                stop = min([k + n - 1, added - 1, *ends[:1]])
                sums.append(sum(gamma ** (j - k) * diary[j] for j in range(k, stop + 1)))
                discounts.append(0.0 if terminated[stop] else gamma ** (stop - k + 1))
                last.append(stop % capacity)
            index = np.array([k % capacity for k in held])
            got = n_step(*ring, added, index, n, gamma)
            if not isinstance(got, (tuple, list)) or len(got) != 3:
                fail("n_step: expected three arrays; look at your return")
            what = f"capacity {capacity}, {added} rows written, n = {n}"
            look = "the seam between the newest row and the oldest"
            expect(got[0], sums, look, what=f"{what}: sums")
            expect(got[1], discounts, look, what=f"{what}: discounts")
            expect(got[2], last, look, what=f"{what}: last rows")


# %% tags=["mutant"] q="window" kills="test_window_by_hand test_window_by_diary"
def n_step(reward, terminated, truncated, added, index, n, gamma):
    """The ring goes on for ever: behind the newest row comes the oldest."""
    sums, discounts, last = [], [], []
    for row in index:
        total, weight = reward[row], gamma
        for _ in range(n - 1):
            if terminated[row] or truncated[row]:
                break
            row = (row + 1) % len(reward)
            total, weight = total + weight * reward[row], weight * gamma
        sums.append(total)
        discounts.append(0.0 if terminated[row] else weight)
        last.append(row)
    return np.array(sums), np.array(discounts), np.array(last)


# %% tags=["mutant"] q="window" kills="test_window_two_ends test_window_by_diary"
def n_step(reward, terminated, truncated, added, index, n, gamma):
    """A time limit is no end, so the window looks across it into the next episode."""
    newest = (added - 1) % len(reward)
    sums, discounts, last = [], [], []
    for row in index:
        total, weight = reward[row], gamma
        for _ in range(n - 1):
            if terminated[row] or row == newest:
                break
            row = (row + 1) % len(reward)
            total, weight = total + weight * reward[row], weight * gamma
        sums.append(total)
        discounts.append(0.0 if terminated[row] else weight)
        last.append(row)
    return np.array(sums), np.array(discounts), np.array(last)


# %% tags=["mutant"] q="window" kills="test_window_by_hand test_window_two_ends test_window_by_diary"
def n_step(reward, terminated, truncated, added, index, n, gamma):
    """The guess counts gamma, however many rewards stand before it."""
    newest = (added - 1) % len(reward)
    sums, discounts, last = [], [], []
    for row in index:
        total, weight = reward[row], gamma
        for _ in range(n - 1):
            if terminated[row] or truncated[row] or row == newest:
                break
            row = (row + 1) % len(reward)
            total, weight = total + weight * reward[row], weight * gamma
        sums.append(total)
        discounts.append(0.0 if terminated[row] else gamma)
        last.append(row)
    return np.array(sums), np.array(discounts), np.array(last)


# %% tags=["mutant"] q="window" kills="test_window_two_ends test_window_by_diary"
def n_step(reward, terminated, truncated, added, index, n, gamma):
    """Done is done: a time limit takes the guess away."""
    newest = (added - 1) % len(reward)
    sums, discounts, last = [], [], []
    for row in index:
        total, weight = reward[row], gamma
        for _ in range(n - 1):
            if terminated[row] or truncated[row] or row == newest:
                break
            row = (row + 1) % len(reward)
            total, weight = total + weight * reward[row], weight * gamma
        sums.append(total)
        discounts.append(0.0 if terminated[row] or truncated[row] else weight)
        last.append(row)
    return np.array(sums), np.array(discounts), np.array(last)


# %% tags=["mutant"] q="window" kills="test_window_by_hand test_window_two_ends test_window_by_diary"
def n_step(reward, terminated, truncated, added, index, n, gamma):
    """A window always holds n rewards, whole: what lies across an end is in it."""
    window = (np.asarray(index)[:, None] + np.arange(n)) % len(reward)
    sums = reward[window] @ gamma ** np.arange(n)
    discounts = np.where(terminated[window].any(axis=1), 0.0, gamma**n)
    return sums, discounts, window[:, -1]


# %% tags=["trial"] q="window"
if written(n_step):
    # What would the stories that never happened have cost? A ring of 50 rows; every row pays 1 but the
    # oldest ten, which were written long ago, in a mine of gold, and paid 100.
    rewards, never = np.ones(50), np.zeros(50, bool)
    rewards[20:30] = 100.0  # rows 20 to 29 are the oldest; row 19 is the newest
    print("n   windows from rows 10 to 19: largest sum, yours    across the seam")
    for n in (1, 3, 5, 10):
        rows = np.arange(10, 20)
        sums, _, _ = n_step(rewards, never, never, 70, rows, n, 0.99)
        across = rewards[(rows[:, None] + np.arange(n)) % 50] @ 0.99 ** np.arange(n)
        print(f"{n:2d} {np.max(sums):46.2f} {across.max():18.2f}")

# %% [markdown]
# ## Task 3: the loss, and where its gradient may go
#
# Double DQN: the *network* says which action is best in the next state, its *copy* says what that
# is worth.
#
# $$
# Y = R + (\text{discount}) \cdot Q\bigl(S', \operatorname*{argmax}_a Q(S', a; \theta);
# \theta^-\bigr), \qquad
# \ell = \begin{cases} \tfrac12 \delta^2 & |\delta| \le 1 \\ |\delta| - \tfrac12 & \text{else}
# \end{cases}, \qquad
# \delta = Y - Q(S, A; \theta)
# $$
#
# Write `losses(q, action, reward, discount, next_q, next_copy)`: `q` and `next_q` are what the
# network says of the states and of the next states, `next_copy` what the copy says of the next
# states, all `[B, A]`; `action` is `[B]`, whole numbers; `reward` and `discount` are `[B]`.
# The result is `[B]`, a loss for each transition.
# A gradient may flow through `q`, at the action that was taken, and nowhere else.
#
# By hand: `q` (1, 5), action 0, reward 1, discount 0.5, `next_q` (3, 2), `next_copy` (4, 9).
# The network prefers action 0, of which the copy says 4: $Y = 3$, $\delta = 2$, the loss is 1.5,
# and its gradient is $(-1, 0)$.


# %% tags=["task"] q="loss"
def losses(q, action, reward, discount, next_q, next_copy):
    """Huber's loss of each transition to its Double DQN target, ``[B]``."""
    # BEGIN SOLUTION
    with torch.no_grad():
        best = next_q.argmax(dim=1, keepdim=True)
        y = reward + discount * next_copy.gather(1, best).squeeze(1)
    taken = q.gather(1, action[:, None]).squeeze(1)
    return torch.nn.functional.smooth_l1_loss(taken, y, reduction="none")
    # END SOLUTION


# %% tags=["test"] q="loss" points=1
def test_loss_by_hand(losses):
    """The target is 3, the error 2, the loss 1.5, the gradient (-1, 0)."""
    import torch

    numbers = [[[1.0, 5.0]], [1.0], [0.5], [[3.0, 2.0]], [[4.0, 9.0]]]
    q, reward, discount, next_q, copy = (torch.tensor(x, dtype=torch.float64) for x in numbers)
    got, (slope,) = gradient(losses, q, torch.tensor([0]), reward, discount, next_q, copy, wrt=(0,))
    expect(got, [1.5], "who chooses, who judges, and the shape of the loss", what="one transition")
    expect(slope, [[-1.0, 0.0]], "an error of 2 pulls like an error of 1", what="its gradient")


# %% tags=["test"] q="loss" points=1 hidden=true
def test_loss_of_many(losses, rng):
    """Random batches, transition by transition."""
    import torch

    for size, actions in ((1, 3), (7, 2), (40, 5)):
        q, next_q, copy = rng.normal(size=(3, size, actions)) * 2
        action, reward = rng.integers(actions, size=size), rng.normal(size=size)
        discount = np.where(rng.random(size) < 0.3, 0.0, 0.9)
        wanted = []
        for i in range(size):
            y = reward[i] + discount[i] * copy[i, np.argmax(next_q[i])]
            error = abs(y - q[i, action[i]])
            wanted.append(error**2 / 2 if error <= 1 else error - 0.5)
        given = (torch.tensor(x) for x in (q, action, reward, discount, next_q, copy))
        look = "the action that was taken, the two opinions about the next state, and [B, 1] - [B]"
        expect(losses(*given), wanted, look, what=f"{size} transitions, {actions} actions")


# %% tags=["test"] q="loss" points=1 hidden=true
def test_loss_pulls_the_guess_alone(losses, rng):
    """Gradients of random batches: only the taken action's, and none into the target."""
    import torch

    size, actions = 30, 4
    q, next_q, copy = rng.normal(size=(3, size, actions)) * 2
    action, reward = rng.integers(actions, size=size), rng.normal(size=size)
    discount, rows = np.full(size, 0.9), np.arange(size)
    y = reward + discount * copy[rows, next_q.argmax(axis=1)]
    wanted = np.zeros((size, actions))
    wanted[rows, action] = np.clip(q[rows, action] - y, -1, 1)
    given = [torch.tensor(x) for x in (q, action, reward, discount, next_q, copy)]
    _, slopes = gradient(losses, *given, wrt=(0, 4, 5))
    expect(slopes[0], wanted, "the slope of Huber's loss", what="the gradient by q, 30 transitions")
    for name, slope in zip(("next_q", "next_copy"), slopes[1:], strict=True):
        look = "what counts as a constant: torch.no_grad() or detach()"
        expect(slope, np.zeros((size, actions)), look, what=f"the gradient by {name}")


# %% tags=["mutant"] q="loss" kills="test_loss_by_hand test_loss_of_many test_loss_pulls_the_guess_alone"
def losses(q, action, reward, discount, next_q, next_copy):
    """Plain DQN: the copy chooses and the copy judges."""
    y = (reward + discount * next_copy.max(dim=1).values).detach()
    taken = q.gather(1, action[:, None]).squeeze(1)
    return torch.nn.functional.smooth_l1_loss(taken, y, reduction="none")


# %% tags=["mutant"] q="loss" kills="test_loss_by_hand test_loss_of_many test_loss_pulls_the_guess_alone"
def losses(q, action, reward, discount, next_q, next_copy):
    """The roles are swapped: the copy chooses, the network judges its own homework."""
    best = next_copy.argmax(dim=1, keepdim=True)
    y = (reward + discount * next_q.gather(1, best).squeeze(1)).detach()
    taken = q.gather(1, action[:, None]).squeeze(1)
    return torch.nn.functional.smooth_l1_loss(taken, y, reduction="none")


# %% tags=["mutant"] q="loss" kills="test_loss_pulls_the_guess_alone"
def losses(q, action, reward, discount, next_q, next_copy):
    """The target is a tensor like any other: the aim moves towards the guess, too."""
    best = next_q.argmax(dim=1, keepdim=True)
    y = reward + discount * next_copy.gather(1, best).squeeze(1)
    taken = q.gather(1, action[:, None]).squeeze(1)
    return torch.nn.functional.smooth_l1_loss(taken, y, reduction="none")


# %% tags=["mutant"] q="loss" kills="test_loss_of_many test_loss_pulls_the_guess_alone"
def losses(q, action, reward, discount, next_q, next_copy):
    """``[B, 1] - [B]`` is ``[B, B]``: every guess is compared with every target."""
    with torch.no_grad():
        best = next_q.argmax(dim=1, keepdim=True)
        y = reward + discount * next_copy.gather(1, best).squeeze(1)
    error = q.gather(1, action[:, None]) - y
    size = error.abs()
    return torch.where(size <= 1, error**2 / 2, size - 0.5).mean(dim=1)


# %% tags=["mutant"] q="loss" kills="test_loss_by_hand test_loss_of_many test_loss_pulls_the_guess_alone"
def losses(q, action, reward, discount, next_q, next_copy):
    """The loss is clipped where the error should be: large errors teach nothing."""
    with torch.no_grad():
        best = next_q.argmax(dim=1, keepdim=True)
        y = reward + discount * next_copy.gather(1, best).squeeze(1)
    error = q.gather(1, action[:, None]).squeeze(1) - y
    return error.clamp(-1, 1) ** 2 / 2


# %% tags=["mutant"] q="loss" kills="test_loss_by_hand test_loss_of_many test_loss_pulls_the_guess_alone"
def losses(q, action, reward, discount, next_q, next_copy):
    """The best action of this state instead of the one that was taken."""
    with torch.no_grad():
        best = next_q.argmax(dim=1, keepdim=True)
        y = reward + discount * next_copy.gather(1, best).squeeze(1)
    return torch.nn.functional.smooth_l1_loss(q.max(dim=1).values, y, reduction="none")


# %% [markdown]
# ## Task 4: a copy that is one
#
# Write a class `Pair` that holds the weights of a network and those of its copy.
#
# - `Pair(weights, every)`: both start as `weights`, an array `[K]`.
# - `step(slope, rate)`: one step down, `weights - rate * slope`, of the *network's* weights.
#   After every `every`-th step, counted from the first, the copy takes over the network's weights.
# - `weights()` and `copy()`: both as they stand, `[K]`.
#
# By hand: weights (1, 2), every 2, slope (1, 1), rate 0.5.
# After the first step the network is at (0.5, 1.5), its copy still at (1, 2); after the second both
# are at (0, 1); after the third the network is at $(-0.5, 0.5)$ and the copy still at (0, 1).


# %% tags=["task"] q="pair"
class Pair:
    """A network's weights, and a copy that is renewed now and then."""

    def __init__(self, weights, every):
        """Both start as ``weights``, ``[K]``; a copy after ``every`` steps."""
        # BEGIN SOLUTION
        self.network, self.frozen = np.array(weights, float), np.array(weights, float)
        self.every, self.steps = every, 0
        # END SOLUTION

    def step(self, slope, rate):
        """One step down of the network's weights; the copy follows after every ``every``-th."""
        # BEGIN SOLUTION
        self.network -= rate * np.asarray(slope)
        self.steps += 1
        if self.steps % self.every == 0:
            self.frozen[:] = self.network
        # END SOLUTION

    def weights(self):
        """The network's, ``[K]``."""
        # BEGIN SOLUTION
        return self.network.copy()
        # END SOLUTION

    def copy(self):
        """The copy's, ``[K]``."""
        # BEGIN SOLUTION
        return self.frozen.copy()
        # END SOLUTION


# %% tags=["test"] q="pair" points=1
def test_pair_by_hand(Pair):
    """Three steps with a copy after the second."""
    pair, slope = Pair(np.array([1.0, 2.0]), 2), np.array([1.0, 1.0])
    story = (
        ([0.5, 1.5], [1.0, 2.0], "whether the two are one array under two names"),
        ([0.0, 1.0], [0.0, 1.0], "when the copy is made"),
        ([-0.5, 0.5], [0.0, 1.0], "whether a copy copies numbers, or a name"),
    )
    for number, (weights, frozen, look) in enumerate(story, start=1):
        pair.step(slope, 0.5)
        expect(pair.weights(), weights, "the direction", what=f"the network after step {number}")
        expect(pair.copy(), frozen, look, what=f"the copy after step {number}")


# %% tags=["test"] q="pair" points=1 hidden=true
def test_pair_of_many_steps(Pair, rng):
    """Random steps: the copy is what the network was at the last multiple of `every`."""
    for every in (1, 3, 5):
        first = rng.normal(size=4)
        pair, history = Pair(first, every), [first]
        for number in range(1, 14):
            slope, rate = rng.normal(size=4), float(rng.uniform(0.1, 1.0))
            pair.step(slope, rate)
            history.append(history[-1] - rate * slope)
            expect(
                pair.weights(), history[-1], "the step", what=f"the network after {number} steps"
            )
            look = "whether it is the network, an older copy, or something in between"
            what = f"the copy after {number} steps, every {every}"
            expect(pair.copy(), history[number - number % every], look, what=what)


# %% tags=["mutant"] q="pair" kills="test_pair_by_hand test_pair_of_many_steps"
class Pair:
    """Two names for one array: the copy moves with the network."""

    def __init__(self, weights, every):
        self.network = np.array(weights, float)
        self.frozen = self.network

    def step(self, slope, rate):
        self.network -= rate * np.asarray(slope)

    def weights(self):
        return self.network

    def copy(self):
        return self.frozen


# %% tags=["mutant"] q="pair" kills="test_pair_by_hand test_pair_of_many_steps"
class Pair:
    """``frozen = network`` renews the copy: from the first renewal on it is the network itself."""

    def __init__(self, weights, every):
        self.network, self.frozen = np.array(weights, float), np.array(weights, float)
        self.every, self.steps = every, 0

    def step(self, slope, rate):
        self.network -= rate * np.asarray(slope)
        self.steps += 1
        if self.steps % self.every == 0:
            self.frozen = self.network

    def weights(self):
        return self.network

    def copy(self):
        return self.frozen


# %% tags=["mutant"] q="pair" kills="test_pair_by_hand test_pair_of_many_steps"
class Pair:
    """The steps are counted from nought: a copy is made after the first."""

    def __init__(self, weights, every):
        self.network, self.frozen = np.array(weights, float), np.array(weights, float)
        self.every, self.steps = every, 0

    def step(self, slope, rate):
        self.network = self.network - rate * np.asarray(slope)
        if self.steps % self.every == 0:
            self.frozen = self.network
        self.steps += 1

    def weights(self):
        return self.network

    def copy(self):
        return self.frozen


# %% tags=["mutant"] q="pair" kills="test_pair_by_hand test_pair_of_many_steps"
class Pair:
    """A copy once and for all: after the first renewal it is never renewed."""

    def __init__(self, weights, every):
        self.network, self.frozen = np.array(weights, float), np.array(weights, float)
        self.every, self.steps = every, 0

    def step(self, slope, rate):
        self.network = self.network - rate * np.asarray(slope)
        self.steps += 1
        if self.steps == self.every + 1:
            self.frozen = self.network

    def weights(self):
        return self.network

    def copy(self):
        return self.frozen


# %% tags=["mutant"] q="pair" kills="test_pair_by_hand test_pair_of_many_steps"
class Pair:
    """A slow average is as good: the copy follows a little at every step."""

    def __init__(self, weights, every):
        self.network, self.frozen = np.array(weights, float), np.array(weights, float)
        self.every = every + 1

    def step(self, slope, rate):
        self.network = self.network - rate * np.asarray(slope)
        self.frozen = self.frozen + (self.network - self.frozen) / self.every

    def weights(self):
        return self.network

    def copy(self):
        return self.frozen


# %% [markdown]
# ## Task 5: what a maximum makes of noise
#
# Ten actions, all of them worth exactly nothing.
# A network's opinions of them are wrong, by chance, in both directions.
# What does the target say?
#
# Let `chooser` be an array `[K, A]`: $K$ opinions that the one who chooses may have, and `judge`,
# `[L, A]`, the opinions of the one who judges.
# `chance[k, l]` is the probability that the first has opinion $k$ and the second opinion $l$.
#
# Write `expected_target(chooser, judge, chance)`: the mean of what the judge says of the action
# that the chooser likes best, exactly, over everything that can happen.
# If several actions are tied in the chooser's opinion, each of them is chosen equally often.
#
# By hand: one opinion each, chooser (1, 1, 0), judge (4, 6, 9), chance 1.
# The first two are tied; the answer is 5.
#
# The two extremes are two algorithms.
# With `judge = chooser` and all chance on the diagonal, chooser and judge are one: that is DQN.
# With two opinions drawn independently, `chance = p q^T`, it is what Double DQN hopes for.


# %% tags=["task"] q="maximum"
def expected_target(chooser, judge, chance):
    """The mean of the judge's value of the chooser's best action, over all pairs of opinions."""
    # BEGIN SOLUTION
    best = chooser == chooser.max(axis=1, keepdims=True)  # [K, A]
    picks = best / best.sum(axis=1, keepdims=True)
    return float((chance * (picks @ judge.T)).sum())
    # END SOLUTION


# %% tags=["test"] q="maximum" points=1
def test_maximum_by_hand(expected_target):
    """A tie between 4 and 6: 5. Two opinions that agree with themselves: the mean maximum."""
    one = np.ones((1, 1))
    got = expected_target(np.array([[1.0, 1.0, 0.0]]), np.array([[4.0, 6.0, 9.0]]), one)
    expect(got, 5.0, "who chooses, who judges, and a tie", what="one opinion each")
    opinions = np.array([[1.0, -1.0], [-3.0, 3.0]])
    got = expected_target(opinions, opinions, np.eye(2) / 2)
    expect(got, 2.0, "which pairs happen at all", what="chooser and judge are one")


# %% tags=["test"] q="maximum" points=1 hidden=true
def test_maximum_of_one_network(expected_target, rng):
    """Chooser and judge are one: the mean of the largest, and never below any action's mean."""
    for _ in range(4):
        opinions, p = rng.normal(size=(6, 4)), rng.dirichlet(np.ones(6))
        got = expected_target(opinions, opinions, np.diag(p))
        wanted = sum(p[k] * max(opinions[k]) for k in range(6))
        expect(got, wanted, "the chances on the diagonal", what="six opinions, one network")


# %% tags=["test"] q="maximum" points=1 hidden=true
def test_maximum_of_two_networks(expected_target, rng):
    """Independent opinions with ties: how often each action is chosen, times what it is worth."""
    for _ in range(4):
        chooser = rng.integers(0, 3, size=(5, 3)).astype(float)  # whole numbers: ties abound
        chooser[0] = [1.0, 1.0, 0.0]
        judge = rng.normal(size=(4, 3)) + 1
        p, q = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(4))
        chosen = np.zeros(3)
        for k in range(5):
            ties = [a for a in range(3) if chooser[k, a] == max(chooser[k])]
            for a in ties:
                chosen[a] += p[k] / len(ties)
        worth = [sum(q[k] * judge[k, a] for k in range(4)) for a in range(3)]
        look = "which opinion is the chooser's; ties; and a chance for each pair"
        got = expected_target(chooser, judge, np.outer(p, q))
        expect(got, chosen @ worth, look, what="five opinions and four")


# %% tags=["mutant"] q="maximum" kills="test_maximum_by_hand test_maximum_of_two_networks"
def expected_target(chooser, judge, chance):
    """``argmax`` takes the first of equals."""
    return float((chance * judge[:, chooser.argmax(axis=1)].T).sum())


# %% tags=["mutant"] q="maximum" kills="test_maximum_by_hand test_maximum_of_two_networks"
def expected_target(chooser, judge, chance):
    """The judge's largest value: who chooses does not matter."""
    return float((chance * judge.max(axis=1)).sum())


# %% tags=["mutant"] q="maximum" kills="test_maximum_of_one_network test_maximum_of_two_networks"
def expected_target(chooser, judge, chance):
    """All pairs of opinions are equally likely."""
    best = chooser == chooser.max(axis=1, keepdims=True)
    picks = best / best.sum(axis=1, keepdims=True)
    values = picks @ judge.T
    return float(values[chance > 0].mean())


# %% tags=["mutant"] q="maximum" kills="test_maximum_by_hand test_maximum_of_one_network"
def expected_target(chooser, judge, chance):
    """Chooser and judge are independent, whatever the chances say."""
    best = chooser == chooser.max(axis=1, keepdims=True)
    picks = best / best.sum(axis=1, keepdims=True)
    return float((chance.sum(axis=1) @ picks) @ (chance.sum(axis=0) @ judge))


# %% [markdown]
# Worthless actions, two to thirty of them; forty opinions that are right on average, drawn anew for
# each of ten seeds.
# In a share $c$ of all cases chooser and judge are one; otherwise independent.
# **Predict** the curve for $c = 0$, and how the others lie between it and $c = 1$.

# %% tags=["trial"] q="maximum"
if written(expected_target):
    from IPython.display import display

    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    numbers, said = [2, 3, 5, 10, 20, 30], []
    fig, axes = new_figure(height=3.2)
    for colour, share in zip(COLOURS, (1.0, 0.5, 0.0)):
        curves = np.empty((10, len(numbers)))
        for seed in range(10):
            rng = np.random.default_rng(seed)
            for column, actions in enumerate(numbers):
                opinions = rng.normal(size=(40, actions))
                opinions -= opinions.mean(axis=0)  # every action is worth nothing, exactly
                chance = share * np.eye(40) / 40 + (1 - share) / 1600
                curves[seed, column] = expected_target(opinions, opinions, chance)
        learning_curves(axes, numbers, curves, label=f"c = {share}", colour=colour)
        said.append(f"c = {share}: {curves[:, -1].mean():+.3f}")
    print("mean target for thirty worthless actions:", *said, sep="\n  ")
    axes.set(xlabel="actions, all of them worthless", ylabel="expected target")
    axes.legend(fontsize=9)
    alt = f"Expected target against the number of worthless actions. At thirty: {', '.join(said)}."
    display(show_figure(fig, alt=alt))

# %% [markdown]
# ## The lottery
#
# All parts together, in a world of two rooms.
# In the first there is one door out, which pays nothing, and seven that lead to the lottery.
# There, eight tickets; each pays $-0.2$ on average, give or take one, and the evening is over.
# Whoever knows the numbers takes the door out.
#
# The agent is yours: your `Ring` of a hundred rows, your `losses`, your `Pair`.
# Its network is a table of two rooms and eight actions; its step size is large, so that its
# opinions are noisy, as those of a network are.
# Handing the copy's opinion in for the network's makes plain DQN of it.
# **Predict** the sign of what each agent believes the lottery to be worth, and which of the four
# believes the truth: plain DQN, or Double DQN with a copy at every step, every 20, every 100?

# %% tags=["trial"] q="pair"
if written(Ring, losses, Pair):
    from IPython.display import display

    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    def believe(double, target_every, seed, capacity=100, steps=600, rate=0.3, every=30):
        """What an agent believes the lottery to be worth, while it learns; ``[points]``."""
        rng, room, believed = np.random.default_rng(seed), 0, []
        ring, pair = Ring(capacity, 1), Pair(np.zeros(16), target_every)
        for step in range(1, steps + 1):
            action = int(rng.integers(8))
            ended = room == 1 or action == 0
            pays = rng.normal(-0.2, 1.0) if room == 1 else 0.0
            ring.add(np.array([room]), action, pays, np.array([1]), ended)
            room = 0 if ended else 1
            batch = ring.sample(8, seed * steps + step)
            at, leads_to = (batch[name][:, 0].astype(int) for name in ("obs", "next_obs"))
            network = torch.tensor(pair.weights().reshape(2, 8), requires_grad=True)
            copy = torch.tensor(pair.copy().reshape(2, 8))
            each = losses(
                network[at],
                torch.tensor(batch["action"]),
                torch.tensor(batch["reward"]),
                torch.tensor(1.0 - batch["ended"]),
                (network if double else copy)[leads_to],
                copy[leads_to],
            )
            (slope,) = torch.autograd.grad(each.sum(), network)
            pair.step(slope.numpy().ravel(), rate)
            if step % every == 0:
                believed.append(pair.weights()[1:8].mean())  # the seven doors to the lottery
        return believed

    fig, axes = new_figure(height=3.6)
    said, agents = [], [("plain, copy every 100", False, 100)]
    agents += [(f"Double, copy every {n}", True, n) for n in (1, 20, 100)]
    for colour, (name, double, n) in zip(COLOURS, agents):
        curves = np.array([believe(double, n, seed) for seed in range(5)])
        learning_curves(axes, 30 * np.arange(1, 21), curves, label=name, colour=colour)
        late = curves[:, 10:].mean(axis=1)  # the second half of each run
        said.append(f"{name}: {late.mean():+.2f}, from {late.min():+.2f} to {late.max():+.2f}")
        print(said[-1])
    axes.axhline(-0.2, linestyle="--", linewidth=1.2, color="gray")
    axes.set(xlabel="steps", ylabel="value of the lottery", ylim=(-0.7, 2.6))
    axes.legend(fontsize=8, loc="upper left")
    display(
        show_figure(
            fig,
            alt="What five agents of each kind believe the lottery to be worth; the "
            f"truth is -0.2. In the second half: {'; '.join(said)}.",
        )
    )

# %% [markdown]
# ## In your own words (4 points, marked by hand)
#
# Is Double DQN unbiased? Say what your figure of Task 5 would have it be and what the lottery
# shows, and explain the difference: who are chooser and judge there, and what makes them
# independent?
# At most ten sentences, with at least two numbers from *your own run* and what each of them shows.
#
# *Your answer:*
#
# ## Your figure (2 points, marked by hand)
#
# `believe` takes the capacity of the memory as an argument.
# Copy every 100 steps, plain and Double: how does the belief in the second half of a run depend on
# the capacity, between 20 and 500?
# At least four capacities, at least five seeds each.
# One figure: the belief against the capacity, the spread over the seeds, and the truth.

# %%
# Your figure: code here.

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Time.** Task 1: 12 minutes. Task 2: 20. Task 3: 15. Task 4: 8. Task 5: 15. Text and figure: 20.
#
# **What goes wrong.** Task 1: `integers(len(self) - 1)`, from languages in which the upper end is
# included.
# Task 2: the seam. Nobody thinks of it who has only tested a ring that is not full; the public test
# is a full one.
# Then `gamma` for `gamma ** m`.
# Task 3: the public test tells the roles apart, the hidden ones the gradient.
# Task 4: `self.frozen = self.network` gives a name, not numbers; from then on an in-place step
# moves both. A step that makes a new array hides the mistake, and the student has a right program
# by accident: say so.
# Task 5: ties. And that `chance` is a joint distribution.
#
# **At the end.** The copy is a younger self of the network: the same rows, the same luck.
# With a copy at every step Double DQN *is* plain DQN, to the last digit, and nobody's code
# complains; the older the copy and the more of the memory has changed since, the nearer it comes to
# $c = 0$.
# In large networks with slow steps the copy is never far away, and the repair is weaker than its
# theory. Let them say that before you do.
