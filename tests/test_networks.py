"""Networks from their parts: layers by formula, steps against torch's own, randomness by its moments."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space, Tuple
from torch import Tensor, nn
from torch.nn.functional import one_hot

from rlcourse import networks
from rlcourse.errors import DivergenceError, InvalidArgumentError
from rlcourse.networks import (
    Actor,
    ActorCritic,
    Dueling,
    GreedyPolicy,
    ModePolicy,
    NoisyLinear,
    Normalizer,
    Plain,
    SquashedActor,
    TwinCritic,
    check_device,
    descend,
    flatten,
    q_network,
    reset_noise,
    seeded,
    tensors,
    value_network,
)
from rlcourse.replay import Batch

VECTOR = Box(-1, 1, (4,))
IMAGE = Box(0, 1, (10, 10, 4), bool)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=noise(seed))


# --- noise ----------------------------------------------------------------------------------------


def test_a_noisy_layer_is_its_formula() -> None:
    """Equation 9 written out, entry by entry, from the noise that the layer holds."""
    layer = NoisyLinear(3, 2)
    layer.draw(noise())
    x = numbers(5, 3, seed=1)
    with torch.no_grad():
        layer.weight_sigma.copy_(numbers(2, 3, seed=2))
        layer.bias_sigma.copy_(numbers(2, seed=3))
        got = layer(x)
        for b in range(5):
            for i in range(2):
                y = layer.bias[i] + layer.bias_sigma[i] * layer.noise_out[i]
                for j in range(3):
                    eps = layer.noise_out[i] * layer.noise_in[j]
                    y += (layer.weight[i, j] + layer.weight_sigma[i, j] * eps) * x[b, j]
                assert got[b, i] == pytest.approx(float(y), abs=1e-5)


def test_noise_is_the_signed_root_of_normal_numbers() -> None:
    """E f = 0, E f^2 = E|x| = sqrt(2 / pi), E f^4 = E x^2 = 1; each within five standard errors."""
    count = 50_000
    row, column = NoisyLinear(count // 2, 1), NoisyLinear(1, count // 2)
    row.draw(noise(1))
    column.draw(noise(2))
    f = torch.cat([row.noise_in, column.noise_out]).double()
    for power, mean, variance in (
        (1, 0.0, math.sqrt(2 / math.pi)),
        (2, math.sqrt(2 / math.pi), 1 - 2 / math.pi),
        (4, 1.0, 2.0),
    ):
        assert abs(float((f**power).mean()) - mean) < 5 * math.sqrt(variance / count), power
    assert float((f > 0).double().mean()) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(count))


def test_noise_begins_as_in_the_paper() -> None:
    """Means uniform within one over the root of the inputs; sigma one half of that bound."""
    with seeded(0):
        layer = NoisyLinear(100, 400)
    assert (layer.weight_sigma == 0.05).all() and (layer.bias_sigma == 0.05).all()
    for mu in (layer.weight.detach(), layer.bias.detach()):
        assert mu.abs().max() <= 0.1
        assert float(mu.double().std()) == pytest.approx(0.1 / math.sqrt(3), rel=0.1)
    assert (NoisyLinear(4, 1, sigma=0.1).weight_sigma == 0.05).all()


def test_noise_stays_until_it_is_drawn_anew_and_is_silent_in_evaluation() -> None:
    network = q_network(VECTOR, 2, (8,), noisy=True)
    x, generator = numbers(5, 4), noise()
    outputs = []
    with torch.no_grad():
        silent = network(x)  # none before the first draw
        for _ in range(2):
            reset_noise(network, generator)
            outputs.append(network(x))
            assert torch.equal(network(x), outputs[-1])
        assert not torch.equal(*outputs) and not torch.equal(outputs[0], silent)
        assert torch.equal(network.eval()(x), silent)
        assert torch.equal(network.train()(x), outputs[1])


def test_every_noisy_layer_is_drawn_with_the_generator_handed_in() -> None:
    network = q_network(VECTOR, 2, (8, 8), noisy=True, dueling=True)
    layers = [layer for layer in network.modules() if isinstance(layer, NoisyLinear)]
    assert len(layers) == 4 and not any(type(m) is nn.Linear for m in network.modules())
    state = torch.random.get_rng_state()
    reset_noise(network, noise(7))
    first = [layer.noise_in.clone() for layer in layers]
    assert all((x != 0).all() for x in first)
    reset_noise(network, noise(7))
    assert all(torch.equal(x, layer.noise_in) for x, layer in zip(first, layers, strict=True))
    reset_noise(network, noise(8))
    assert not any(torch.equal(x, layer.noise_in) for x, layer in zip(first, layers, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_sigma_is_learned() -> None:
    layer = NoisyLinear(3, 2)
    layer.draw(noise())
    x = numbers(5, 3)
    layer(x).sum().backward()
    expected = torch.outer(layer.noise_out, layer.noise_in) * x.sum(0)
    np.testing.assert_allclose(layer.weight_sigma.grad, expected, rtol=1e-5)
    np.testing.assert_allclose(layer.bias_sigma.grad, 5 * layer.noise_out, rtol=1e-5)


# --- heads and bodies -----------------------------------------------------------------------------


@pytest.mark.parametrize("atoms", [1, 3])
def test_dueling_is_its_formula(atoms: int) -> None:
    head, x = Dueling(5, 4, atoms, nn.Linear), numbers(6, 5)
    with torch.no_grad():
        value, advantage = head.value(x), head.advantage(x).reshape(6, 4, atoms)
        got = head(x)
        assert got.shape == ((6, 4) if atoms == 1 else (6, 4, atoms))
        got = got.reshape(6, 4, atoms)
        for b in range(6):
            for a in range(4):
                for k in range(atoms):
                    mean = sum(float(advantage[b, other, k]) for other in range(4)) / 4
                    q = float(value[b, k]) + float(advantage[b, a, k]) - mean
                    assert got[b, a, k] == pytest.approx(q, abs=1e-5)


def test_only_differences_of_advantages_count() -> None:
    """The same number on all advantages changes nothing; on the value it moves every action by as much."""
    head, x = Dueling(5, 4, 1, nn.Linear), numbers(6, 5)
    with torch.no_grad():
        before = head(x)
        np.testing.assert_allclose(
            before.mean(1, keepdim=True), head.value(x), atol=1e-6
        )  # which makes V the mean
        head.advantage.bias += 17.0
        np.testing.assert_allclose(head(x), before, atol=1e-4)
        head.value.bias += 2.0
        np.testing.assert_allclose(head(x), before + 2.0, atol=1e-4)


@pytest.mark.parametrize("space", [VECTOR, IMAGE], ids=["vector", "image"])
@pytest.mark.parametrize("dueling", [False, True])
def test_whole_networks_by_finite_differences(space: Space[Any], dueling: bool) -> None:
    """Through body and head: the slope along a random direction, with steps small and large enough."""
    with seeded(0):
        network = q_network(space, 3, (6, 5), dueling=dueling).double()
    # The body turns observations into single precision; from there on all is double.
    network[0] = nn.Identity() if space is VECTOR else Permute()
    weights = flatten(network)
    x = torch.randn(4, *space.shape, dtype=torch.float64, generator=noise())  # type: ignore[misc]
    network(x).square().sum().backward()
    rng, direction = noise(1), torch.empty(len(weights), dtype=torch.float64)
    for _ in range(5):
        direction.normal_(generator=rng)
        ends = []
        with torch.no_grad():
            for sign in (1e-7, -2e-7, 1e-7):
                weights.add_(direction, alpha=sign)
                ends.append(float(network(x).square().sum()))
        slope = (ends[0] - ends[1]) / 2e-7
        expected = float(weights.grad @ direction)  # type: ignore[operator]
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-6)


class Permute(nn.Module):
    """Channels first, in the precision it came in."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


