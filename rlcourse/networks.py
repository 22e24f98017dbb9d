r"""Networks from their parts: bodies, heads, layers with noise. Torch starts here.

A network takes observations ``[B, ...]`` as the environment gives them and returns ``[B, actions]``, or
``[B, actions, atoms]`` where it predicts a distribution. Its body follows from the observation space: a
number becomes a unit vector, a vector goes through fully connected layers, an image ``[height, width,
channels]`` through the convolution of Young & Tian 2019 (MinAtar) first.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rlcourse.distributions import Categorical, SquashedNormal
from rlcourse.errors import DivergenceError, InvalidArgumentError
from rlcourse.mdp import Ints
from rlcourse.replay import Batch

__all__ = [
    "Actor",
    "ActorCritic",
    "DrawingPolicy",
    "Dueling",
    "GreedyPolicy",
    "ModePolicy",
    "NoisyLinear",
    "Normalizer",
    "Plain",
    "SquashedActor",
    "TwinCritic",
    "body",
    "check_device",
    "descend",
    "flatten",
    "q_network",
    "reset_noise",
    "seeded",
    "tensors",
    "value_network",
]

# Networks this small wait for each other in several threads: on a busy machine with two cores an update in
# two was measured at 20 to 300 times the time of one. Who wants more says so by OMP_NUM_THREADS.
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from one seed and leave torch's own generator as it was.

    >>> with seeded(0):
    ...     first = torch.rand(1)
    >>> with seeded(0):
    ...     bool(torch.rand(1) == first)
    True
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


# --- layers ----------------------------------------------------------------------------------------


class Apply(nn.Module):
    """A function without parameters, as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


class NoisyLinear(nn.Linear):
    r"""A linear layer whose weights tremble by an amount that is learned (Fortunato et al. 2018).

    :math:`y = (\mu^w + \sigma^w \odot \varepsilon^w)\,x + \mu^b + \sigma^b \odot \varepsilon^b` (their equation
    9) with factorised noise :math:`\varepsilon^w_{ij} = f(\varepsilon_i) f(\varepsilon_j)`,
    :math:`f(x) = \operatorname{sgn}(x)\sqrt{|x|}` (equations 10 and 11). The noise stays until
    :func:`reset_noise`; there is none before the first call, nor in ``eval()`` mode.
    """

    def __init__(self, in_features: int, out_features: int, sigma: float = 0.5) -> None:
        super().__init__(in_features, out_features)
        bound = in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        self.weight_sigma = nn.Parameter(torch.full_like(self.weight, sigma * bound))
        self.bias_sigma = nn.Parameter(torch.full_like(self.bias, sigma * bound))
        self.register_buffer("noise_in", torch.zeros(in_features))
        self.register_buffer("noise_out", torch.zeros(out_features))
        self.noise_in: Tensor
        self.noise_out: Tensor

    def draw(self, generator: torch.Generator) -> None:
        """New noise for all weights, from one number a row and one a column."""
        for noise in (self.noise_in, self.noise_out):
            noise.normal_(generator=generator)
            noise.copy_(noise.sign() * noise.abs().sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in] -> [B, out]``."""
        if not self.training:
            return super().forward(x)
        weight = self.weight + self.weight_sigma * torch.outer(self.noise_out, self.noise_in)
        return functional.linear(x, weight, self.bias + self.bias_sigma * self.noise_out)


def reset_noise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw new noise in every noisy layer of a network."""
    for layer in network.modules():
        if isinstance(layer, NoisyLinear):
            layer.draw(generator)


# --- bodies and heads ------------------------------------------------------------------------------


