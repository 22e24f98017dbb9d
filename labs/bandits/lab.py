# ---
# lab: bandits
# title: Bandits from the inside
# minutes: 60
# extras: ""
# version: 1
# ---

# %% [markdown]
# # Bandits from the inside
#
# Two posters, one place on the front page.
# You show one, somebody clicks or does not, and you never learn what the other would have done.
#
# A rule that always shows the better-looking poster can be wrong **for ever**, and no log will
# show it.
# How often does that happen?
# Not "in a hundred runs": exactly.
# At the end of this lab you own a function that knows, without one random number.
#
# You build, in this order: a mean that needs no memory, a choice in which ties are fair, a bound
# that knows that a chance lies between zero and one, a learner without means, and the exact price
# of all mistakes.
#
# Chapter: *Bandits*. Time: 60 minutes. Automatic points: 14. By hand: 6.

# %%
import numpy as np

from rlcourse.plotting import COLOURS, new_figure, show_figure

# %% [markdown]
# ## 1. A mean without a memory
#
# A poster was shown `count - 1` times and its mean reward was `mean`.
# Now reward number `count` arrives.
# Write `updated_mean(mean, count, reward) -> float`: the mean of all `count` rewards.
# You may not store the old rewards; you do not have them.
#
# By hand: the rewards 1 and 2 have the mean 1.5. The third is 6. All three together: 3.


# %% tags=["task"] q="mean"
def updated_mean(mean, count, reward):
    """Mean of `count` rewards, from the mean of the first `count - 1` and the last one."""
    # BEGIN SOLUTION
    return mean + (reward - mean) / count
    # END SOLUTION


# %% tags=["test"] q="mean" points=1
def test_third_reward(updated_mean):
    """The rewards 1, 2 and 6 have the mean 3."""
    expect(
        updated_mean(1.5, 3, 6.0),
        3.0,
        look="how far the new reward lies from the old mean, and which share of that counts",
        what="updated_mean(1.5, 3, 6.0)",
    )
    expect(
        updated_mean(0.0, 1, -4.0),
        -4.0,
        look="the first reward: it is the mean, whatever stood there before",
        what="updated_mean(0.0, 1, -4.0)",
    )


# %% tags=["test"] q="mean" points=1 hidden=true
def test_stream_of_rewards(updated_mean, rng):
    """Fed reward by reward, it ends at the mean of the stream, whatever the first guess was."""
    for length in (2, 7, 40):
        rewards = rng.normal(rng.normal() * 5 + 3, 2, size=length)
        mean = float(rng.normal() * 100)
        for count, reward in enumerate(rewards, start=1):
            mean = updated_mean(mean, count, float(reward))
            if not isinstance(mean, float | int):
                fail(f"expected a number, got {type(mean).__name__}")
        expect(
            mean,
            rewards.sum() / length,
            look="whether reward number `count` gets the weight 1 / count",
            what=f"the mean of a stream of {length} rewards",
        )


# %% tags=["mutant"] q="mean" kills="test_third_reward test_stream_of_rewards"
def updated_mean(mean, count, reward):
    """`count` taken for the number of old rewards: the newest one weighs too little."""
    return mean + (reward - mean) / (count + 1)


# %% tags=["mutant"] q="mean" kills="test_third_reward test_stream_of_rewards"
def updated_mean(mean, count, reward):
    """A constant step: an average that forgets, and that never forgets its first guess at once."""
    return mean + 0.1 * (reward - mean)


# %% [markdown]
# ## 2. A fair choice, with the dice outside
#
# *ε-greedy*: with probability `epsilon` any arm, all alike likely; else one of the best.
# If several arms are best, they share that part equally.
#
# Write two functions.
#
# - `chances(estimates, epsilon) -> [K]`: the probability of every arm.
#   By hand: estimates 0.5, 0.9, 0.9 and ε = 0.3 give 0.1, 0.45, 0.45.
# - `pick(probabilities, u) -> int`: the arm that a number `u` in [0, 1) stands for.
#   Lay the probabilities side by side on a line of length one; `u` falls into one of them.
#   By hand: probabilities 0.2, 0, 0.8: `u = 0.1` is arm 0, `u = 0.2` is arm 2.
#
# Where the dice are an argument, chance can be enumerated. That is how this lab marks you, and it
# is the most useful trick in testing anything random.


