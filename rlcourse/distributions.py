r"""Distributions that agents learn or act by, as functions of tensors."""

from __future__ import annotations

from torch import Tensor

__all__ = ["project"]


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
