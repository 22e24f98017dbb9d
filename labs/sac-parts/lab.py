# ---
# lab: sac-parts
# title: Soft actor-critic, part by part
# minutes: 75
# extras: "deep"
# version: 1
# ---

# %% [markdown]
# # Soft actor-critic, part by part
#
# A robot arm leaned against the stop of its joint, and stayed there.
# Nobody had told it to.
# Its policy believed that leaning left it *thirteen nats of freedom* more than it did: a logarithm
# of something that had been rounded to zero was propped up by a small constant, and a small
# constant in a logarithm is a promise.
#
# In soft actor-critic the logarithm of a probability is money.
# It is paid out, discounted, learned by critics and chased by a policy, so each of its terms must
# be right, also where the tanh is flat.
# In this lab you write the four places at which SAC handles that money, and each is checked against
# a calculation by another road: torch's own distributions, differences, integrals.
#
# You need the chapter on soft actor-critic.
# Four tasks, about seventy-five minutes.

# %%
import numpy as np
import torch

# %% [markdown]
# ## Task 1: what an action's probability is
#
# A policy draws a normal number $u$ in each dimension and squashes it into the box from `low` to
# `high`:
#
# $$
# a = \tfrac12(\text{low} + \text{high}) + h \tanh u, \qquad h = \tfrac12(\text{high} - \text{low})
# $$
#
# The density of $a$ is that of $u$, divided by how much $a$ moves when $u$ does:
#
# $$
# \log \pi(a) = \sum_{i=1}^{D} \Bigl[ \log \mathcal N(u_i; \mu_i, \sigma_i) - \log h_i - \log\bigl(1
# - \tanh^2 u_i\bigr) \Bigr]
# $$
#
# Write `log_prob(raw, mean, log_std, low, high)`: `raw` ($u$), `mean` and `log_std` are tensors
# `[B, D]`, `low` and `high` are `[D]`; the result is `[B]`.
#
# By hand, one dimension, a box from $-2$ to $2$, $u = 0$, $\mu = 0$, $\sigma = 1$:
# $-\tfrac12 \log 2\pi - \log 2$.
#
# The trap: for $u = 10$ a float rounds $\tanh u$ to one, and $\log 0$ is minus infinity.
# A small constant inside the logarithm hides that and is wrong.
# There is a way to write $\log(1 - \tanh^2 u)$ that is exact for every $u$; start from
# $1 - \tanh^2 u = 4 / (e^u + e^{-u})^2$.


# %% tags=["task"] q="density"
def log_prob(raw, mean, log_std, low, high):
    """The log-density of the squashed actions that belong to raw numbers, ``[B]``."""
    # BEGIN SOLUTION
    z = (raw - mean) / log_std.exp()
    normal = -0.5 * z**2 - log_std - 0.5 * np.log(2 * np.pi)
    slope = 2 * (np.log(2.0) - raw - torch.nn.functional.softplus(-2 * raw))
    return (normal - ((high - low) / 2).log() - slope).sum(dim=1)
    # END SOLUTION