# %% tags=["task"] q="choose"
def chances(estimates, epsilon):
    """Probabilities `[K]` of epsilon-greedy for estimates `[K]`; equals share."""
    # BEGIN SOLUTION
    estimates = np.asarray(estimates, dtype=float)
    best = estimates == estimates.max()
    return epsilon / estimates.size + (1 - epsilon) * best / best.sum()
    # END SOLUTION


def pick(probabilities, u):
    """The arm (an int) that the uniform number `u` in [0, 1) falls on."""
    # BEGIN SOLUTION
    line = np.cumsum(probabilities)
    line[-1] = 1.0  # rounding must leave no gap at the end
    return int(np.searchsorted(line, u, side="right"))
    # END SOLUTION


# %% tags=["test"] q="choose" points=1
def test_chances_by_hand(chances):
    """Estimates 0.5, 0.9, 0.9 and epsilon 0.3: the best two share 0.7, and all share 0.3."""
    expect(
        chances(np.array([0.5, 0.9, 0.9]), 0.3),
        [0.1, 0.45, 0.45],
        look="what the best arms share, and that a random pick may hit them, too",
    )
    expect(
        chances(np.array([0.2, 0.1]), 0.0),
        [1.0, 0.0],
        look="epsilon = 0: nobody explores",
    )


# %% tags=["test"] q="choose" points=1 hidden=true
def test_chances_of_any_estimates(chances, rng):
    """P(best) = (1 - epsilon) / ties + epsilon / K, also where all estimates are below zero."""
    for arms in (2, 3, 6):
        for _ in range(5):
            estimates = -rng.integers(1, 4, size=arms).astype(float)  # ties are common
            epsilon = float(rng.uniform(0.05, 0.95))
            winners = [a for a in range(arms) if estimates[a] == max(estimates)]
            wanted = [
                epsilon / arms + ((1 - epsilon) / len(winners) if a in winners else 0.0)
                for a in range(arms)
            ]
            expect(
                chances(estimates, epsilon),
                wanted,
                look="ties, and who takes part in the random picks",
                what=f"chances({estimates}, {epsilon:.2f})",
            )
    expect(chances(np.zeros(4), 0.2), np.full(4, 0.25), look="a table that knows nothing")


# %% tags=["test"] q="choose" points=1 hidden=true
def test_pick_over_the_whole_line(pick, rng):
    """Of 200 numbers spread evenly over [0, 1), each arm gets its own share."""
    for arms in (2, 4):
        quarters = rng.multinomial(16, np.full(arms, 1 / arms))
        quarters[0] = 0  # an arm without a chance is never picked
        quarters[-1] += 16 - quarters.sum()
        probabilities = quarters / 16
        got = [pick(probabilities, (i + 0.5) / 100) for i in range(100)]
        if not all(isinstance(arm, int) and 0 <= arm < arms for arm in got):
            fail(f"expected arms from 0 to {arms - 1}, got {sorted(set(map(str, got)))}")
        counts = np.bincount(got, minlength=arms) / 100
        expect(
            counts,
            probabilities,
            tolerance=0.0101,
            look="where one arm's piece of the line ends and the next begins",
            what=f"the shares of the arms for probabilities {probabilities}",
        )
    expect(pick(np.array([0.25, 0.75]), 0.25), 1, look="a number on the border: the piece begins")
    expect(pick(np.array([0.0, 1.0]), 0.0), 1, look="u = 0 and an arm without a chance")


# %% tags=["mutant"] q="choose" kills="test_chances_by_hand test_chances_of_any_estimates"
def chances(estimates, epsilon):
    """`argmax`: the first of the best takes everything, and its equals starve."""
    probabilities = np.full(len(estimates), epsilon / len(estimates))
    probabilities[np.argmax(estimates)] += 1 - epsilon
    return probabilities


# %% tags=["mutant"] q="choose" kills="test_chances_by_hand test_chances_of_any_estimates"
def chances(estimates, epsilon):
    """Random picks among the others only: exploring never hits a best arm."""
    estimates = np.asarray(estimates, dtype=float)
    best = estimates == estimates.max()
    rest = ~best
    if not rest.any():
        return best / best.sum()
    return epsilon * rest / rest.sum() + (1 - epsilon) * best / best.sum()


# %% tags=["mutant"] q="choose" kills="test_pick_over_the_whole_line"
def pick(probabilities, u):
    """The most likely arm, always: a mode is no draw."""
    return int(np.argmax(probabilities))


