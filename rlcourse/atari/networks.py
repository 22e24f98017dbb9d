"""Networks that look at stacks of pictures: Mnih et al.'s, and one for two processor cores.

Pictures come as bytes ``[B, stack, height, width]`` and are centred and scaled on the way in. Pong's background
is a constant 87 and its ball one pixel: divided by 255 nearly all that a network sees is the background.
Numbers lie channels last in memory, which makes training on a processor up to half again as fast; and it is the
weights of the first convolution that are centred: done to the pictures it costs nearly as much as a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn
from torch.nn import functional

from rlcourse.distributions import Categorical
from rlcourse.errors import InvalidArgumentError
from rlcourse.networks import ModePolicy, Plain

__all__ = [
    "LAYERS",
    "Agent",
    "CentredConv2d",
    "ChannelsLast",
    "Eye",
    "eye",
    "parameters",
    "q_network",
]

# Of each convolution its outputs, its window and how far that moves; and the width of what follows.
LAYERS: dict[str, tuple[tuple[tuple[int, int, int], ...], int]] = {
    "nature": (((32, 8, 4), (64, 4, 2), (64, 3, 1)), 512),  # Mnih et al. 2015
    "mnih2013": (((16, 8, 4), (32, 4, 2)), 256),  # Mnih et al. 2013
    "small": (((16, 4, 2), (32, 4, 2)), 128),  # for pictures of some 42 x 42 pixels
}


class ChannelsLast(nn.Module):
    """Bytes as they are, in floating point and channels last."""

    def forward(self, pictures: Tensor) -> Tensor:
        """``[B, stack, height, width]``, the same shape."""
        # Turned as bytes: a fourth of what floats would move.
        return torch.stack(pictures.unbind(1), dim=-1).float().permute(0, 3, 1, 2)


class CentredConv2d(nn.Conv2d):
    """A convolution of ``(x - centre) / scale`` that leaves ``x`` alone: it moves its weights, which are few.

    >>> plain, centred = nn.Conv2d(4, 16, 4), CentredConv2d(4, 16, 4, centre=87.0, scale=32.0)
    >>> centred.load_state_dict(plain.state_dict())
    <All keys matched successfully>
    >>> x = torch.randint(256, (2, 4, 9, 9)).float()
    >>> torch.allclose(centred(x), plain((x - 87) / 32), atol=1e-5)
    True
    """

    def __init__(self, *sizes: int, centre: float, scale: float) -> None:
        super().__init__(*sizes)  # type: ignore[arg-type]
        self.centre, self.scale = centre, scale

    def forward(self, pictures: Tensor) -> Tensor:
        """``[B, channels, height, width]`` to planes."""
        assert self.bias is not None
        weight = self.weight / self.scale
        bias = self.bias - self.centre * weight.sum(dim=(1, 2, 3))
        return functional.conv2d(pictures, weight, bias, self.stride)


class Eye(nn.Sequential):
    """Layers from pictures to features; without gradients by pieces: large new arrays cost more than their sums."""

    piece = 256  # pictures

    def forward(self, pictures: Tensor) -> Tensor:
        """``[B, stack, height, width]`` to ``[B, width]``."""
        layers: Callable[[Tensor], Tensor] = super().forward
        if torch.is_grad_enabled() or len(pictures) <= self.piece:
            return layers(pictures)
        return torch.cat([layers(part) for part in torch.split(pictures, self.piece)])


def eye(
    observations: Box, layers: str = "nature", *, centre: float = 0.0, scale: float = 255.0
) -> tuple[Eye, int]:
    """Layers from pictures to features, and how many features there are.

    >>> body, width = eye(Box(0, 255, (4, 84, 84), "uint8"))
    >>> body(torch.zeros(2, 4, 84, 84, dtype=torch.uint8)).shape, width
    (torch.Size([2, 512]), 512)

    Raises:
        InvalidArgumentError: no such network, or pictures that are too small for it.
    """
    if layers not in LAYERS:
        raise InvalidArgumentError(f"network = {layers!r}: must be one of {', '.join(LAYERS)}")
    convolutions, width = LAYERS[layers]
    channels, height, breadth = observations.shape
    parts: list[nn.Module] = [ChannelsLast()]
    first: Any = partial(CentredConv2d, centre=centre, scale=scale)
    for layer, (outputs, window, stride) in enumerate(convolutions):
        convolution = nn.Conv2d if layer else first
        parts += [convolution(channels, outputs, window, stride), nn.ReLU(inplace=True)]
        height, breadth = ((side - window) // stride + 1 for side in (height, breadth))
        channels = outputs
    if min(height, breadth) < 1:
        raise InvalidArgumentError(
            f"network = {layers!r}: too large for pictures of {observations.shape[1:]} pixels; try small"
        )
    parts += [nn.Flatten(), nn.Linear(channels * height * breadth, width), nn.ReLU(inplace=True)]
    return Eye(*parts), width


def q_network(
    observations: Box, actions: int, layers: str = "nature", **look: float
) -> nn.Sequential:
    """Action values, ``[B, stack, height, width] -> [B, actions]``.

    >>> parameters(q_network(Box(0, 255, (4, 84, 84), "uint8"), 6))
    1687206
    """
    body, width = eye(observations, layers, **look)
    return nn.Sequential(body, Plain(width, actions, 1, nn.Linear))


class Head(nn.Module):
    """From features ``[B, width]`` to a distribution over actions."""

    def __init__(self, width: int, actions: int) -> None:
        super().__init__()
        self.logits = nn.Linear(width, actions)

    def forward(self, features: Tensor) -> Categorical:
        """One distribution a row."""
        return Categorical(self.logits(features))


class Agent(nn.Module):
    """A policy and a value of states that share the eye, where nearly all the work is.

    It answers like :class:`rlcourse.networks.ActorCritic`, so that ``algorithms.ppo.update`` teaches it as it is.

    >>> agent = Agent(Box(0, 255, (4, 32, 42), "uint8"), Discrete(3), "small")
    >>> chances, values = agent(torch.zeros(7, 4, 32, 42, dtype=torch.uint8))
    >>> chances.entropy().shape, values.shape
    (torch.Size([7]), torch.Size([7]))
    """

    def __init__(
        self,
        observations: Box,
        actions: Discrete,
        layers: str = "nature",
        *,
        centre: float = 0.0,
        scale: float = 255.0,
    ) -> None:
        super().__init__()
        self.eye, width = eye(observations, layers, centre=centre, scale=scale)
        self.actor = Head(width, int(actions.n))
        self.critic = nn.Sequential(nn.Linear(width, 1), nn.Flatten(0))
        gains = {self.actor.logits: 0.01, self.critic[0]: 1.0}  # at first all actions nearly alike
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.orthogonal_(layer.weight, gains.get(layer, math.sqrt(2)))
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, observations: Tensor) -> tuple[Categorical, Tensor]:
        """The distribution over actions in ``B`` states, and their values ``[B]``."""
        seen = self.eye(observations)
        return self.actor(seen), self.critic(seen)

    def policy(self) -> ModePolicy:
        """The policy as it stands, frozen and without chance."""
        return ModePolicy(deepcopy(nn.Sequential(self.eye, self.actor)))


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(weight.numel() for weight in network.parameters())