# %% tags=["test"] q="density" points=1
def test_density_by_hand(log_prob):
    """u = 0 in a box from -2 to 2: -log(2 pi) / 2 - log 2."""
    import torch

    zero, two = torch.zeros((1, 1), dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    got = log_prob(zero, zero, zero, -two, two)
    wanted = -0.5 * np.log(2 * np.pi) - np.log(2)
    expect(got, [wanted], "the width of the box: half of it", what="the middle of the box")
    far = torch.tensor([6.0], dtype=torch.float64)
    got = log_prob(zero, zero, zero, two, far)
    expect(got, [wanted], "a box that does not lie around zero", what="a box from 2 to 6")


# %% tags=["test"] q="density" points=1
def test_density_adds_up(log_prob):
    """Over the whole box the density adds up to one, also in two dimensions."""
    import torch
    from scipy.integrate import trapezoid

    u = np.linspace(-6, 6, 121)
    low, high = np.array([-2.0, 1.0]), np.array([2.0, 4.0])
    a = (low + high) / 2 + (high - low) / 2 * np.tanh(u)[:, None]  # [121, 2]
    first, second = np.meshgrid(u, u, indexing="ij")
    raw = torch.tensor(np.stack([first.ravel(), second.ravel()], axis=1))
    mean = torch.tensor([[0.3, -0.4]], dtype=torch.float64).expand_as(raw)
    log_std = torch.tensor([[-0.5, 0.1]], dtype=torch.float64).expand_as(raw)
    got = log_prob(raw, mean, log_std, torch.tensor(low), torch.tensor(high))
    expect(np.shape(got), (len(raw),), "a sum over the dimensions", what="the shape for [B, 2]")
    density = np.exp(np.asarray(got)).reshape(121, 121)
    mass = trapezoid(trapezoid(density, a[:, 1], axis=1), a[:, 0])
    expect(mass, 1.0, "the slope of the squashing, and the box", 1e-2, "the mass of a box")


# %% tags=["test"] q="density" points=1 hidden=true
def test_density_like_torch(log_prob, rng):
    """Random policies, against torch's own transformed distribution."""
    import torch
    from torch.distributions import Independent, Normal, TransformedDistribution
    from torch.distributions.transforms import AffineTransform, TanhTransform

    for size in (1, 3):
        mean, log_std, noise = (torch.tensor(rng.normal(size=(6, size))) * 0.7 for _ in range(3))
        low, width = torch.tensor(rng.normal(size=size)), torch.tensor(rng.uniform(0.2, 5, size))
        high = low + width
        raw = mean + log_std.exp() * noise
        squash = [TanhTransform(), AffineTransform((low + high) / 2, width / 2)]
        theirs = TransformedDistribution(Normal(mean, log_std.exp()), squash)
        action = (low + high) / 2 + width / 2 * raw.tanh()
        wanted = Independent(theirs, 1).log_prob(action).numpy()
        got = log_prob(raw, mean, log_std, low, high)
        look = "each of the three terms, and the sum over the dimensions"
        expect(got, wanted, look, 1e-5, what=f"six actions of {size} numbers")


# %% tags=["test"] q="density" points=1 hidden=true
def test_density_at_the_wall(log_prob):
    """u = 5, 10, 20, -20 in single precision: finite, exact, and so is the gradient."""
    import torch

    u = np.array([5.0, 10.0, 20.0, -20.0])
    slope = np.log(4) - 2 * abs(u) - 2 * np.log1p(np.exp(-2 * abs(u)))
    wanted = -0.5 * np.log(2 * np.pi) - slope  # a mean of u and a deviation of 1
    raw = torch.tensor(u[:, None], dtype=torch.float32)
    log_std, one = torch.zeros_like(raw), torch.ones(1)
    got, (pull,) = gradient(log_prob, raw, raw.clone(), log_std, -one, one, wrt=(0,))
    look = "the logarithm of a number that was rounded to zero, and constants that hide it"
    expect(got, wanted, look, 1e-3, what="the log-density at u = 5, 10, 20, -20")
    expect(pull[:, 0], 2 * np.tanh(u), look, 1e-3, what="its slope there")


# %% tags=["mutant"] q="density" kills="test_density_at_the_wall"
def log_prob(raw, mean, log_std, low, high):
    """A small constant keeps the logarithm finite, and that is all it does."""
    normal = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw)
    slope = (1 - raw.tanh() ** 2 + 1e-6).log()
    return (normal - ((high - low) / 2).log() - slope).sum(dim=1)


# %% tags=["mutant"] q="density" kills="test_density_by_hand test_density_adds_up test_density_like_torch"
def log_prob(raw, mean, log_std, low, high):
    """Every box goes from -1 to 1."""
    normal = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw)
    slope = 2 * (np.log(2.0) - raw - torch.nn.functional.softplus(-2 * raw))
    return (normal - slope).sum(dim=1)


# %% tags=["mutant"] q="density" kills="test_density_adds_up test_density_like_torch test_density_at_the_wall"
def log_prob(raw, mean, log_std, low, high):
    """The density of the number before it is squashed, spread over the box."""
    normal = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw)
    return (normal - ((high - low) / 2).log()).sum(dim=1)


# %% tags=["mutant"] q="density" kills="test_density_adds_up test_density_like_torch"
def log_prob(raw, mean, log_std, low, high):
    """A mean over the dimensions: an arm with more joints is no less likely."""
    normal = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw)
    slope = 2 * (np.log(2.0) - raw - torch.nn.functional.softplus(-2 * raw))
    return (normal - ((high - low) / 2).log() - slope).mean(dim=1)