# %% tags=["mutant"] q="choose" kills="test_pick_over_the_whole_line"
def pick(probabilities, u):
    """The border belongs to the arm before it: `u = 0` picks an arm that has no chance."""
    return int(np.searchsorted(np.cumsum(probabilities), u, side="left"))


# %% [markdown]
# ## 3. A bound that knows that a chance is a chance
#
# UCB1 adds $\sqrt{2 \ln t / n}$ to the mean of an arm.
# An arm with ten failures in ten pulls still gets a bonus of 1.2 after a thousand pulls: UCB1
# hopes for a chance above one.
#
# There is a sharper question.
# *Which chances $q$ could still have produced a mean $p$ in $n$ pulls?*
# The distance that counts is
#
# $$\mathrm{kl}(p, q) = p \ln \frac{p}{q} + (1 - p) \ln \frac{1 - p}{1 - q}, \qquad 0 \ln 0 = 0,$$
#
# and the bound of **KL-UCB** is the largest $q$ with $n\,\mathrm{kl}(p, q) \le \ln t$.
#
# - `kl(p, q) -> float` for `p` in [0, 1] and `q` in (0, 1), without a warning and without `nan`.
# - `upper(mean, count, log_t) -> float`: that largest $q$, within $10^{-6}$.
#   An arm that was never pulled may have any chance: 1.
#
# Between the mean and one, kl grows.
# So halve the interval: fifty times are enough for fifteen digits.
#
# By hand: kl(0, ½) = ln 2. An arm with no success in $n$ pulls: $-n \ln(1 - q) = \ln t$, so
# $q = 1 - t^{-1/n}$.


# %% tags=["task"] q="bound"
def kl(p, q):
    """Divergence of a coin of chance `p` from one of chance `q`; a float."""
    # BEGIN SOLUTION
    first = p * np.log(p / q) if p > 0 else 0.0
    second = (1 - p) * np.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return float(first + second)
    # END SOLUTION


def upper(mean, count, log_t):
    """The largest chance in [mean, 1] that `count` pulls of this mean do not rule out; a float."""
    # BEGIN SOLUTION
    if count == 0:
        return 1.0
    low, high = mean, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if middle < 1 and count * kl(mean, middle) <= log_t:
            low = middle
        else:
            high = middle
    return (low + high) / 2
    # END SOLUTION


# %% tags=["test"] q="bound" points=1
def test_kl_by_hand(kl):
    """kl(0, 1/2) is ln 2, kl(1, 1/4) is ln 4, and a coin is no distance from itself."""
    look = "0 ln 0, which is zero and not nan"
    expect(kl(0.0, 0.5), np.log(2), look=look, what="kl(0, 0.5)")
    expect(kl(1.0, 0.25), np.log(4), look=look, what="kl(1, 0.25)")
    expect(kl(0.3, 0.3), 0.0, look="two equal coins", what="kl(0.3, 0.3)")
    expect(
        kl(0.5, 0.9),
        0.5 * np.log(25 / 9),
        look="which of the two chances stands outside the logarithms",
        what="kl(0.5, 0.9)",
    )


# %% tags=["test"] q="bound" points=1 hidden=true
def test_bound_of_a_loser(upper, rng):
    """No success in n pulls leaves 1 - t ** (-1 / n); only successes, or no pull, leave 1."""
    for count in rng.integers(1, 60, size=6):
        t = float(rng.uniform(70, 5000))
        expect(
            upper(0.0, int(count), np.log(t)),
            1 - t ** (-1 / count),
            look="count times kl(mean, q) against log_t",
            what=f"upper(0, {count}, ln {t:.0f})",
        )
    expect(upper(1.0, 5, 2.0), 1.0, look="an arm that never failed", what="upper(1, 5, 2)")
    expect(upper(0.0, 0, 3.0), 1.0, look="an arm that was never pulled", what="upper(0, 0, 3)")


# %% tags=["test"] q="bound" points=1 hidden=true
def test_bound_is_the_root(upper, rng):
    """count * kl(mean, q) = log_t at the bound; found by another solver."""
    from scipy.optimize import brentq
    from scipy.special import rel_entr

    for _ in range(12):
        count = int(rng.integers(2, 200))
        mean, log_t = float(rng.uniform(0.05, 0.95)), float(np.log(rng.uniform(3, 10_000)))

        def excess(q, mean=mean, count=count, log_t=log_t):
            return count * (rel_entr(mean, q) + rel_entr(1 - mean, 1 - q)) - log_t

        inside = excess(1 - 1e-12) > 0
        wanted = brentq(excess, mean, 1 - 1e-12, xtol=1e-12) if inside else 1.0
        expect(
            upper(mean, count, log_t),
            wanted,
            tolerance=2e-6,
            look="on which side of the mean you search, and which end you move",
            what=f"upper({mean:.3f}, {count}, {log_t:.3f})",
        )


