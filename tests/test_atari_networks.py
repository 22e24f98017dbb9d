"""Networks for pictures: sizes as published, the same numbers in any order of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch.nn import functional

from rlcourse.algorithms import ppo
from rlcourse.atari.networks import Agent, eye, parameters, q_network
from rlcourse.errors import InvalidArgumentError
from rlcourse.networks import flatten


def pictures(height: int, width: int) -> Box:
    return Box(0, 255, (4, height, width), np.uint8)


@pytest.mark.parametrize(
    ("layers", "size", "actions", "count"),
    [
        ("nature", (84, 84), 6, 1_687_206),
        ("mnih2013", (84, 84), 6, 677_686),
        ("small", (32, 42), 3, 230_963),
        ("small", (42, 42), 4, 341_684),
    ],
)
def test_parameters_are_counted_by_hand(
    layers: str, size: tuple[int, int], actions: int, count: int
) -> None:
    """The numbers were counted in another program; a critic costs one more row of features."""
    assert parameters(q_network(pictures(*size), actions, layers)) == count
    width = {"nature": 512, "mnih2013": 256, "small": 128}[layers]
    assert parameters(Agent(pictures(*size), Discrete(actions), layers)) == count + width + 1


def test_a_network_computes_what_its_layers_say() -> None:
    """By torch's functions on plain memory: centred bytes, two convolutions, features, heads."""
    agent = Agent(pictures(32, 42), Discrete(3), "small", centre=87.0, scale=32.0)
    x = torch.randint(0, 256, (5, 4, 32, 42), dtype=torch.uint8)
    weights = {name: value.contiguous() for name, value in agent.state_dict().items()}
    seen = (x.double() - 87) / 32
    for name, at in (("eye.1", 2), ("eye.3", 2)):
        weight, bias = weights[f"{name}.weight"].double(), weights[f"{name}.bias"].double()
        seen = functional.conv2d(seen, weight, bias, stride=at).clamp(min=0)
    flat = seen.reshape(5, -1) @ weights["eye.6.weight"].double().T + weights["eye.6.bias"].double()
    flat = flat.clamp(min=0)
    logits = flat @ weights["actor.logits.weight"].double().T
    values = flat @ weights["critic.0.weight"].double().T
    chances, got = agent(x)
    torch.testing.assert_close(chances.log_p.double(), logits.log_softmax(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(got.double(), values[:, 0], atol=1e-4, rtol=0)


def test_the_gradients_are_those_of_centred_pictures() -> None:
    """The first convolution centres its weights instead: against twice the precision and plain centring."""
    body, _ = eye(pictures(32, 42), "small", centre=87.0, scale=32.0)
    x = torch.randint(0, 256, (64, 4, 32, 42), dtype=torch.uint8)
    wanted = [weight.detach().double().requires_grad_() for weight in body.parameters()]
    seen = (x.double() - 87) / 32
    for layer in (0, 2):
        seen = functional.conv2d(seen, wanted[layer], wanted[layer + 1], stride=2).clamp(min=0)
    seen = (seen.flatten(1) @ wanted[4].T + wanted[5]).clamp(min=0)
    (seen**2).mean().backward()  # type: ignore[no-untyped-call]
    (body(x) ** 2).mean().backward()
    for got, exact in zip(body.parameters(), wanted, strict=True):
        assert got.grad is not None and exact.grad is not None
        error = (got.grad.double() - exact.grad).norm() / exact.grad.norm()
        assert float(error) < 1e-5


def test_pieces_make_the_whole() -> None:
    body, width = eye(pictures(20, 20), "small")
    x = torch.randint(0, 256, (2 * body.piece + 7, 4, 20, 20), dtype=torch.uint8)
    whole = body(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(body(x), whole)
    assert whole.shape == (len(x), width)


def test_pictures_go_through_channels_last_and_come_back_unharmed() -> None:
    body, _ = eye(pictures(42, 42), "small")
    x = torch.randint(0, 256, (5, 4, 42, 42), dtype=torch.uint8)
    kept, inside = x.clone(), body[1](body[0](x))
    assert inside.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, kept)
    as_numbers = x.float()
    torch.testing.assert_close(body(as_numbers), body(x))
    assert torch.equal(as_numbers, x.float())


def test_a_new_agent_prefers_nothing() -> None:
    agent = Agent(pictures(42, 42), Discrete(4), "small")
    chances, _ = agent(torch.randint(0, 256, (64, 4, 42, 42), dtype=torch.uint8))
    assert float(chances.entropy().min()) > 0.99 * np.log(4)


def test_ppo_teaches_an_agent_as_it_is() -> None:
    """What `algorithms.ppo` asks of a network: one vector of weights, heads apart, a frozen policy."""
    agent = Agent(pictures(42, 42), Discrete(4), "small")
    weights = flatten(agent)
    x = torch.randint(0, 256, (8, 4, 42, 42), dtype=torch.uint8)
    chances, values = agent(x)
    torch.testing.assert_close(agent.critic(agent.eye(x)), values)
    loss = ppo.clipped_loss(
        chances.log_prob(torch.zeros(8, dtype=int)), torch.zeros(8), values, 0.2
    )
    loss.mean().backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None and float(weights.grad.norm()) > 0
    frozen = agent.policy()
    before = frozen(x.numpy())
    with torch.no_grad():
        weights.fill_(0.0)
    np.testing.assert_array_equal(frozen(x.numpy()), before)


@pytest.mark.parametrize(
    ("size", "layers", "message"),
    [((84, 84), "natur", "must be one of nature"), ((20, 20), "nature", "try small")],
)
def test_what_does_not_fit_is_refused(size: Any, layers: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        eye(pictures(*size), layers)