# %% tags=["trial"] q="density"
if written(log_prob):
    print("   u    yours, single precision   with 1e-6 in the logarithm    nats too few")
    for u in (1.0, 3.0, 6.0, 8.0, 10.0, 14.0):
        raw, zero, one = torch.tensor([[u]]), torch.zeros((1, 1)), torch.ones(1)
        yours = float(log_prob(raw, raw, zero, -one, one)[0])
        common = float(-0.5 * np.log(2 * np.pi) - (1 - raw.tanh() ** 2 + 1e-6).log())
        print(f"{u:4.0f} {yours:17.3f} {common:25.3f} {yours - common:22.3f}")

# %% [markdown]
# ## Task 2: what a critic should say
#
# $$
# Y = R + \gamma\,(1 - \text{terminated}) \bigl( \min(Q_1, Q_2)(S', A') - \alpha \log \pi(A' \mid
# S') \bigr), \qquad
# \ell = \tfrac12 (Q(S, A) - Y)^2
# $$
#
# Write `critic_loss(q, reward, discount, q1, q2, log_p, alpha)`: all tensors `[B]` but `alpha`, a
# float.
# `q` is what the critic in training says of the action that was taken; `discount` is
# $\gamma(1 - \text{terminated})$; `q1` and `q2` are what the two target critics say of the next
# action, `log_p` is its log-probability.
# The result is `[B]`, and a gradient may flow through `q` alone.
#
# By hand: reward 1, discount $\tfrac12$, critics 6 and 4, $\log \pi = -2$, $\alpha = 0.5$: the
# target is $1 + \tfrac12 (4 + 1) = 3.5$.
# A critic that says 2.5 has the loss $\tfrac12$.


# %% tags=["task"] q="critic"
def critic_loss(q, reward, discount, q1, q2, log_p, alpha):
    """Half the squared error of a critic to its soft target, ``[B]``."""
    # BEGIN SOLUTION
    with torch.no_grad():
        y = reward + discount * (torch.minimum(q1, q2) - alpha * log_p)
    return (q - y) ** 2 / 2
    # END SOLUTION


# %% tags=["test"] q="critic" points=1
def test_critic_by_hand(critic_loss):
    """The targets are 3.5 and, after an end, the reward alone: 1."""
    import torch

    numbers = ([2.5, 4.0], [1.0, 1.0], [0.5, 0.0], [6.0, 6.0], [4.0, 4.0], [-2.0, -2.0])
    given = (torch.tensor(x, dtype=torch.float64) for x in numbers)
    look = "the smaller critic, the sign of the entropy, and what is paid after an end"
    expect(critic_loss(*given, 0.5), [0.5, 4.5], look, what="two transitions, the second an end")


# %% tags=["test"] q="critic" points=1 hidden=true
def test_critic_of_many(critic_loss, rng):
    """Random batches, transition by transition."""
    import torch

    q, reward, q1, q2, log_p = rng.normal(size=(5, 20)) * 2
    discount = np.where(rng.random(20) < 0.3, 0.0, 0.95)
    discount[:2], alpha = [0.0, 0.95], float(rng.uniform(0.1, 2.0))
    wanted = []
    for i in range(20):
        y = reward[i]
        if discount[i]:
            y += discount[i] * (min(q1[i], q2[i]) - alpha * log_p[i])
        wanted.append((q[i] - y) ** 2 / 2)
    given = (torch.tensor(x) for x in (q, reward, discount, q1, q2, log_p))
    look = "the smaller critic of each transition, and what stands inside the discount"
    expect(critic_loss(*given, alpha), wanted, look, what="twenty transitions")


# %% tags=["test"] q="critic" points=1 hidden=true
def test_critic_moves_alone(critic_loss, rng):
    """The gradient pulls the critic in training, and neither its judges nor the policy."""
    import torch

    q, reward, q1, q2, log_p = rng.normal(size=(5, 8)) + 1
    given = [torch.tensor(x) for x in (q, reward, np.full(8, 0.9), q1, q2, log_p)]
    _, slopes = gradient(critic_loss, *given, 0.3, wrt=(0, 3, 4, 5))
    y = reward + 0.9 * (np.minimum(q1, q2) - 0.3 * log_p)
    expect(slopes[0], q - y, "the factor one half", what="the gradient by q")
    names = ("the first judge", "the second judge", "the policy")
    for name, slope in zip(names, slopes[1:], strict=True):
        look = "what is a constant: torch.no_grad() or detach()"
        expect(slope, np.zeros(8), look, what=f"the gradient into {name}")


