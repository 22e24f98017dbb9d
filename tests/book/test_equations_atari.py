"""The labelled equations of the chapter ``projects/atari``, each against an independent oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

pytest.importorskip("ale_py")

from ale_py import ALEInterface, LoggerMode, roms

from rlcourse.atari.environment import Game, Games
from rlcourse.atari.evaluation import human_normalized, reference
from rlcourse.atari.networks import eye
from rlcourse.atari.replay import FrameReplay
from rlcourse.evidence import folder
from rlcourse.replay import UniformReplay


@pytest.mark.equation(
    "eq-atari-plan", oracle="every pattern of stuck frames, with its probability, by enumeration"
)
@pytest.mark.parametrize("plan", [[0] * 6, [0, 1, 0, 1, 0, 1], [2, 2, 0, 0, 1, 1], [0, 0, 0, 1, 1]])
def test_a_list_gets_through(plan: list[int]) -> None:
    sticky, total = 0.25, 0.0
    for stuck in itertools.product((False, True), repeat=len(plan) - 1):
        done, chance = [plan[0]], 1.0
        for wanted, sticks in zip(plan[1:], stuck, strict=True):
            done.append(done[-1] if sticks else wanted)
            chance *= sticky if sticks else 1 - sticky
        total += chance * (done == plan)
    changes = sum(a != b for a, b in itertools.pairwise(plan))
    assert total == pytest.approx((1 - sticky) ** changes)


def test_the_machine_sticks_frame_by_frame_as_often_as_it_says() -> None:
    """Breakout's paddle begins to move in the first frame with the chance that nothing sticks, 3/4."""
    ALEInterface.setLoggerMode(LoggerMode.Error)
    late = []
    for seed in range(300):
        ale = ALEInterface()
        ale.setFloat("repeat_action_probability", 0.25)
        ale.setInt("random_seed", seed)
        ale.loadROM(roms.get_rom_path("breakout"))
        ale.reset_game()
        right = ale.getMinimalActionSet()[2]
        before, frames = ale.getRAM()[72], 0  # the paddle's column
        while ale.getRAM()[72] == before:
            ale.act(right)
            frames += 1
        late.append(frames)
    first = np.mean(np.array(late) == min(late))
    assert abs(first - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 300)


@pytest.mark.equation("eq-atari-look", oracle="the bare emulator's frames, averaged by matrices")
def test_a_picture_is_the_brighter_of_two_frames_shrunk() -> None:
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path("asteroids"))
    ale.reset_game()

    def shrunk(picture: np.ndarray) -> np.ndarray:
        """Areas of 2.5 lines by 1.9 columns: every pixel as 84 x 84, and then blocks of 210 x 160."""
        fine = np.repeat(np.repeat(picture.astype(float), 2, 0), 21, 1)  # 420 x 3360
        return fine.reshape(84, 5, 84, 40).mean(axis=(1, 3))

    games = Games(Game("asteroids", sticky=0.0, noops=0, fire=False), 1)
    games.reset(0)
    buttons = ale.getMinimalActionSet()
    for t in range(60):
        frames = []
        for _ in range(4):
            ale.act(buttons[t % 3])
            frames.append(ale.getScreenGrayscale())
        seen = games.step([t % 3]).next_obs[0, -1]
        assert abs(seen - shrunk(np.maximum(frames[2], frames[3]))).max() <= 0.5 + 1e-9
    assert abs(seen - shrunk(frames[3])).max() > 20  # one frame alone is another picture


@pytest.mark.equation("eq-atari-memory", oracle="the bytes of the arrays of both replays")
def test_memory() -> None:
    k, h, w, c = 4, 84, 84, 3_000
    space, rng = Box(0, 255, (k, h, w), np.uint8), np.random.default_rng(0)
    assert UniformReplay(c, space, rng=rng).nbytes == c * (2 * k * h * w + 14)
    ring = FrameReplay(c, space, rng=rng).nbytes
    assert abs(ring / (c * (h * w + 19)) - 1) < 0.02


@pytest.mark.equation(
    "eq-atari-layer", oracle="torch: what comes out of the layers, and their weights"
)
@pytest.mark.parametrize("name", ["nature", "mnih2013", "small"])
def test_layers(name: str) -> None:
    body, _ = eye(Box(0, 255, (4, 84, 84), np.uint8), name)
    x, side, planes = torch.zeros(1, 4, 84, 84, dtype=torch.uint8), 84, 4
    seen = 0
    for layer in body:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            window, stride, outputs = layer.kernel_size[0], layer.stride[0], layer.out_channels
            side = (side - window) // stride + 1
            weights = outputs * (window**2 * planes + 1)
            assert x.shape == (1, outputs, side, side)
            assert sum(p.numel() for p in layer.parameters()) == weights
            planes, seen = outputs, seen + 1
    assert seen >= 2


@pytest.mark.equation(
    "eq-atari-saliency", oracle="a linear value: what is painted over, times its weights, by hand"
)
def test_saliency() -> None:
    rng = np.random.default_rng(0)
    stack, weights = rng.integers(256, size=(2, 4, 5)).astype(float), rng.normal(size=(2, 4, 5))
    i, j, background = 1, 3, 87.0
    covered = stack.copy()
    covered[:, 0:3, 2:5] = background
    moved = abs((weights * stack).sum() - (weights * covered).sum())
    by_hand = abs(
        sum(
            weights[k, a, b] * (stack[k, a, b] - background)
            for k in range(2)
            for a in range(i - 1, i + 2)
            for b in range(j - 1, j + 2)
        )
    )
    assert moved == pytest.approx(by_hand)


def half(text: str) -> float:
    """Half a unit of the last digit printed."""
    return 0.5 * float(10.0 ** -len(text.partition(".")[2]))


@pytest.mark.equation(
    "eq-atari-normalised", oracle="the per cents that the paper itself prints beside its scores"
)
def test_normalised() -> None:
    lines = (folder() / "nature_2015_table2.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len(rows) == 49
    for name, random, human, score, printed in rows:
        span = float(human) - float(random)
        by_formula = 100 * (float(score) - float(random)) / span
        # What rounding the three scores can do to the quotient, to first order, and a tenth more.
        rounded = (
            half(score)
            + half(random) * abs(1 - by_formula / 100)
            + half(human) * abs(by_formula / 100)
        )
        assert abs(by_formula - float(printed)) <= 110 * rounded / span + half(printed) + 1e-9, name
        found = reference(name)
        assert found is not None
        assert human_normalized(name, found[2]) == pytest.approx(by_formula)