@pytest.mark.parametrize("head", [Plain, Dueling])
def test_atoms_of_an_action_lie_side_by_side(head: Any) -> None:
    layer = head(5, 4, 3, nn.Linear)
    assert layer(numbers(6, 5)).shape == (6, 4, 3)
    if head is Plain:
        x = numbers(6, 5)
        np.testing.assert_array_equal(layer(x).reshape(6, 12).detach(), layer.q(x).detach())


OBSERVATIONS: list[tuple[Space[Any], Any]] = [
    (Discrete(5), np.array([0, 4, 2])),
    (Discrete(5, dtype=np.int32), np.array([0, 4, 2], np.int32)),
    (VECTOR, np.zeros((3, 4), np.float32)),
    (Box(-1, 1, (4,), np.float64), np.zeros((3, 4))),
    (Box(0, 255, (128,), np.uint8), np.full((3, 128), 255, np.uint8)),
    (IMAGE, np.ones((3, 10, 10, 4), bool)),
    (Box(0, 255, (9, 12, 3), np.uint8), np.ones((3, 9, 12, 3), np.uint8)),
]


@pytest.mark.parametrize(("space", "obs"), OBSERVATIONS, ids=[str(s) for s, _ in OBSERVATIONS])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
def test_every_observation_gets_its_body(
    space: Space[Any], obs: Any, dueling: bool, noisy: bool
) -> None:
    for atoms, shape in ((1, (3, 2)), (7, (3, 2, 7))):
        network = q_network(space, 2, (16,), dueling=dueling, noisy=noisy, atoms=atoms)
        output = network(torch.from_numpy(obs))
        assert output.shape == shape and output.dtype == torch.float32
        assert torch.isfinite(output).all()