# %% tags=["mutant"] q="critic" kills="test_critic_by_hand test_critic_of_many test_critic_moves_alone"
def critic_loss(q, reward, discount, q1, q2, log_p, alpha):
    """The larger critic."""
    y = (reward + discount * (torch.maximum(q1, q2) - alpha * log_p)).detach()
    return (q - y) ** 2 / 2


# %% tags=["mutant"] q="critic" kills="test_critic_by_hand test_critic_of_many test_critic_moves_alone"
def critic_loss(q, reward, discount, q1, q2, log_p, alpha):
    """The sign of the entropy: being predictable is paid."""
    y = (reward + discount * (torch.minimum(q1, q2) + alpha * log_p)).detach()
    return (q - y) ** 2 / 2


# %% tags=["mutant"] q="critic" kills="test_critic_by_hand test_critic_of_many test_critic_moves_alone"
def critic_loss(q, reward, discount, q1, q2, log_p, alpha):
    """Entropy is paid now, outside the discount, after an end as well."""
    y = (reward + discount * torch.minimum(q1, q2) - alpha * log_p).detach()
    return (q - y) ** 2 / 2


# %% tags=["mutant"] q="critic" kills="test_critic_moves_alone"
def critic_loss(q, reward, discount, q1, q2, log_p, alpha):
    """Whoever calls it will know where to stop the gradient."""
    y = reward + discount * (torch.minimum(q1, q2) - alpha * log_p)
    return (q - y) ** 2 / 2


# %% [markdown]
# ## Task 3: judges that move slowly
#
# Write `follow(targets, weights, tau)`: two lists of tensors, of equal shapes.
# Each target moves a share `tau` of the way to its weight, **in place**: the tensors of `targets`
# are changed, those of `weights` are not.
# Return a float: the largest distance, over all entries, that is still left.
#
# By hand: target 0, weight 8, `tau` 1/4: after the call the target is 2, and 6 is returned; after
# another, 3.5 and 4.5.


# %% tags=["task"] q="follow"
def follow(targets, weights, tau):
    """Move every target a share tau of the way to its weight, in place; the largest distance left."""
    # BEGIN SOLUTION
    left = 0.0
    with torch.no_grad():
        for target, weight in zip(targets, weights, strict=True):
            target.lerp_(weight, tau)
            left = max(left, float((weight - target).abs().max()))
    return left
    # END SOLUTION


# %% tags=["test"] q="follow" points=1
def test_follow_by_hand(follow):
    """From 0 towards 8 by a quarter: 2, and 6 are left."""
    import torch

    zero, eight = torch.zeros(1, dtype=torch.float64), torch.full((1,), 8.0, dtype=torch.float64)
    said, left = after(follow, [zero], [eight], 0.25)
    look = "whether the tensor itself has changed, and which share is whose"
    expect(left[0][0], [2.0], look, what="the target after one call")
    expect(left[1][0], [8.0], "what was not asked to move", what="the weight after one call")
    expect(said, 6.0, "the way that is left, not the way that was made", what="what is returned")


# %% tags=["test"] q="follow" points=1 hidden=true
def test_follow_lists(follow, rng):
    """Lists of tensors of all shapes, tau 0, 1 and between."""
    import torch

    shapes = ((3, 2), (4,), ())
    for tau in (0.0, 0.005, 0.7, 1.0):
        old, new = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
        given = ([torch.tensor(x) for x in side] for side in (old, new))
        said, left = after(follow, *given, tau)
        distance = max(abs(b - a).max() for a, b in zip(old, new, strict=True))
        expect(
            said, (1 - tau) * distance, "all entries of all tensors", what=f"tau {tau:g}: returned"
        )
        for k, shape in enumerate(shapes):
            what = f"tau {tau:g}, the tensor of shape {shape}"
            look = "at tau 0 nothing moves, at tau 1 the target is the weight"
            expect(left[0][k], (1 - tau) * old[k] + tau * new[k], look, what=f"{what}: target")
            expect(left[1][k], new[k], "what was not asked to move", what=f"{what}: weight")