def body(
    space: Space[Any], hidden: Sequence[int], linear: type[nn.Linear] = nn.Linear
) -> tuple[list[nn.Module], int]:
    """Layers from observations to features, and how many features there are.

    >>> layers, width = body(Discrete(5), [64, 32])
    >>> nn.Sequential(*layers)(torch.tensor([0, 4])).shape, width
    (torch.Size([2, 32]), 32)

    Raises:
        InvalidArgumentError: a space for which there is no body.
    """
    layers: list[nn.Module]
    if isinstance(space, Discrete) and space.start == 0:
        width = categories = int(space.n)
        layers = [Apply(lambda x: functional.one_hot(x.long(), categories).float())]
    elif isinstance(space, Box) and len(space.shape) == 1:
        width = space.shape[0]
        layers = [Apply(Tensor.float)]
    elif isinstance(space, Box) and len(space.shape) == 3 and min(space.shape[:2]) >= 3:
        height, breadth, channels = space.shape
        width = 16 * (height - 2) * (breadth - 2)
        layers = [Apply(lambda x: x.permute(0, 3, 1, 2).float()), nn.Conv2d(channels, 16, 3)]
        layers += [nn.ReLU(), nn.Flatten()]
    else:
        raise InvalidArgumentError(
            f"observation_space = {space}: must be Discrete from 0 on, a vector or an image"
        )
    for size in hidden:
        layers += [linear(width, size), nn.ReLU()]
        width = size
    return layers, width


def split(flat: Tensor, atoms: int) -> Tensor:
    """``[B, K * atoms] -> [B, K, atoms]``; with one atom as it is."""
    if atoms == 1:
        return flat
    shaped: Tensor = flat.unflatten(1, (-1, atoms))  # type: ignore[no-untyped-call]
    return shaped


class Plain(nn.Module):
    """One linear layer: every action's value on its own."""

    def __init__(self, width: int, actions: int, atoms: int, linear: type[nn.Linear]) -> None:
        super().__init__()
        self.q = linear(width, actions * atoms)
        self.atoms = atoms

    def forward(self, features: Tensor) -> Tensor:
        """``[B, width] -> [B, actions]``, or ``[B, actions, atoms]``."""
        return split(self.q(features), self.atoms)


class Dueling(nn.Module):
    r"""A value and advantages (Wang et al. 2016, equation 9), told apart by the mean.

    :math:`Q(s, a) = V(s) + A(s, a) - \frac{1}{|\mathcal A|} \sum_{a'} A(s, a')`
    """

    def __init__(self, width: int, actions: int, atoms: int, linear: type[nn.Linear]) -> None:
        super().__init__()
        self.value = linear(width, atoms)
        self.advantage = linear(width, actions * atoms)
        self.atoms = atoms

    def forward(self, features: Tensor) -> Tensor:
        """``[B, width] -> [B, actions]``, or ``[B, actions, atoms]``."""
        value = split(self.value(features), self.atoms)
        advantage = split(self.advantage(features), self.atoms)
        return value + advantage - advantage.mean(dim=1, keepdim=True)


def q_network(
    observation_space: Space[Any],
    actions: int,
    hidden: Sequence[int] = (128, 128),
    *,
    dueling: bool = False,
    noisy: bool = False,
    atoms: int = 1,
) -> nn.Sequential:
    """Action values ``[B, actions]``, or with several atoms logits ``[B, actions, atoms]``.

    >>> q_network(Box(-1, 1, (4,)), 2, dueling=True)(torch.zeros(7, 4)).shape
    torch.Size([7, 2])
    >>> q_network(Box(0, 1, (10, 10, 4)), 6, [128], atoms=51)(torch.zeros(7, 10, 10, 4)).shape
    torch.Size([7, 6, 51])
    """
    linear = NoisyLinear if noisy else nn.Linear
    layers, width = body(observation_space, hidden, linear)
    layers.append((Dueling if dueling else Plain)(width, actions, atoms, linear))
    return nn.Sequential(*layers)