def test_a_number_is_a_unit_vector() -> None:
    """Without hidden layers a network over numbered states is a table."""
    network = q_network(Discrete(5), 2, ())
    with torch.no_grad():
        table = network(torch.arange(5))
        head = network[1].q
        np.testing.assert_allclose(table, head.weight.T + head.bias, atol=1e-6)
        np.testing.assert_array_equal(network[0](torch.arange(5)), one_hot(torch.arange(5)))


def test_an_image_keeps_its_channels_last() -> None:
    """The convolution by hand: sixteen sums over windows of three by three, no border."""
    network = q_network(IMAGE, 6, (16,))
    x = torch.rand(2, 10, 10, 4, generator=noise()) < 0.5
    conv = network[1]
    with torch.no_grad():
        got = conv(network[0](x))
        assert got.shape == (2, 16, 8, 8)
        for f, i, j in ((0, 0, 0), (15, 7, 7), (3, 2, 5)):
            window = x[0, i : i + 3, j : j + 3].float()
            total = (window * conv.weight[f].permute(1, 2, 0)).sum() + conv.bias[f]
            assert got[0, f, i, j] == pytest.approx(float(total), abs=1e-5)
    assert [type(m) for m in network[2:4]] == [nn.ReLU, nn.Flatten]


@pytest.mark.parametrize(
    "space",
    [
        Discrete(5, start=1),
        MultiDiscrete([2, 3]),
        Tuple((Discrete(2), Discrete(3))),
        Dict({"a": Discrete(2)}),
        Box(-1, 1, ()),
        Box(-1, 1, (3, 3)),
        Box(-1, 1, (2, 9, 3)),
        Box(-1, 1, (3, 3, 3, 3)),
    ],
    ids=str,
)
def test_observations_without_a_body(space: Space[Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"observation_space = .*: must be Discrete"):
        q_network(space, 2)


# --- seeds ----------------------------------------------------------------------------------------


def test_initial_weights_are_their_seed_and_nothing_else() -> None:
    def weights(seed: int) -> Tensor:
        with seeded(seed):
            return flatten(q_network(VECTOR, 2, (8,), noisy=True)).detach()

    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = weights(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(weights(1), first) and not torch.equal(weights(2), first)


def test_the_generator_is_put_back_after_an_error() -> None:
    state = torch.random.get_rng_state()
    with pytest.raises(KeyError), seeded(3):
        torch.rand(1)
        raise KeyError
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("wish", "threads"), [(None, [1]), ("2", [])])
def test_one_thread_unless_the_reader_wants_more(
    wish: str | None, threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module's text, run once more in a namespace of its own."""
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if wish is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", wish)
    exec(Path(networks.__file__).read_text(), {"__name__": "once_more"})
    assert asked == threads


@pytest.mark.parametrize("device", ["bogus", "cuda:99", 3.5])
def test_devices_that_are_not_there(device: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"device = .*: must be cpu, or cuda"):
        check_device(device)
    assert check_device("cpu") == "cpu"


# --- one vector -----------------------------------------------------------------------------------


def test_weights_become_views_of_one_vector() -> None:
    network = q_network(VECTOR, 2, (8,), dueling=True)
    x, plain = numbers(3, 4), deepcopy(network)
    weights = flatten(network)
    assert len(weights) == sum(p.numel() for p in plain.parameters())
    assert torch.equal(network(x), plain(x))
    inside = range(weights.data_ptr(), weights.data_ptr() + 4 * len(weights))
    assert all(p.data_ptr() in inside for p in network.parameters())
    with torch.no_grad():
        weights.mul_(2.0)
    for p, old in zip(network.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach(), 2 * old.detach())


def test_gradients_gather_in_the_vector() -> None:
    network = q_network(VECTOR, 2, (8,))
    x, plain = numbers(3, 4), deepcopy(network)
    weights = flatten(network)
    for times in (1.0, 2.0):  # the second backward adds to the first
        network(x).square().sum().backward()
        plain.zero_grad()
        plain(x).square().sum().backward()
        expected = torch.cat([p.grad.reshape(-1) for p in plain.parameters()])  # type: ignore[union-attr]
        np.testing.assert_allclose(weights.grad, times * expected, rtol=1e-4, atol=1e-6)


def test_a_copy_has_weights_of_its_own() -> None:
    network = q_network(VECTOR, 2, (8,))
    weights = flatten(network)
    copy = deepcopy(network)
    x, before = numbers(3, 4), copy(numbers(3, 4)).detach()
    with torch.no_grad():
        weights.zero_()
    assert torch.equal(copy(x), before) and (network(x) == 0).all()
    assert not any(
        a.data_ptr() == b.data_ptr()
        for a, b in zip(network.parameters(), copy.parameters(), strict=True)
    )


# --- a step ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_norm", [1e9, 0.1])
def test_a_step_is_torchs_own(max_norm: float) -> None:
    """Ten steps beside plain Adam on a list of parameters, clipped by torch's own function."""
    with seeded(0):
        network = q_network(VECTOR, 2, (8,))
    plain = deepcopy(network)
    weights = flatten(network)
    ours = torch.optim.Adam([weights], fused=True)
    theirs = torch.optim.Adam(plain.parameters())
    for k in range(10):
        x, rate = numbers(6, 4, seed=k), 0.01 / (k + 1)
        value = descend(network(x).square().mean(), weights, ours, rate, max_norm, facts={})
        loss = plain(x).square().mean()
        theirs.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
        theirs.param_groups[0]["lr"] = rate
        theirs.step()
        assert isinstance(value, float) and value == pytest.approx(float(loss.detach()), rel=1e-4)
    expected = torch.cat([p.detach().reshape(-1) for p in plain.parameters()])
    np.testing.assert_allclose(weights.detach(), expected, atol=2e-6)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_stops_with_a_diagnosis(poison: float) -> None:
    network = q_network(VECTOR, 2, (8,))
    weights = flatten(network)
    optimizer = torch.optim.Adam([weights])
    descend(network(numbers(3, 4)).sum(), weights, optimizer, 1e-3, 10.0, facts={})
    before, reward = weights.detach().clone(), torch.tensor([1.0, poison, -2.0])
    facts = {"step": 4711, "reward": reward, "action": torch.tensor([0, 5])}
    loss = (network(numbers(3, 4)).sum(1) * reward).sum()
    with pytest.raises(DivergenceError) as caught:
        descend(loss, weights, optimizer, 1e-3, 10.0, facts=facts)
    said = str(caught.value)
    for told in ("step 4711", "reward in [", "1 not finite", "action in [0, 5]", "learning rate 0.001",
                 "gradient norm = ", "Largest weight", "must be finite"):  # fmt: skip
        assert told in said, told
    assert torch.equal(weights.detach(), before)


def test_a_gradient_that_is_no_number_stops_although_the_loss_is_one() -> None:
    """The root's slope at zero is infinite: the loss is 0, its gradient is not."""
    layer = nn.Linear(1, 1, bias=False)
    weights = flatten(layer)
    with torch.no_grad():
        weights.zero_()
    with pytest.raises(DivergenceError, match=r"loss = 0\.0, gradient norm = (nan|inf)"):
        descend(layer(torch.ones(1, 1)).sqrt().sum(), weights, torch.optim.SGD([weights]), 1.0, 1.0,
                facts={})  # fmt: skip
    assert weights.tolist() == [0.0]


def test_batches_become_tensors_of_their_own_types() -> None:
    batch = Batch(
        np.zeros((3, 4), np.float32), np.zeros(3, np.int64), np.ones(3, np.float32),
        np.ones(3, np.float32), np.zeros((3, 4), np.uint8), np.ones(3, np.float32), np.arange(3),
    )  # fmt: skip
    got = tensors(batch, "cpu")
    for array, tensor in zip(batch, got, strict=True):
        assert isinstance(tensor, Tensor) and tensor.device.type == "cpu"
        np.testing.assert_array_equal(tensor, array)
    assert got.next_obs.dtype == torch.uint8 and got.action.dtype == torch.int64


# --- the policy -----------------------------------------------------------------------------------


def test_a_policy_takes_the_best_action() -> None:
    network = q_network(VECTOR, 3, (8,))
    policy, obs = GreedyPolicy(network), numbers(50, 4).numpy()
    q = policy.q_values(obs)
    with torch.no_grad():
        np.testing.assert_array_equal(q, network(torch.from_numpy(obs)).numpy())
    actions = policy(obs)
    assert actions.shape == (50,) and len(set(actions.tolist())) > 1
    assert all(q[i, a] == max(q[i]) for i, a in enumerate(actions))


def test_a_policy_may_read_values_from_a_distribution() -> None:
    """Logits of two atoms at 0 and 10: the value is ten times the second's probability."""
    network = q_network(VECTOR, 3, (8,), atoms=2)
    support = torch.tensor([0.0, 10.0])
    policy = GreedyPolicy(network, lambda logits: logits.softmax(-1) @ support)
    obs = numbers(5, 4).numpy()
    with torch.no_grad():
        logits = network(torch.from_numpy(obs)).double().numpy()
    expected = 10 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
    np.testing.assert_allclose(policy.q_values(obs), expected, rtol=1e-5)
    np.testing.assert_array_equal(policy(obs), expected.argmax(1))


def test_acting_leaves_no_graph_and_no_gradient() -> None:
    network = q_network(VECTOR, 3, (8,))
    GreedyPolicy(network)(np.zeros((2, 4), np.float32))
    assert all(p.grad is None for p in network.parameters())
    network(torch.zeros(2, 4)).sum().backward()  # still possible


def test_the_names_on_offer_are_there() -> None:
    assert all(hasattr(networks, name) for name in networks.__all__)


# --- policies -------------------------------------------------------------------------------------

ARM = Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))