# %% tags=["mutant"] q="follow" kills="test_follow_by_hand test_follow_lists"
def follow(targets, weights, tau):
    """The shares are swapped: with a small tau the target is nearly the weight."""
    with torch.no_grad():
        for target, weight in zip(targets, weights, strict=True):
            target.lerp_(weight, 1 - tau)
    return max(float((w - t).abs().max()) for t, w in zip(targets, weights, strict=True))


# %% tags=["mutant"] q="follow" kills="test_follow_by_hand test_follow_lists"
def follow(targets, weights, tau):
    """New tensors under an old name: nobody's network has changed."""
    left = 0.0
    for target, weight in zip(targets, weights, strict=True):
        target = (1 - tau) * target + tau * weight
        left = max(left, float((weight - target).abs().max()))
    return left


# %% tags=["mutant"] q="follow" kills="test_follow_by_hand test_follow_lists"
def follow(targets, weights, tau):
    """The weights go to the targets."""
    with torch.no_grad():
        for target, weight in zip(targets, weights, strict=True):
            weight.lerp_(target, tau)
    return max(float((w - t).abs().max()) for t, w in zip(targets, weights, strict=True))


# %% [markdown]
# A world with one room and no end, in which nothing is ever paid.
# The policy draws evenly from the box $[-1, 1]$: $\log 2$ nats of freedom a step, at $\alpha = 1$.
# Your loss and your slow judge learn what that is worth at $\gamma = 0.9$; the critics are two
# numbers, with noise.
# **Predict** the exact value.
# Will the smaller critic settle on it, above it or below it, and what does a small `tau` do to the
# noise and to the time?

# %% tags=["trial"] q="follow"
if written(critic_loss, follow):
    from IPython.display import display

    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    def freedom(tau, seed, updates=600, rate=0.3, every=20):
        """The smaller critic's value while it learns, ``[points]``."""
        dice = torch.Generator().manual_seed(seed)
        critics = [torch.zeros(2, dtype=torch.float64)]
        targets, curve = [torch.zeros(2, dtype=torch.float64)], []
        both = torch.ones(2, dtype=torch.float64)
        for update in range(updates):
            if update % every == 0:
                curve.append(float(critics[0].min()))
            q = critics[0].clone().requires_grad_()
            q1, q2 = targets[0][[0, 0]], targets[0][[1, 1]]  # both critics have one target
            loss = critic_loss(q, 0 * both, 0.9 * both, q1, q2, -np.log(2) * both, 1.0)
            (slope,) = torch.autograd.grad(loss.sum(), q)
            noise = 0.3 * torch.randn(2, generator=dice, dtype=torch.float64)
            critics[0] -= rate * (slope - noise)
            follow(targets, critics, tau)
        return curve

    exact = 0.9 * np.log(2) / (1 - 0.9)
    fig, axes = new_figure(height=3.2)
    said = []
    for colour, tau in zip(COLOURS, (1.0, 0.1, 0.03)):
        curves = np.array([freedom(tau, seed) for seed in range(5)])
        learning_curves(axes, 20 * np.arange(30), curves, label=f"tau {tau:g}", colour=colour)
        late = curves[:, 20:].mean(axis=1)
        said.append(f"tau {tau:g} {late.mean():.2f}, from {late.min():.2f} to {late.max():.2f}")
        print(f"last third, {said[-1]}; exact {exact:.2f}")
    axes.axhline(exact, linestyle="--", linewidth=1.2, color="gray")
    axes.set(xlabel="updates", ylabel="soft value, the smaller critic's")
    axes.legend(fontsize=9, loc="lower right")
    display(
        show_figure(
            fig,
            alt=f"Soft value against updates; exact {exact:.2f}. In the last third: "
            f"{'; '.join(said)}.",
        )
    )