class Actor(nn.Module):
    """A policy: from observations ``[B, ...]`` to a distribution over actions.

    ``Discrete`` actions get a categorical one; a ``Box`` gets a normal one squashed into it, whose deviation
    is a parameter of its own and the same in every state.

    >>> Actor(Box(-1, 1, (3,)), Box(-2, 2, (1,)))(torch.zeros(7, 3)).mode().shape
    torch.Size([7, 1])

    Raises:
        InvalidArgumentError: actions of another kind, or a box without bounds.
    """

    def __init__(
        self, observations: Space[Any], actions: Space[Any], hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        self.discrete = isinstance(actions, Discrete)
        if isinstance(actions, Discrete) and actions.start == 0:
            outputs = int(actions.n)
        elif isinstance(actions, Box) and len(actions.shape) == 1 and actions.is_bounded():
            outputs = actions.shape[0]
            self.log_std = nn.Parameter(torch.zeros(outputs))
            self.register_buffer("low", torch.from_numpy(actions.low).float())
            self.register_buffer("high", torch.from_numpy(actions.high).float())
            self.low: Tensor
            self.high: Tensor
        else:
            raise InvalidArgumentError(
                f"action_space = {actions}: must be Discrete from 0 on, or a bounded vector"
            )
        # So small a head makes all actions nearly alike in the beginning.
        self.layers = smooth_network(observations, hidden, outputs, last_gain=0.01)

    def forward(self, observations: Tensor) -> Categorical | SquashedNormal:
        """The distribution over actions in each of ``B`` states."""
        out = self.layers(observations)
        if self.discrete:
            return Categorical(out)
        return SquashedNormal(out, self.log_std, self.low, self.high)


def value_network(observations: Space[Any], hidden: Sequence[int] = (64, 64)) -> nn.Sequential:
    """State values, ``[B, ...] -> [B]``.

    >>> value_network(Box(-1, 1, (3,)))(torch.zeros(7, 3)).shape
    torch.Size([7])
    """
    return smooth_network(observations, hidden, 1, last_gain=1.0).append(nn.Flatten(0))


def smooth_network(
    observations: Space[Any], hidden: Sequence[int], outputs: int, last_gain: float
) -> nn.Sequential:
    """Fully connected layers with tanh between them and orthogonal weights, as policy gradients like them.

    Gains of the square root of two and of ``last_gain`` in the last layer, biases of zero (Andrychowicz et
    al. 2021; ``ppo2``, the later of the two programs of Schulman et al. 2017).
    """
    layers, width = body(observations, hidden)
    network = nn.Sequential(
        *(nn.Tanh() if isinstance(layer, nn.ReLU) else layer for layer in layers),
        nn.Linear(width, outputs),
    )
    linear = [layer for layer in network if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in linear:
        nn.init.orthogonal_(layer.weight, last_gain if layer is linear[-1] else math.sqrt(2))
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    return network


class Normalizer(nn.Module):
    """Observations less their mean, over their deviation, cut at ten; both are learned by counting.

    Before :meth:`count` has seen anything it changes nothing. Part of the network, so that they are saved with
    it and stand still in a frozen copy.

    >>> normalizer = Normalizer((2,))
    >>> normalizer.count(torch.tensor([[0.0, 5.0], [4.0, 5.0]]))
    >>> normalizer(torch.tensor([[4.0, 5.0]]))
    tensor([[1., 0.]])
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("number", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(*shape, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(*shape, dtype=torch.float64))
        self.number: Tensor  # rows seen
        self.mean: Tensor  # of them
        self.squares: Tensor  # sum of squared differences from it

    def count(self, observations: Tensor) -> None:
        """Take rows ``[B, ...]`` into mean and deviation (Chan et al. 1979, their equation 2.1)."""
        rows = observations.double()
        new, here = len(rows), rows.mean(dim=0)
        gap, total = here - self.mean, self.number + new
        self.squares += ((rows - here) ** 2).sum(dim=0) + gap**2 * self.number * new / total
        self.mean += gap * new / total
        self.number += new

    def forward(self, observations: Tensor) -> Tensor:
        """``[B, ...]``, normalised."""
        if self.number == 0:
            return observations.float()
        deviation = (self.squares / self.number).sqrt() + 1e-8
        return ((observations.double() - self.mean) / deviation).clamp(-10, 10).float()


class ActorCritic(nn.Module):
    """A policy and a value of states, with nothing in common but the look at the observation.

    >>> network = ActorCritic(Box(-1, 1, (3,)), Discrete(2))
    >>> chances, values = network(torch.zeros(7, 3))
    >>> chances.entropy().shape, values.shape
    (torch.Size([7]), torch.Size([7]))
    """

    def __init__(
        self,
        observations: Space[Any],
        actions: Space[Any],
        hidden: Sequence[int] = (64, 64),
        *,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        if normalize and not isinstance(observations, Box):
            raise InvalidArgumentError(
                f"normalize_observations = True: observations must be a Box, not {observations}"
            )
        self.eye = Normalizer(observations.shape or ()) if normalize else nn.Identity()
        self.actor = Actor(observations, actions, hidden)
        self.critic = value_network(observations, hidden)

    def forward(self, observations: Tensor) -> tuple[Categorical | SquashedNormal, Tensor]:
        """The distribution over actions in ``B`` states, and their values ``[B]``."""
        seen = self.eye(observations)
        return self.actor(seen), self.critic(seen)

    def policy(self) -> ModePolicy:
        """The policy as it stands, frozen and without chance."""
        return ModePolicy(deepcopy(nn.Sequential(self.eye, self.actor)))


class SquashedActor(nn.Module):
    """A policy over a bounded vector of actions, whose mean *and* deviation depend on the state.

    >>> SquashedActor(Box(-1, 1, (3,)), Box(-2, 2, (1,)))(torch.zeros(7, 3)).mode().shape
    torch.Size([7, 1])

    Raises:
        InvalidArgumentError: actions of another kind, or a box without bounds.
    """

    def __init__(
        self, observations: Space[Any], actions: Space[Any], hidden: Sequence[int] = (256, 256)
    ) -> None:
        super().__init__()
        if not (isinstance(actions, Box) and len(actions.shape) == 1 and actions.is_bounded()):
            raise InvalidArgumentError(f"action_space = {actions}: must be a bounded vector")
        layers, width = body(observations, hidden)
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2 * actions.shape[0]))
        self.register_buffer("low", torch.from_numpy(actions.low).float())
        self.register_buffer("high", torch.from_numpy(actions.high).float())
        self.low: Tensor
        self.high: Tensor

    def forward(self, observations: Tensor) -> SquashedNormal:
        """The distribution over actions in each of ``B`` states."""
        mean, log_std = self.layers(observations).chunk(2, dim=-1)
        # From -5 to 2, by a curve: at a bound that cuts there would be no way back.
        return SquashedNormal(mean, 3.5 * log_std.tanh() - 1.5, self.low, self.high)


class TwinCritic(nn.Module):
    """Two values of a state and an action, from two networks that never meet, computed together: ``[2, B]``.

    >>> TwinCritic(Box(-1, 1, (3,)), Box(-2, 2, (1,)))(torch.zeros(7, 3), torch.zeros(7, 1)).shape
    torch.Size([2, 7])
    """

    def __init__(
        self, observations: Space[Any], actions: Space[Any], hidden: Sequence[int] = (256, 256)
    ) -> None:
        super().__init__()
        assert isinstance(actions, Box)
        low, high = torch.from_numpy(actions.low).float(), torch.from_numpy(actions.high).float()
        self.register_buffer("middle", (low + high) / 2)
        self.register_buffer("reach", (high - low) / 2)
        self.middle: Tensor
        self.reach: Tensor
        _, width = body(observations, [])
        sizes = [width + actions.shape[0], *hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in itertools.pairwise(sizes):
            bound = inputs**-0.5  # as a linear layer of torch's begins
            self.weights.append(
                nn.Parameter(torch.empty(2, inputs, outputs).uniform_(-bound, bound))
            )
            self.biases.append(nn.Parameter(torch.empty(2, 1, outputs).uniform_(-bound, bound)))

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """``[B, ...]`` and ``[B, D]``, as the environment takes them, to ``[2, B]``."""
        unit = (actions.float() - self.middle) / self.reach
        x = torch.cat([observations.float(), unit], dim=1).expand(2, -1, -1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, functional.relu(x) if layer else x, weight)
        return x.squeeze(-1)


def flatten(network: nn.Module) -> nn.Parameter:
    """All weights of a network as one vector, of which its own parameters become views.

    An optimiser step, a norm and a copy are then one call each instead of one a layer, which is a tenth of
    the time of a small network's update.

    >>> network = nn.Linear(2, 1)
    >>> weights = flatten(network)
    >>> with torch.no_grad():
    ...     _ = weights.fill_(3.0)
    >>> network.weight.tolist()
    [[3.0, 3.0]]
    """
    parameters = list(network.parameters())
    weights = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    weights.grad = torch.zeros_like(weights)
    first = 0
    for p in parameters:
        part = slice(first, first + p.numel())
        p.data, p.grad = weights.data[part].view_as(p), weights.grad[part].view_as(p)
        first = part.stop
    return weights


def check_device(device: str) -> str:
    """Return a device that torch can compute on here, else raise.

    >>> check_device("cpu")
    'cpu'
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidArgumentError(
            f"device = {device!r}: must be cpu, or cuda where there is one ({reason})"
        ) from error
    return device


def tensors(batch: Batch, device: str) -> Batch:
    """The same batch, its arrays as tensors on a device."""
    return Batch(*(torch.from_numpy(array).to(device) for array in batch))


def descend(
    loss: Tensor,
    weights: nn.Parameter,
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    max_norm: float,
    *,
    facts: Mapping[str, Any],
) -> float:
    """One step down the gradient of a loss, at most ``max_norm`` long; returns the loss.

    Args:
        facts: what a diagnosis should tell: numbers, and tensors of which it shows the range.

    Raises:
        DivergenceError: the loss or its gradient is not finite; the weights are as they were.
    """
    gradient = weights.grad
    assert gradient is not None  # flatten made it
    gradient.zero_()
    loss.backward()  # type: ignore[no-untyped-call]
    value, norm = float(loss.detach()), float(gradient.norm())
    if not math.isfinite(value + norm):
        raise DivergenceError(_diagnosis(value, norm, weights, learning_rate, facts))
    if norm > max_norm:
        gradient.mul_(max_norm / norm)
    optimizer.param_groups[0]["lr"] = learning_rate
    optimizer.step()
    return value


def _diagnosis(
    loss: float, norm: float, weights: Tensor, learning_rate: float, facts: Mapping[str, Any]
) -> str:
    told = []
    for name, fact in facts.items():
        if isinstance(fact, Tensor):
            x = fact.detach().double()
            bad = int((~torch.isfinite(x)).sum())
            told.append(
                f"{name} in [{x.min():.4g}, {x.max():.4g}]"
                + (f" with {bad} not finite" if bad else "")
            )
        else:
            told.append(f"{name} {fact}")
    return (
        f"loss = {loss}, gradient norm = {norm}: must be finite. Largest weight "
        f"{float(weights.detach().abs().max()):.4g}, learning rate {learning_rate:.3g}; {', '.join(told)}. "
        "If the batch is finite, try a smaller learning rate; if it is not, look at the environment."
    )


class GreedyPolicy:
    """The best action of a network's values: ``policy(observations [N, ...]) -> actions [N]``."""

    def __init__(
        self, network: nn.Module, values: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.network, self.values = network, values or (lambda output: output)
        self.device = next(network.parameters()).device

    @torch.inference_mode()
    def q_values(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Action values, ``[N, actions]``."""
        output = self.network(torch.from_numpy(observations).to(self.device))
        values: NDArray[np.float32] = self.values(output).cpu().numpy()
        return values

    def __call__(self, observations: NDArray[Any]) -> Ints:
        """Actions, ``[N]``."""
        best: Ints = self.q_values(observations).argmax(axis=1)
        return best


class ModePolicy:
    """The most probable action of an actor: ``policy(observations [N, ...]) -> actions [N, ...]``."""

    def __init__(self, actor: nn.Module) -> None:
        self.network = actor
        self.device = next(actor.parameters()).device

    @torch.inference_mode()
    def __call__(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions, ``[N]`` or ``[N, D]``."""
        chances = self.network(torch.from_numpy(observations).to(self.device))
        actions: NDArray[Any] = chances.act(chances.mode()).cpu().numpy()
        return actions


class DrawingPolicy:
    """Actions by chance: ``policy(observations [N, ...])`` gives raw actions, and what the environments take.

    >>> actor, dice = Actor(Box(-1, 1, (3,)), Box(-2, 2, (1,))), torch.Generator()
    >>> raw, action = DrawingPolicy(actor, dice)(np.zeros((7, 3), np.float32))
    >>> action.shape, bool((abs(action) < 2).all())
    ((7, 1), True)
    """

    def __init__(self, actor: nn.Module, dice: torch.Generator) -> None:
        self.network, self.dice, self.device = actor, dice, next(actor.parameters()).device

    @torch.inference_mode()
    def __call__(self, observations: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """``[N]`` or ``[N, D]``, twice."""
        chances = self.network(torch.from_numpy(observations).to(self.device))
        raw = chances.sample(self.dice)
        return raw.cpu().numpy(), chances.act(raw).cpu().numpy()