def test_a_policy_begins_without_preferences() -> None:
    """All actions nearly alike, the deviation one, whatever is seen; the values are not so shy."""
    actor = Actor(VECTOR, Discrete(5), (32, 32))
    arm, critic = Actor(VECTOR, ARM, (32, 32)), value_network(VECTOR, (32, 32))
    x = numbers(50, 4)
    with torch.no_grad():
        p = actor(x).log_p.exp()
        assert float((p - 0.2).abs().max()) < 0.02 and float(p.std(dim=0).max()) > 0
        assert float(arm(x).mean.abs().max()) < 0.1 and (arm(x).log_std == 0).all()
        assert float(critic(x).std()) > 0.1
    assert arm(x).mean.shape == (50, 2) and critic(x).shape == (50,)


def test_first_weights_are_orthogonal() -> None:
    """Rows or columns at right angles, of length root two, and one hundredth or one in the last layer."""
    network = ActorCritic(VECTOR, Discrete(2), (32, 16))
    for part, last in ((network.actor.layers, 0.01), (network.critic, 1.0)):
        layers = [layer for layer in part if isinstance(layer, nn.Linear)]
        for layer, gain in zip(layers, (math.sqrt(2), math.sqrt(2), last), strict=True):
            w = layer.weight.detach()
            square = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
            np.testing.assert_allclose(square, gain**2 * np.eye(len(square)), atol=1e-5 * gain**2)
            assert (layer.bias == 0).all()
        assert [type(layer) for layer in part].count(nn.Tanh) == 2
        assert not any(isinstance(layer, nn.ReLU) for layer in part)