# %% [markdown]
# Below: of two numbers that are noisy and equal the smaller one is too small, and it is that one
# which is learned from.
# A slow judge averages the noise away before it speaks, and makes you wait.
#
# ## Task 4: a policy that feels the slope
#
# The policy goes down $\alpha \log \pi(A) - \min_i Q_i(A)$ *through the action that it draws*: the
# noise is drawn first, the action is a function of it, and the gradient flows along.
#
# Here the two critics are known hills, $Q_i(a) = -\sum_d (a_d - \text{peak}_{i,d})^2$, and the
# noise is handed to you.
# Write `actor_loss(mean, log_std, noise, low, high, peaks, alpha)`: `mean`, `log_std` and `noise`
# are `[B, D]`, the box `[D]`, `peaks` `[2, D]`, `alpha` a float; the result is `[B]`.
# $u = \text{mean} + \sigma \cdot \text{noise}$, the action is $u$ squashed, its log-probability
# comes from Task 1.
#
# By hand, one dimension, box $[-1, 1]$, mean, log-deviation and noise 0, $\alpha = 0$, peaks at $1$
# and $\tfrac12$: the action is 0, the critics say $-1$ and $-\tfrac14$, the loss is 1.
# Its gradient by the mean is $-2$: towards the peak of the critic that speaks.


# %% tags=["task"] q="actor"
def actor_loss(mean, log_std, noise, low, high, peaks, alpha):
    """alpha log pi(A) - min Q(A) for actions drawn with the given noise, ``[B]``."""
    # BEGIN SOLUTION
    raw = mean + log_std.exp() * noise
    action = (low + high) / 2 + (high - low) / 2 * raw.tanh()
    q = -((action - peaks[:, None]) ** 2).sum(dim=2)  # [2, B]
    return alpha * log_prob(raw, mean, log_std, low, high) - q.min(dim=0).values
    # END SOLUTION


