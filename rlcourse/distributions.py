r"""Distributions that agents learn or act by, as functions of tensors.

Both kinds of policy draw a *raw* action and know its log-probability; ``act`` turns the raw action into the
one that an environment takes. Learners store the raw one: an action that was squashed, stored and taken
apart again has lost digits where the tanh is flat, and its probability with them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rlcourse.errors import DivergenceError

__all__ = ["Categorical", "SquashedNormal", "project"]


class Categorical:
    """One of ``K`` actions. The raw action is its number.

    Args:
        logits: ``[B, K]``.

    >>> one = Categorical(torch.tensor([[0.0, math.log(3.0)]]))
    >>> one.log_prob(torch.tensor([1])).exp(), one.entropy()
    (tensor([0.7500]), tensor([0.5623]))
    """

    def __init__(self, logits: Tensor) -> None:
        self.log_p = logits.log_softmax(dim=-1)  # [B, K]

    def sample(self, generator: torch.Generator) -> Tensor:
        """Raw actions ``[B]``."""
        try:
            return torch.multinomial(self.log_p.exp(), 1, generator=generator).squeeze(-1)
        except RuntimeError as error:
            bad = int((~torch.isfinite(self.log_p).all(dim=-1)).sum())
            raise DivergenceError(
                f"probabilities: must be finite, but {bad} of {len(self.log_p)} rows are not: the "
                "observations (or the weights) are not finite; look at the environment"
            ) from error

    def mode(self) -> Tensor:
        """The most probable raw actions, ``[B]``."""
        return self.log_p.argmax(dim=-1)

    def log_prob(self, raw: Tensor) -> Tensor:
        """``[B]``."""
        return self.log_p.gather(-1, raw[..., None]).squeeze(-1)

    def entropy(self) -> Tensor:
        """In nats, ``[B]``."""
        return -(self.log_p.exp() * self.log_p).sum(dim=-1)

    def act(self, raw: Tensor) -> Tensor:
        """What the environment takes, ``[B]``."""
        return raw


class SquashedNormal:
    r"""Actions in a box: a normal number, squashed by tanh and stretched to the box (Haarnoja et al. 2018, app. C).

    With :math:`a = m + h \tanh u`, :math:`u \sim \mathcal N(\mu, \sigma^2)`, where :math:`m` is the middle and
    :math:`h` half the width of the box, the density of :math:`a` is

    .. math:: \log \pi(a) = \log \mathcal N(u; \mu, \sigma) - \log h - \log(1 - \tanh^2 u)

    summed over the dimensions of the action. The raw action is :math:`u`.

    Args:
        mean: ``[B, D]``.
        log_std: ``[B, D]`` or ``[D]``.
        low: ``[D]``.
        high: ``[D]``.

    >>> wide = SquashedNormal(torch.zeros(1, 1), torch.zeros(1), torch.tensor([-2.0]), torch.tensor([2.0]))
    >>> wide.act(torch.tensor([[0.0], [50.0]])).flatten()
    tensor([0., 2.])
    >>> wide.log_prob(torch.zeros(1, 1)).exp()  # 0.3989, spread over twice the width
    tensor([0.1995])
    """

    def __init__(self, mean: Tensor, log_std: Tensor, low: Tensor, high: Tensor) -> None:
        self.mean, self.log_std = mean, log_std.expand_as(mean)
        self.low, self.high = low, high
        self.middle, self.half = (low + high) / 2, (high - low) / 2

    def sample(self, generator: torch.Generator) -> Tensor:
        """Raw actions ``[B, D]``, through which a gradient flows to mean and deviation."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        """The raw action in the middle, ``[B, D]``."""
        return self.mean

    def log_prob(self, raw: Tensor) -> Tensor:
        """Of the *squashed* actions, ``[B]``."""
        z = (raw - self.mean) / self.log_std.exp()
        normal = -0.5 * z**2 - self.log_std - 0.5 * math.log(2 * math.pi)
        return (normal - self._log_slope(raw)).sum(dim=-1)

    def entropy(self) -> Tensor:
        """Of the normal numbers before they are squashed, in nats, ``[B]``; after it there is no closed form."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(dim=-1)

    def act(self, raw: Tensor) -> Tensor:
        """What the environment takes, ``[B, D]``, inside the box."""
        action = self.middle + self.half * raw.tanh()
        return torch.clamp(action, self.low, self.high)  # a rounding may leave the box

    def _log_slope(self, raw: Tensor) -> Tensor:
        """The logarithm of da/du. Written so that it does not vanish where the tanh is flat."""
        return self.half.log() + 2 * (math.log(2.0) - raw - softplus(-2 * raw))


def project(probabilities: Tensor, atoms: Tensor, support: Tensor) -> Tensor:
    r"""Move a distribution on ``atoms`` to the evenly spaced ``support`` (Bellemare et al. 2017, equation 7).

    The probability of an atom between two points of the support is shared between them, the nearer one
    getting more; beyond the ends it goes to the end. What is on the support keeps its mean.

    Args:
        probabilities: ``[B, K]``.
        atoms: where they lie, ``[B, K]``, such as :math:`R + \gamma z`.
        support: ``[M]``, ascending, evenly spaced.

    Returns:
        Probabilities on the support, ``[B, M]``.

    >>> import torch
    >>> half = torch.tensor([[0.5, 0.5]])
    >>> project(half, torch.tensor([[0.25, 3.0]]), torch.tensor([0.0, 1.0, 2.0]))
    tensor([[0.3750, 0.1250, 0.5000]])
    """
    assert probabilities.shape == atoms.shape and probabilities.ndim == 2
    spacing = (support[-1] - support[0]) / (len(support) - 1)
    place = (atoms.clamp(support[0], support[-1]) - support[0]) / spacing  # [B, K], in 0 .. M-1
    place = place.clamp(0, len(support) - 1)  # rounding
    below = place.floor()
    upper = place - below  # the share of the point above
    projected = probabilities.new_zeros(len(probabilities), len(support))
    projected.scatter_add_(1, below.long(), probabilities * (1 - upper))
    projected.scatter_add_(1, place.ceil().long(), probabilities * upper)
    return projected