def test_policy_and_value_share_nothing() -> None:
    network = ActorCritic(VECTOR, Discrete(3), (8,))
    chances, values = network(numbers(5, 4))
    values.sum().backward()
    assert all(p.grad is None for p in network.actor.parameters())
    assert all(p.grad is not None for p in network.critic.parameters())
    assert chances.entropy().shape == values.shape == (5,)


@pytest.mark.parametrize(
    "space", [Discrete(4), IMAGE, Box(0, 255, (8, 8, 3), np.uint8), Box(-1, 1, (4,), np.float64)]
)
def test_policies_look_at_whatever_environments_show(space: Space[Any]) -> None:
    space.seed(0)
    obs = np.stack([space.sample() for _ in range(6)])
    for actions, shape in ((Discrete(3), (6,)), (ARM, (6, 2))):
        acted = ActorCritic(space, actions, (8,)).policy()(obs)
        assert acted.shape == shape and actions.contains(acted[0])
    assert ModePolicy(SquashedActor(space, ARM, (8,)))(obs).shape == (6, 2)


def test_a_frozen_policy_takes_the_most_probable_action() -> None:
    """Of numbered ones the largest logit, in a box the middle of the normal, squashed and stretched."""
    x = numbers(40, 4)
    actor, arm = Actor(VECTOR, Discrete(3), (8,)), Actor(VECTOR, ARM, (8,))
    with torch.no_grad():
        for network in (actor, arm):
            network.layers[-1].weight.mul_(500)
        logits, mean = actor.layers(x).numpy(), arm.layers(x).double().numpy()
    chosen = ModePolicy(actor)(x.numpy())
    assert len(set(chosen.tolist())) > 1 and (chosen == logits.argmax(axis=1)).all()
    wanted = np.tanh(mean) * [2.0, 0.5] + [0.0, 0.5]
    np.testing.assert_allclose(ModePolicy(arm)(x.numpy()), wanted, atol=1e-5)