# %% tags=["test"] q="actor" points=1
def test_actor_by_hand(actor_loss):
    """Peaks at 1 and 1/2, action 0: the loss is 1."""
    import torch

    zero, one = torch.zeros((1, 1), dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    peaks = torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    got = actor_loss(zero, zero, zero, -one, one, peaks, 0.0)
    expect(got, [1.0], "the smaller critic, and the sign", what="one action, alpha 0")
    got = actor_loss(zero, zero, zero, -one, one, peaks, 2.0)
    wanted = 1.0 - np.log(2 * np.pi)
    expect(got, [wanted], "alpha times the log-probability of Task 1", what="one action, alpha 2")


# %% tags=["test"] q="actor" points=1
def test_actor_slope_by_hand(actor_loss):
    """Its gradient by the mean is -2; with noise 1 the deviation is pulled as well."""
    import torch

    zero, one = torch.zeros((1, 1), dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    peaks = torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    _, slopes = gradient(actor_loss, zero, zero, zero, -one, one, peaks, 0.0, wrt=(0, 1))
    look = "whether the gradient flows through the action into the critic's hill"
    expect(slopes[0], [[-2.0]], look, what="the slope by the mean")
    expect(slopes[1], [[0.0]], "what the deviation is multiplied with", what="by the deviation")


# %% tags=["test"] q="actor" points=1 hidden=true
def test_actor_values(actor_loss, rng):
    """Random policies and hills, sample by sample."""
    import torch
    from scipy.stats import norm

    mean, log_std, noise = rng.normal(size=(3, 12, 2)) * 0.6
    low, high = np.array([-2.0, 0.0]), np.array([2.0, 3.0])
    peaks, alpha, wanted = rng.normal(size=(2, 2)), float(rng.uniform(0.2, 1.0)), []
    half = (high - low) / 2
    for i in range(12):
        u = mean[i] + np.exp(log_std[i]) * noise[i]
        a = (low + high) / 2 + half * np.tanh(u)
        p = norm.pdf(u, mean[i], np.exp(log_std[i])) * np.cosh(u) ** 2 / half
        q = min(-((a - peak) ** 2).sum() for peak in peaks)
        wanted.append(alpha * np.log(p.prod()) - q)
    given = (torch.tensor(x) for x in (mean, log_std, noise, low, high, peaks))
    look = "the action in the box, the smaller critic of each sample, and alpha"
    expect(actor_loss(*given, alpha), wanted, look, 1e-5, what="twelve actions of two numbers")


# %% tags=["test"] q="actor" points=2 hidden=true
def test_actor_slopes(actor_loss, rng):
    """Gradients by mean and deviation, against differences of the loss worked out by hand."""
    import torch
    from scipy.stats import norm

    mean, log_std, noise = rng.normal(size=(3, 6, 2)) * 0.6
    low, high = np.array([-1.0, -1.0]), np.array([1.0, 3.0])
    peaks, alpha = rng.normal(size=(2, 2)), 0.4
    half = (high - low) / 2

    def loss(mean, log_std):
        u = mean + np.exp(log_std) * noise
        a = (low + high) / 2 + half * np.tanh(u)
        log_p = norm.logpdf(u, mean, np.exp(log_std)) + 2 * np.log(np.cosh(u)) - np.log(half)
        q = np.min(-((a[None] - peaks[:, None]) ** 2).sum(axis=2), axis=0)
        return (alpha * log_p.sum(axis=1) - q).sum()

    h, wanted = 1e-6, []
    for which in range(2):
        slope = np.zeros((6, 2))
        for index in np.ndindex(6, 2):
            sides = []
            for sign in (1, -1):
                moved = [mean.copy(), log_std.copy()]
                moved[which][index] += sign * h
                sides.append(loss(*moved))
            slope[index] = (sides[0] - sides[1]) / (2 * h)
        wanted.append(slope)
    given = [torch.tensor(x) for x in (mean, log_std, noise, low, high, peaks)]
    _, slopes = gradient(actor_loss, *given, alpha, wrt=(0, 1))
    for name, slope, right in zip(("mean", "log-deviation"), slopes, wanted, strict=True):
        look = "every road by which it reaches the loss: the action, and the log-probability"
        expect(slope, right, look, 1e-4, what=f"the gradient by the {name}")


# %% tags=["mutant"] q="actor" kills="test_actor_slope_by_hand test_actor_slopes"
def actor_loss(mean, log_std, noise, low, high, peaks, alpha):
    """The action is data: no gradient goes through it, as in REINFORCE."""
    raw = mean + log_std.exp() * noise
    action = ((low + high) / 2 + (high - low) / 2 * raw.tanh()).detach()
    q = -((action - peaks[:, None]) ** 2).sum(dim=2)
    return alpha * log_prob(raw.detach(), mean, log_std, low, high) - q.min(dim=0).values


# %% tags=["mutant"] q="actor" kills="test_actor_slopes"
def actor_loss(mean, log_std, noise, low, high, peaks, alpha):
    """The log-probability is a price, and prices are constants."""
    raw = mean + log_std.exp() * noise
    action = (low + high) / 2 + (high - low) / 2 * raw.tanh()
    q = -((action - peaks[:, None]) ** 2).sum(dim=2)
    return alpha * log_prob(raw, mean, log_std, low, high).detach() - q.min(dim=0).values


# %% tags=["mutant"] q="actor" kills="test_actor_slope_by_hand test_actor_values test_actor_slopes"
def actor_loss(mean, log_std, noise, low, high, peaks, alpha):
    """The friendlier critic."""
    raw = mean + log_std.exp() * noise
    action = (low + high) / 2 + (high - low) / 2 * raw.tanh()
    q = -((action - peaks[:, None]) ** 2).sum(dim=2)
    return alpha * log_prob(raw, mean, log_std, low, high) - q.max(dim=0).values


# %% tags=["mutant"] q="actor" kills="test_actor_values test_actor_slopes"
def actor_loss(mean, log_std, noise, low, high, peaks, alpha):
    """The critics are shown the number before it is squashed."""
    raw = mean + log_std.exp() * noise
    q = -((raw - peaks[:, None]) ** 2).sum(dim=2)
    return alpha * log_prob(raw, mean, log_std, low, high) - q.min(dim=0).values


# %% tags=["mutant"] q="actor" kills="test_actor_by_hand test_actor_values test_actor_slopes"
def actor_loss(mean, log_std, noise, low, high, peaks, alpha):
    """Entropy is what the loss is made of, so it is minimised as well."""
    raw = mean + log_std.exp() * noise
    action = (low + high) / 2 + (high - low) / 2 * raw.tanh()
    q = -((action - peaks[:, None]) ** 2).sum(dim=2)
    return -alpha * log_prob(raw, mean, log_std, low, high) - q.min(dim=0).values


# %% [markdown]
# ## What the projection costs
#
# One state, one number to choose in $[-1, 1]$, critics with peaks at $-0.3$ and $0.5$.
# The best that *any* density could get is $\alpha \log \int e^{Q(a)/\alpha}\,da$, an integral.
# Yours is a squashed normal, trained with your loss and 16 draws a step; what it gets is an
# integral, too.
# The difference is $\alpha$ times a divergence: the price of the family, and of learning.
# **Predict**: does that price, in *nats*, grow or shrink when the temperature rises?

# %% tags=["trial"] q="actor"
if written(log_prob, actor_loss):
    from IPython.display import display
    from scipy.integrate import trapezoid

    from rlcourse.plotting import COLOURS, learning_curves, new_figure, show_figure

    PEAKS, ONE = torch.tensor([[-0.3], [0.5]]), torch.ones(1)
    grid = np.linspace(-1, 1, 4001)
    hills = np.min([-((grid - p) ** 2) for p in (-0.3, 0.5)], axis=0)
    z = np.linspace(-5, 5, 401)
    even = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()

    def price(alpha, seed, updates=240, every=12):
        """Nats by which the policy falls short of the best density, while it learns."""
        best = alpha * np.log(trapezoid(np.exp(hills / alpha), grid))
        dice, knobs = torch.Generator().manual_seed(seed), torch.tensor([1.0, -1.0])
        knobs.requires_grad_()
        adam, curve = torch.optim.Adam([knobs], lr=0.05), []
        everywhere = torch.tensor(z[:, None], dtype=torch.float32)

        def loss(noise):
            both = [knob.expand(len(noise), 1) for knob in knobs]
            return actor_loss(*both, noise, -ONE, ONE, PEAKS, alpha)

        for update in range(updates):
            if update % every == 0:
                with torch.no_grad():
                    curve.append((best + even @ np.asarray(loss(everywhere))) / alpha)
            adam.zero_grad()
            loss(torch.randn((16, 1), generator=dice)).mean().backward()
            adam.step()
        return curve

    fig, axes = new_figure(height=3.2)
    said = []
    for colour, alpha in zip(COLOURS, (0.01, 0.1, 1.0)):
        curves = np.array([price(alpha, seed) for seed in range(5)])
        learning_curves(axes, 12 * np.arange(20), curves, label=f"alpha {alpha:g}", colour=colour)
        late = curves[:, -5:].mean(axis=1)
        said.append(
            f"alpha {alpha:g}: {late.mean():.3f}, from {late.min():.3f} to {late.max():.3f}"
        )
        print(f"nats short in the end, {said[-1]}")
    axes.set(xlabel="updates", ylabel="nats short of the best", yscale="log")
    axes.legend(fontsize=9)
    display(
        show_figure(
            fig,
            alt="Nats by which a squashed normal falls short of the best density, "
            f"against updates. In the end: {'; '.join(said)}.",
        )
    )

# %% [markdown]
# ## In your own words (4 points, marked by hand)
#
# Someone writes $\log(1 - \tanh^2 u + 10^{-6})$ and says: "it makes no difference, my curves are
# fine." When is he right, and when does it cost money, whose, and in which direction?
# At most ten sentences, with at least two numbers from *your own run* and what each of them shows.
#
# *Your answer:*
#
# ## Your figure (2 points, marked by hand)
#
# How long must one wait for a slow judge?
# For at least five values of `tau` between 0.01 and 1 and at least five seeds each, measure with
# `freedom` (a few thousand updates) after how many updates the value first passes *half* of the
# exact one.
# One figure: that number against `tau`, with the spread over the seeds.

# %%
# Your figure: code here.

# %% [markdown] tags=["instructor"]
# ## For the instructor
#
# **Time.** Task 1: 20 minutes (the identity at the wall takes most of it). Task 2: 8. Task 3: 10.
# Task 4: 17.
# Text and figure: 20.
#
# **What goes wrong.** Task 1: the small constant; half the width of the box; the sum over the
# dimensions.
# Task 2: the entropy outside the discount, which no pendulum ever shows.
# Task 3: `target = ...` inside a loop binds a name.
# Task 4: the log-probability reaches the mean by two roads, through $u$ and directly; for the mean
# they cancel in the normal part and leave the tanh's, and a `detach()` on either one breaks it.
#
# **At the end.** Ask in which direction the constant errs, and have them read the last column of
# the first table: the density is reported too small, so the entropy is too large, and going further
# into the wall costs nothing.
# That is why the arm leaned there.