# %% tags=["mutant"] q="bound" kills="test_kl_by_hand test_bound_is_the_root test_bound_of_a_loser"
def kl(p, q):
    """The two coins swapped: the hypothesis stands where the data should."""
    p, q = q, min(max(p, 1e-12), 1 - 1e-12)
    return float(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


# %% tags=["mutant"] q="bound" kills="test_kl_by_hand"
def kl(p, q):
    """Written as printed: 0 ln 0 is nan."""
    p = np.float64(p)
    with np.errstate(all="ignore"):
        return float(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


# %% tags=["mutant"] q="bound" kills="test_bound_of_a_loser test_bound_is_the_root"
def upper(mean, count, log_t):
    """The bonus of UCB1, cut at one: it does not know that small chances have little spread."""
    if count == 0:
        return 1.0
    return min(1.0, mean + np.sqrt(2 * log_t / count))


# %% tags=["mutant"] q="bound" kills="test_bound_of_a_loser test_bound_is_the_root"
def upper(mean, count, log_t):
    """`count` forgotten: a thousand pulls leave as much hope as one."""
    if count == 0:
        return 1.0
    low, high = mean, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if kl(mean, middle) <= log_t else (low, middle)
    return low


# %% [markdown]
# What does the sharper bound buy?
# Two posters that are nearly always clicked, chances 0.95 and 0.85, and two that hardly ever are,
# 0.02 and 0.01.
# *Write down your guess: in which of the two pairs does KL-UCB save more?*


# %% tags=["trial"] q="bound"
def regret_of(bound, means, steps, seed):
    """Regret `[steps]` of one run that pulls the arm of the largest `bound(mean, count, log_t)`."""
    rng = np.random.default_rng(seed)
    wins, counts, lost = np.zeros(len(means)), np.zeros(len(means)), np.zeros(steps)
    for t in range(steps):
        log_t = np.log(max(t, 1))
        index = np.array(
            [
                np.inf if n == 0 else bound(w / n, int(n), log_t)
                for w, n in zip(wins, counts, strict=True)
            ]
        )
        arm = rng.choice(np.flatnonzero(index == index.max()))
        wins[arm] += rng.random() < means[arm]
        counts[arm] += 1
        lost[t] = max(means) - means[arm]
    return lost.cumsum()


if written(upper):
    rules = {"UCB1": lambda p, n, log_t: p + np.sqrt(2 * log_t / n), "KL-UCB": upper}
    fig, panels = new_figure(columns=2, height=3.0)
    ends = []
    for panel, means in zip(panels, ([0.95, 0.85], [0.02, 0.01]), strict=True):
        for colour, (name, rule) in zip(COLOURS, rules.items(), strict=False):
            runs = np.array([regret_of(rule, means, 1000, seed) for seed in range(6)])
            panel.plot(runs.T, color=colour, alpha=0.25, linewidth=0.7)
            panel.plot(runs.mean(axis=0), color=colour, label=name)
            low, high = np.quantile(runs[:, -1], [0.25, 0.75])
            ends.append(f"{name} {runs[:, -1].mean():.1f}")
            print(f"{means} {name:7s} {runs[:, -1].mean():6.1f}, middle half {low:.1f}..{high:.1f}")
        panel.set(title=f"chances {means[0]}, {means[1]}", xlabel="pulls", ylabel="regret (clicks)")
    panels[0].legend(fontsize=9)
    display(show_figure(fig, alt="Regret of UCB1 and KL-UCB, 6 runs a pair: " + ", ".join(ends)))

# %% [markdown]
# ## 4. A learner without means
#
# The gradient bandit has one number an arm, a *preference* $H_b$, and pulls with
# $\pi = \mathrm{softmax}(H)$.
# After arm $a$ paid $r$, every preference moves:
#
# $$H_b \leftarrow H_b + \alpha\,(r - \text{baseline})\,(\mathbb 1\{b = a\} - \pi_b)$$
#
# - `softmax(preferences) -> [K]`, also for preferences like 1000 and -1000.
# - `gradient_step(preferences, arm, reward, baseline, alpha) -> [K]`: the new preferences, as a
#   new array.
#
# By hand: two arms, both preferences zero, arm 0 pays 3, baseline 1, α = 0.5.
# $\pi = (½, ½)$, so $H$ becomes $(0.5, -0.5)$.


# %% tags=["task"] q="gradient"
def softmax(preferences):
    """Probabilities `[K]` from preferences `[K]`."""
    # BEGIN SOLUTION
    weights = np.exp(np.asarray(preferences, dtype=float) - np.max(preferences))
    return weights / weights.sum()
    # END SOLUTION


def gradient_step(preferences, arm, reward, baseline, alpha):
    """New preferences `[K]` after `arm` paid `reward`; the old ones stay as they are."""
    # BEGIN SOLUTION
    direction = -softmax(preferences)
    direction[arm] += 1.0
    return np.asarray(preferences) + alpha * (reward - baseline) * direction
    # END SOLUTION


# %% tags=["test"] q="gradient" points=1
def test_step_by_hand(gradient_step):
    """Arm 0 of two pays 3 against a baseline of 1: one rises as much as the other falls."""
    got, (before, *_) = after(gradient_step, np.zeros(2), 0, 3.0, 1.0, 0.5)
    expect(got, [0.5, -0.5], look="the arms that were not pulled: their share is taken from them")
    expect(
        gradient_step(np.zeros(2), 1, 0.0, 1.0, 0.5),
        [0.25, -0.25],
        look="a reward below the baseline: the pulled arm falls",
    )
    expect(
        before, [0.0, 0.0], look="`+=` on an array changes the caller's array", what="your input"
    )


# %% tags=["test"] q="gradient" points=1 hidden=true
def test_step_is_the_gradient_on_average(gradient_step, rng):
    """Averaged over all arms the step is the gradient, whatever the baseline."""
    from scipy.special import softmax as exact

    for _ in range(4):
        arms = int(rng.integers(2, 6))
        h, pays = rng.normal(size=arms), rng.normal(size=arms)
        eps = 1e-5
        gradient = [  # by central differences of the expected reward
            (exact(h + eps * e) @ pays - exact(h - eps * e) @ pays) / (2 * eps)
            for e in np.eye(arms)
        ]
        for baseline in (0.0, float(exact(h) @ pays), 10.0):
            steps = []
            for arm in range(arms):
                moved = gradient_step(h, arm, float(pays[arm]), baseline, 0.7)
                if np.shape(moved) != (arms,):
                    fail(f"expected {arms} preferences, got shape {np.shape(moved)}")
                steps.append(np.asarray(moved) - h)
            expect(
                exact(h) @ np.array(steps),
                0.7 * np.array(gradient),
                tolerance=1e-6,
                look="the mean of (1{b = a} - pi_b) over all arms, which is zero",
                what=f"the mean step with baseline {baseline:.2f}",
            )


# %% tags=["test"] q="gradient" points=1 hidden=true
def test_large_preferences(softmax, rng):
    """Only differences count, and a thousand is no overflow."""
    for shift in (1000.0, -1000.0, 0.0):
        h = rng.normal(size=4)
        wanted = 1 / np.exp(h[None, :] - h[:, None]).sum(axis=1)
        expect(softmax(h + shift), wanted, look="what exp does with 1000: subtract first")
    expect(softmax(np.array([1000.0, -1000.0])), [1.0, 0.0], look="what exp does with 1000")


# %% tags=["mutant"] q="gradient" kills="test_step_by_hand test_step_is_the_gradient_on_average"
def gradient_step(preferences, arm, reward, baseline, alpha):
    """Only the pulled arm moves: on average that is no gradient."""
    moved = np.array(preferences, dtype=float)
    moved[arm] += alpha * (reward - baseline) * (1 - softmax(preferences)[arm])
    return moved


# %% tags=["mutant"] q="gradient" kills="test_step_by_hand"
def gradient_step(preferences, arm, reward, baseline, alpha):
    """The baseline added: right on average (no test of the mean sees it), and wildly noisy."""
    direction = -softmax(preferences)
    direction[arm] += 1.0
    return np.asarray(preferences) + alpha * (reward + baseline) * direction


# %% tags=["mutant"] q="gradient" kills="test_step_by_hand test_step_is_the_gradient_on_average"
def gradient_step(preferences, arm, reward, baseline, alpha):
    """Divided by the chance of the arm: rare arms are paid twice for being rare."""
    chance = softmax(preferences)
    direction = -chance
    direction[arm] += 1.0
    return np.asarray(preferences) + alpha * (reward - baseline) * direction / chance[arm]


# %% tags=["mutant"] q="gradient" kills="test_step_by_hand"
def gradient_step(preferences, arm, reward, baseline, alpha):
    """In place: the caller's preferences change behind its back."""
    direction = -softmax(preferences)
    direction[arm] += 1.0
    preferences += alpha * (reward - baseline) * direction
    return preferences


# %% tags=["mutant"] q="gradient" kills="test_large_preferences"
def softmax(preferences):
    """exp of a thousand: infinity over infinity."""
    with np.errstate(all="ignore"):
        weights = np.exp(preferences)
        return weights / weights.sum()


# %% [markdown]
# The baseline moves the mean step by nothing.
# Why do we carry it, then?
# *Guess: with a baseline of 10 instead of the mean reward, how many times larger is the variance
# of a step?* No sampling is needed: there are three arms, so there are three steps.

# %% tags=["trial"] q="gradient"
if written(gradient_step):
    h, pays = np.array([0.5, 0.0, -0.5]), np.array([1.0, 2.0, 3.0])
    pi = softmax(h)
    print("baseline            mean step                variance")
    for baseline in (0.0, float(pi @ pays), 10.0):
        steps = np.array([gradient_step(h, a, pays[a], baseline, 1.0) - h for a in range(3)])
        mean = pi @ steps
        variance = pi @ ((steps - mean) ** 2).sum(axis=1)
        print(f"{baseline:8.2f}   {np.array2string(mean, precision=4):>30s}   {variance:9.3f}")

# %% [markdown]
# ## 5. The exact price
#
# Two arms pay one with chance `p[0]` and `p[1]`, else zero.
# ε-greedy plays them; an arm that was never pulled is hoped to pay 1.
# All that it knows after $k$ pulls are four whole numbers: successes and failures of both arms.
# So keep a **distribution over these four numbers**, push it forward one pull at a time, and count
# what is lost.
#
# Write `exact_regret(p, epsilon, steps) -> [steps]`: the expected regret after 1, 2, ..., `steps`
# pulls. No random numbers.
#
# A dictionary is enough: the key `(s0, f0, s1, f1)`, the value its probability.
# A pull splits each key into four: which arm, and success or not.
#
# By hand: $p = (0.8, 0.4)$ and ε = 0.
# The first pull is a coin toss, ½ · 0.4 = 0.2 lost.
# If arm 0 was tried and paid (0.4), both means are 1: a coin toss again, 0.2 lost.
# If arm 0 failed (0.1), arm 1 is pulled: 0.4 lost.
# If arm 1 paid (0.2), a coin toss: 0.2; if it failed (0.3), arm 0: nothing.
# Together 0.08 + 0.04 + 0.04 = 0.16, so the regret after two pulls is 0.36.


# %% tags=["task"] q="regret"
def exact_regret(p, epsilon, steps):
    """Expected regret `[steps]` of epsilon-greedy on two Bernoulli arms of chances `p`."""
    # BEGIN SOLUTION
    known = {(0, 0, 0, 0): 1.0}
    lost = np.zeros(steps)
    for t in range(steps):
        following = {}
        for (s0, f0, s1, f1), probability in known.items():
            estimates = [s0 / (s0 + f0) if s0 + f0 else 1.0, s1 / (s1 + f1) if s1 + f1 else 1.0]
            pulls = chances(np.array(estimates), epsilon)
            for arm in (0, 1):
                weight = probability * pulls[arm]
                lost[t] += weight * (max(p) - p[arm])
                for success, chance in ((1, p[arm]), (0, 1 - p[arm])):
                    if weight * chance == 0:
                        continue
                    key = [s0, f0, s1, f1]
                    key[2 * arm + (1 - success)] += 1
                    key = tuple(key)
                    following[key] = following.get(key, 0.0) + weight * chance
        known = following
    return lost.cumsum()
    # END SOLUTION


# %% tags=["test"] q="regret" points=2
def test_regret_of_two_pulls(exact_regret):
    """Chances 0.8 and 0.4, greedy: 0.2 is lost by the first pull, 0.36 by two."""
    expect(
        exact_regret(np.array([0.8, 0.4]), 0.0, 2),
        [0.2, 0.36],
        look="the hand calculation above: what each of the four outcomes makes of the next pull",
    )
    expect(
        exact_regret(np.array([0.5, 1.0]), 1.0, 3),
        [0.25, 0.5, 0.75],
        look="epsilon = 1: a coin toss for ever; and which arm is the best one",
    )


# %% tags=["test"] q="regret" points=1 hidden=true
def test_regret_by_all_histories(exact_regret, rng):
    """The same by walking through every history of pulls and clicks, and by dynamic programming."""
    from itertools import product

    from rlcourse.algorithms.bandit_oracles import CHANCES, exact_play

    steps = 5
    for _ in range(2):
        p, epsilon = rng.uniform(0.1, 0.9, size=2), float(rng.uniform(0.1, 0.6))
        wanted = np.zeros(steps)
        for history in product(range(4), repeat=steps):  # 2 * arm + click
            weight, clicks, pulls = 1.0, [0, 0], [0, 0]
            for move in history:
                arm, click = divmod(move, 2)
                mean = [clicks[i] / pulls[i] if pulls[i] else 1.0 for i in (0, 1)]
                likes = [mean[0] > mean[1], mean[1] > mean[0]]
                greedy = 0.5 if mean[0] == mean[1] else float(likes[arm])
                weight *= (1 - epsilon) * greedy + epsilon / 2
                weight *= p[arm] if click else 1 - p[arm]
                pulls[arm] += 1
                clicks[arm] += click
            wanted += weight * np.cumsum([p.max() - p[move // 2] for move in history])
        expect(
            exact_regret(p, epsilon, steps),
            wanted,
            look="every split of a key, and its probability",
            what=f"exact_regret({p.round(3)}, {epsilon:.2f}, {steps})",
        )
    p = rng.uniform(0.2, 0.9, size=2)
    best = 20 * p.max() - exact_play(20, CHANCES["epsilon_greedy"], (p[0], p[1])).values[0, 0, 0, 0]
    got = exact_regret(p, 0.1, 20)
    if np.shape(got) != (20,):
        fail(f"expected 20 numbers, got shape {np.shape(got)}")
    expect(got[-1], best, look="longer games: equal keys must be added up", what="20 pulls")


# %% tags=["mutant"] q="regret" kills="test_regret_of_two_pulls test_regret_by_all_histories"
def exact_regret(p, epsilon, steps):
    """Plays with the expected counts instead of their distribution: luck is averaged away."""
    wins, pulls, lost = np.zeros(2), np.zeros(2), np.zeros(steps)
    for t in range(steps):
        estimates = np.where(pulls > 0, wins / np.maximum(pulls, 1e-12), 1.0)
        pi = np.asarray(chances(estimates, epsilon))
        wins, pulls = wins + pi * p, pulls + pi
        lost[t] = pi @ (max(p) - np.asarray(p))
    return lost.cumsum()


# %% tags=["mutant"] q="regret" kills="test_regret_of_two_pulls test_regret_by_all_histories"
def exact_regret(p, epsilon, steps):
    """Later paths overwrite earlier ones that lead to the same counts: probability gets lost."""
    known, lost = {(0, 0, 0, 0): 1.0}, np.zeros(steps)
    for t in range(steps):
        following = {}
        for key, probability in known.items():
            estimates = [
                key[2 * i] / (key[2 * i] + key[2 * i + 1]) if key[2 * i] + key[2 * i + 1] else 1.0
                for i in (0, 1)
            ]
            pulls = chances(np.array(estimates), epsilon)
            for arm in (0, 1):
                lost[t] += probability * pulls[arm] * (max(p) - p[arm])
                for success in (1, 0):
                    new = list(key)
                    new[2 * arm + 1 - success] += 1
                    chance = p[arm] if success else 1 - p[arm]
                    following[tuple(new)] = probability * pulls[arm] * chance
        known = following
    return lost.cumsum()


# %% tags=["mutant"] q="regret" kills="test_regret_of_two_pulls test_regret_by_all_histories"
def exact_regret(p, epsilon, steps):
    """Regret against the luckier arm of the mean, not against the best one."""
    known, lost = {(0, 0, 0, 0): 1.0}, np.zeros(steps)
    for t in range(steps):
        following = {}
        for key, probability in known.items():
            estimates = [
                key[2 * i] / (key[2 * i] + key[2 * i + 1]) if key[2 * i] + key[2 * i + 1] else 1.0
                for i in (0, 1)
            ]
            pulls = chances(np.array(estimates), epsilon)
            for arm in (0, 1):
                lost[t] += probability * pulls[arm] * (np.mean(p) - p[arm])
                for success in (1, 0):
                    new = list(key)
                    new[2 * arm + 1 - success] += 1
                    chance = p[arm] if success else 1 - p[arm]
                    new = tuple(new)
                    following[new] = following.get(new, 0) + probability * pulls[arm] * chance
        known = following
    return lost.cumsum()


# %% [markdown]
# Now look at what nobody sees in a log.
# Chances 0.9 and 0.6, three values of ε, no sampling: the curves are exact.
# *Before you run it: which ε has the least regret after 30 pulls? Which of them loses least with
# pull 30 alone? In which share of all runs is greedy still at the wrong arm?*

# %% tags=["trial"] q="regret"
if written(exact_regret):
    p, steps, ends = np.array([0.9, 0.6]), 30, []
    fig, panel = new_figure(height=3.2)
    print("epsilon   regret after 10, 20, 30 pulls   lost by pull 30 alone")
    for colour, epsilon in zip(COLOURS, (0.0, 0.1, 0.5), strict=False):
        curve = np.asarray(exact_regret(p, epsilon, steps))
        panel.plot(np.arange(1, steps + 1), curve, color=colour, label=f"ε = {epsilon}, exact")
        print(f"{epsilon:7}   {curve[9]:10.3f}{curve[19]:9.3f}{curve[29]:9.3f}"
              f"{curve[29] - curve[28]:20.4f}")  # fmt: skip
        ends.append(f"{curve[-1]:.2f} for epsilon {epsilon}")
    panel.set(xlabel="pulls", ylabel="expected regret (clicks)")
    panel.legend(fontsize=9)
    display(show_figure(fig, alt="Exact regret after 30 pulls: " + ", ".join(ends)))

# %% [markdown]
# ## 6. Yours: a picture and five sentences
#
# **The picture (2 points).** Simulate ε-greedy with *your* `chances` and `pick` on chances 0.9 and
# 0.6, ε of your choice, 300 pulls, at least five seeds.
# Draw every run thin, their mean thick, and on top of it the exact curve for as many pulls as
# your patience allows.
# Axes with names and units.
#
# **The sentences (4 points).** Take ε = 0.
# Every estimate is an honest mean, and yet the regret of pull 1000 is not zero.
# (a) What must have happened in the runs that still lose? (b) Give a number from your own runs or
# from `exact_regret` that shows it. (c) Would more pulls repair it? Would ε = 0.01?

# %%
# Your picture.

# %% [markdown]
# *Your sentences.*

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Timing.** Mean 5 minutes, choice 12, bound 15, gradient 12, regret 15; the picture and the
# sentences are homework if the hour is short.
#
# **What goes wrong.**
#
# - `pick` with `side="left"`: invisible in any histogram, wrong for an arm without a chance.
# - kl with its arguments swapped. The picture still looks fine; the closed form of an arm without
#   a success does not.
# - The baseline with the wrong sign passes every test of the *mean*. Let somebody explain why,
#   then let them look at the variance. It is the best five minutes of this lab.
# - `exact_regret` by "expected counts". It gives smooth curves, and it is wrong from the second
#   pull on: the expectation of a maximum is not the maximum of expectations.
# - Overwriting a key instead of adding to it: probabilities no longer sum to one. Tell students to
#   print that sum.
#
# **Sentences, full marks.** (a) The better arm was unlucky early, its mean fell below the other
# one's true chance, and greedy never pulls it again: an unbiased mean that is never updated stays
# wrong. (b) The last step of the exact curve for ε = 0 does not fall to zero, or the share of runs
# that never return to arm 0. (c) No; yes, at the price of a straight line of slope ε·gap/2.
#
# **Power.** Nothing here is judged by a sample: every hidden test enumerates, so a right solution
# passes with certainty and each named wrong one fails with certainty. The cell below counts how
# many histories the regret test walks through, and computes the share that the sentences ask for.

# %% tags=["instructor"]
curve = np.asarray(exact_regret(np.array([0.9, 0.6]), 0.0, 40))
share = (curve[-1] - curve[-2]) / 0.3
print(f"histories in the hidden regret test: {2 * 4**5:,}; power 1 by enumeration")
print(f"greedy on chances 0.9, 0.6: pull 40 is still the worse arm in {share:.1%} of all runs")