def test_the_deviation_of_a_squashed_actor_stays_between_its_bounds() -> None:
    """From -5 to 2 in the logarithm however loud the last layer, and never without a slope on the way."""
    actor = SquashedActor(VECTOR, ARM, (16,))
    for loud in (1.0, 1e4):
        with torch.no_grad():
            actor.layers[-1].weight.mul_(loud)
            log_std = actor(numbers(500, 4)).log_std
        assert log_std.shape == (500, 2)
        assert float(log_std.min()) >= -5.0 - 1e-5 and float(log_std.max()) <= 2.0 + 1e-5
    assert float(log_std.max()) > 1.9 and float(log_std.min()) < -4.9


def test_two_critics_at_once_are_two_networks_apart() -> None:
    """Each computed by hand in numpy from its own slice of the weights, actions in units of the box."""
    twins = TwinCritic(VECTOR, ARM, (8, 5))
    obs, action = numbers(7, 4), torch.rand(7, 2, generator=noise(1)) * torch.tensor([4.0, 1.0])
    action = action - torch.tensor([2.0, 0.0])
    with torch.no_grad():
        found = twins(obs, action).numpy()
    for i in (0, 1):
        unit = (action.double().numpy() - [0.0, 0.5]) / [2.0, 0.5]
        x = np.concatenate([obs.double().numpy(), unit], axis=1)
        for layer in range(3):
            w, b = (
                p[i].detach().double().numpy() for p in (twins.weights[layer], twins.biases[layer])
            )
            x = x @ w + b
            x = np.maximum(x, 0) if layer < 2 else x
        np.testing.assert_allclose(found[i], x[:, 0], atol=1e-5)
    assert not np.allclose(found[0], found[1])


def test_neither_critic_feels_the_others_error() -> None:
    twins = TwinCritic(VECTOR, ARM, (8,))
    twins(numbers(7, 4), numbers(7, 2, seed=1))[0].sum().backward()
    for p in twins.parameters():
        assert (p.grad[1] == 0).all() and (p.grad[0] != 0).any()  # type: ignore[index]


def test_critics_begin_like_layers_of_torchs_own() -> None:
    """Uniform within one over the root of the inputs."""
    with seeded(0):
        twins = TwinCritic(Box(-1, 1, (98,)), ARM, (400, 400))
    for layer, inputs in enumerate((100, 400, 400)):
        for p in (twins.weights[layer], twins.biases[layer]):
            x, bound = p.detach().double(), inputs**-0.5
            assert float(x.abs().max()) <= bound
            if x.numel() > 100:
                assert float(x.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("sizes", [[100], [1] * 20, [7, 1, 64, 28]])
def test_mean_and_deviation_are_those_of_all_rows(sizes: list[int]) -> None:
    """By numpy, however the rows come, with a mean that is huge beside the deviation."""
    eye, rng = Normalizer((3,)), np.random.default_rng(0)
    rows = rng.normal([0.0, 1e6, -3.0], [1.0, 0.5, 1e-3], (sum(sizes), 3))
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        eye.count(torch.from_numpy(part))
    assert int(eye.number) == len(rows)
    np.testing.assert_allclose(eye.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(eye.squares / eye.number, rows.var(axis=0), rtol=1e-6)
    wanted = np.clip((rows - rows.mean(axis=0)) / rows.std(axis=0), -10, 10)
    np.testing.assert_allclose(eye(torch.from_numpy(rows)), wanted, atol=1e-4)


def test_looking_is_not_counting() -> None:
    """Before anything was counted nothing changes; a far outlier is cut at ten; a constant is zero."""
    eye = Normalizer((2,))
    x = torch.tensor([[3.0, 5.0], [5.0, 5.0]])
    assert torch.equal(eye(x), x)
    eye.count(x)
    state = {name: b.clone() for name, b in eye.named_buffers()}
    assert eye(torch.tensor([[1e9, 5.0], [-1e9, 5.0]])).tolist() == [[10.0, 0.0], [-10.0, 0.0]]
    assert eye(x).dtype == torch.float32
    assert all(torch.equal(b, state[name]) for name, b in eye.named_buffers())
    assert not list(eye.parameters())  # nothing for an optimiser to move


def test_pixels_that_are_on_or_off_have_a_mean_too() -> None:
    eye = Normalizer((2,))
    eye.count(torch.tensor([[True, False], [False, False]]))
    assert eye(torch.tensor([[True, False]])).tolist() == [[1.0, 0.0]]


def test_a_policy_takes_its_normaliser_along() -> None:
    """As it was: what the run counts later does not reach it."""
    network = ActorCritic(VECTOR, Discrete(3), (8,), normalize=True)
    x = numbers(200, 4) * 3 + 5
    network.eye.count(x[:100])  # type: ignore[operator]
    policy = network.policy()
    with torch.no_grad():
        z = (x.double() - x[:100].double().mean(0)) / x[:100].double().std(0, correction=0)
        wanted = network.actor.layers(z.float()).argmax(1)
    network.eye.count(1e3 * x)  # type: ignore[operator]
    np.testing.assert_array_equal(policy(x.numpy()), wanted)


@pytest.mark.parametrize("network", [Actor, ActorCritic])
@pytest.mark.parametrize(
    "actions",
    [MultiDiscrete([2, 3]), Box(-np.inf, np.inf, (1,)), Box(-1, np.inf, (1,)), Box(-1, 1, (2, 2)),
     Discrete(3, start=1), Tuple([Discrete(2)])],
    ids=["many", "open", "half open", "table", "from one on", "tuple"],
)  # fmt: skip
def test_actions_that_no_policy_takes(network: Any, actions: Space[Any]) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"action_space = .*: must be Discrete from 0 on"
    ):
        network(VECTOR, actions)
