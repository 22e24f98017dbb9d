"""Bandits: the rules by hand, the loop against exact expectations, replay by enumeration of all logs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rlcourse import evidence
from rlcourse.algorithms.bandit_oracles import (
    CHANCES,
    exact_play,
    lai_robbins,
    replay,
    ucb1_bound,
)
from rlcourse.algorithms.bandits import (
    RULES,
    Config,
    Memory,
    argmax_random_ties,
    learn,
    play,
)
from rlcourse.envs.bandit import LIKED, Bandit, bernoulli, gaussian, sequence, tastes, trap
from rlcourse.errors import InvalidArgumentError
from rlcourse.evidence.bandits import WORLDS, regret
from rlcourse.mdp import Floats
from rlcourse.seeding import generator

NOBODY = np.ones((1, 1))


def memory(counts: Any, sums: Any, squares: Any = None) -> Memory:
    """One run that has seen this much of each arm."""
    m = Memory(1, len(counts), 1)
    m.counts[0], m.sums[0], m.squares[0] = counts, sums, sums if squares is None else squares
    m.total[:] = np.sum(counts)
    return m


def index(rule: str, m: Memory, seed: int = 0, x: Floats = NOBODY, **settings: Any) -> Floats:
    return RULES[rule](m, Config(rule=rule, **settings), generator(seed), x)


# --- the rules by hand ------------------------------------------------------------------------------


def test_ucb1_by_hand() -> None:
    """Ten pulls: three successes of four, and three of six; ln 10 = 2.302585."""
    got = index("ucb1", memory([4, 6], [3, 3]))[0]
    assert got.tolist() == pytest.approx([0.75 + 1.0729830, 0.5 + 0.8760869], abs=1e-6)
    half = index("ucb1", memory([4, 6], [3, 3]), width=0.5)[0]
    assert half.tolist() == pytest.approx([0.75 + 0.3793568, 0.5 + 0.3097435], abs=1e-6)


def test_ucb1_tuned_by_hand() -> None:
    """Rewards 0.4 and 0.6 have variance 0.01; four of four successes have none: the bound is what is left."""
    got = index("ucb1_tuned", memory([2, 4], [1.0, 4.0], [0.52, 4.0]))[0]
    r = np.log(6) / np.array([2, 4])
    v = np.array([0.01, 0.0]) + np.sqrt(2 * r)
    assert (v > 0.25).all()
    assert got.tolist() == pytest.approx([0.5 + np.sqrt(r[0] / 4), 1.0 + np.sqrt(r[1] / 4)])
    many = index("ucb1_tuned", memory([1000, 1000], [500.0, 1000.0], [260.0, 1000.0]))[0]
    r = np.log(2000) / 1000
    assert many.tolist() == pytest.approx(
        [0.5 + np.sqrt(r * (0.01 + np.sqrt(2 * r))), 1.0 + np.sqrt(r * np.sqrt(2 * r))]
    )


@pytest.mark.parametrize("rule", ["ucb1", "ucb1_tuned", "commit"])
def test_every_arm_is_tried_before_any_is_tried_twice(rule: str) -> None:
    pulls = play(bernoulli([0.1, 0.5, 0.9, 0.2]), Config(rule=rule, steps=4, runs=50)).pulls
    assert (pulls == 1).all()


def test_ties_are_fair() -> None:
    scores = np.tile([1.0, 3.0, 3.0, 2.0, 3.0], (6000, 1))
    counts = np.bincount(argmax_random_ties(scores, generator(0)), minlength=5)
    assert counts[0] == counts[3] == 0
    assert stats.chisquare(counts[[1, 2, 4]]).pvalue > 1e-4


def test_epsilon_greedy_takes_the_best_arm_as_often_as_it_says() -> None:
    m = Memory(40_000, 4, 1)
    m.counts[:], m.sums[:] = 10, [2, 9, 3, 1]
    for settings, epsilon in (
        ({"epsilon": 0.2}, 0.2),
        ({"decay": 8.2}, 0.2),
        ({"decay": 900.0}, 1),
    ):
        m.total[:] = 40
        config = Config(rule="epsilon_greedy", **settings)
        rng = generator(1)
        chosen = argmax_random_ties(RULES["epsilon_greedy"](m, config, rng, NOBODY), rng)
        expected = np.full(4, epsilon / 4) + np.eye(4)[1] * (1 - epsilon)
        assert stats.chisquare(np.bincount(chosen), 40_000 * expected).pvalue > 1e-4


def test_an_untried_arm_is_hoped_to_pay_what_the_settings_say() -> None:
    hopes = index("epsilon_greedy", memory([0, 2], [0, 1]), epsilon=0.0, initial=0.3)
    assert hopes.tolist() == [[0.3, 0.5]]


def test_thompson_draws_from_the_posterior() -> None:
    m = Memory(5000, 2, 1)
    m.counts[:], m.sums[:] = [10, 4], [7, 0]
    drawn = index("thompson", m)
    for arm, (a, b) in enumerate([(8, 4), (1, 5)]):
        assert stats.kstest(drawn[:, arm], stats.beta(a, b).cdf).pvalue > 1e-4


def test_thompson_with_a_normal_posterior() -> None:
    """By the product of prior and likelihood on a grid."""
    m = Memory(5000, 1, 1)
    m.counts[:], m.sums[:] = 4, 6.0
    drawn = index("thompson_gaussian", m, noise=2.0, spread=1.5)[:, 0]
    grid = np.linspace(-8, 8, 4001)
    weight = stats.norm.pdf(grid, 0, 1.5) * stats.norm.pdf(1.5, grid, 2.0 / np.sqrt(4))
    cdf = np.cumsum(weight) / weight.sum()
    assert stats.kstest(drawn, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-4


@pytest.mark.parametrize("rule", ["gradient", "exp3"])
def test_a_rule_of_chances_pulls_with_these_chances(rule: str) -> None:
    m = Memory(30_000, 3, 1)
    m.preferences[:] = np.log([0.2, 0.3, 0.5])
    rng = generator(0)
    config = Config(rule=rule, mixing=0.3)
    chosen = argmax_random_ties(RULES[rule](m, config, rng, NOBODY), rng)
    p = np.array([0.2, 0.3, 0.5])
    p = p if rule == "gradient" else 0.7 * p + 0.1
    assert stats.chisquare(np.bincount(chosen), 30_000 * p).pvalue > 1e-4


def test_the_gradient_bandit_climbs_the_expected_reward() -> None:
    """The mean step over arms is the exact gradient, by finite differences; a baseline changes no mean."""
    logits, pays = np.array([0.3, -0.5, 1.0]), np.array([0.9, 0.1, 0.4])
    chances = np.exp(logits) / np.exp(logits).sum()

    def value(z: Floats) -> float:
        return float(np.exp(z) @ pays / np.exp(z).sum())

    slope = [(value(logits + h) - value(logits - h)) / 2e-5 for h in 1e-5 * np.eye(3)]
    for seen in (0, 7):  # what the baseline is made of
        m = Memory(3, 3, 1)
        m.preferences[:], m.counts[:, 0], m.sums[:, 0], m.total[:] = logits, seen, 0.6 * seen, seen
        config = Config(rule="gradient", step_size=0.2)
        learn(m, config, np.arange(3), np.arange(3), pays, np.ones((3, 1)))
        mean = chances @ (m.preferences - logits)
        np.testing.assert_allclose(mean, 0.2 * np.array(slope), atol=1e-8)


def test_exp3_weighs_a_reward_by_its_chance() -> None:
    logits, pays = np.array([0.3, -0.5, 1.0]), np.array([0.9, 0.1, 0.4])
    chances = 0.8 * np.exp(logits) / np.exp(logits).sum() + 0.2 / 3
    m = Memory(3, 3, 1)
    m.preferences[:] = logits
    learn(m, Config(rule="exp3", mixing=0.2), np.arange(3), np.arange(3), pays, np.ones((3, 1)))
    np.testing.assert_allclose(chances @ (m.preferences - logits), 0.2 * pays / 3, atol=1e-12)


def test_lin_ucb_is_ridge_regression_with_a_width() -> None:
    """The incremental inverse against one solved anew, for runs that pull different arms."""
    rng = np.random.default_rng(0)
    m, config = Memory(3, 2, 4), Config(rule="lin_ucb", width=0.7)
    past: dict[tuple[int, int], list[tuple[Floats, float]]] = {}
    for _ in range(30):
        x, arms, paid = rng.normal(size=(3, 4)), rng.integers(2, size=3), rng.random(3)
        learn(m, config, np.arange(3), arms, paid, x)
        for run in range(3):
            past.setdefault((run, int(arms[run])), []).append((x[run], float(paid[run])))
    x = rng.normal(size=(3, 4))
    got = RULES["lin_ucb"](m, config, generator(0), x)
    for (run, arm), rows in past.items():
        X, y = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        A = np.eye(4) + X.T @ X
        expected = x[run] @ np.linalg.solve(A, X.T @ y)
        expected += 0.7 * np.sqrt(x[run] @ np.linalg.solve(A, x[run]))
        assert got[run, arm] == pytest.approx(expected, abs=1e-10)


def test_what_is_decided_stays_decided() -> None:
    """After three pulls of each arm one is pulled for ever, though it may turn out badly."""
    result = play(bernoulli([0.5, 0.5]), Config(rule="commit", explore=3, steps=100, runs=40))
    assert sorted({int(n) for n in result.pulls.ravel()}) == [3, 97]


# --- the loop ---------------------------------------------------------------------------------------

PAIRS = {
    "random": ("random", {}),
    "greedy": ("epsilon_greedy", {"epsilon": 0.0}),
    "epsilon_greedy": ("epsilon_greedy", {"epsilon": 0.1}),
    "ucb1": ("ucb1", {}),
    "thompson": ("thompson", {}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_play_has_the_exact_expected_reward(name: str) -> None:
    """Thirty thousand runs of a dozen pulls against the sum over all histories."""
    rule, settings = PAIRS[name]
    truth = (0.35, 0.7)
    exact = exact_play(12, CHANCES[name], truth).values[0, 0, 0, 0]
    result = play(bernoulli(truth), Config(rule=rule, steps=12, runs=30_000, **settings), seed=3)
    for paid in (result.reward, 12 * 0.7 - result.regret[-1]):
        assert abs(paid.mean() - exact) < 4.5 * paid.std() / np.sqrt(30_000)


def test_regret_is_gaps_times_pulls() -> None:
    means = np.array([0.2, 0.9, 0.6])
    result = play(bernoulli(means), Config(steps=200, runs=7), points=10)
    np.testing.assert_allclose(result.regret[-1], result.pulls @ (0.9 - means))
    assert result.x.tolist() == list(range(20, 201, 20))
    assert (np.diff(result.regret, axis=0) >= 0).all()


def test_a_context_has_a_best_arm_of_its_own() -> None:
    """Two guests with opposite tastes: the best single arm loses half of what an oracle has."""
    bandit = Bandit(np.eye(2), np.eye(2), noise=0.0)
    result = play(bandit, Config(rule="random", steps=4000, runs=4), seed=1)
    assert result.regret[-1].mean() == pytest.approx(2000, rel=0.05)
    assert abs(result.fixed[-1].mean()) < 150
    seen = play(bandit, Config(rule="lin_ucb", steps=400, runs=4))
    assert seen.regret[-1].max() < 20 and seen.fixed[-1].max() < -100


def test_a_sequence_is_judged_against_the_best_arm_in_hindsight() -> None:
    table = np.array([[1.0, 0.0]] * 2 + [[0.0, 1.0]] * 6)
    result = play(sequence(table), Config(rule="random", steps=8, runs=5), points=8)
    np.testing.assert_allclose(result.fixed[-1], 6 - result.reward)
    np.testing.assert_allclose(result.regret[-1], 8 - result.reward)


@pytest.mark.parametrize("delay", [0, 3])
def test_a_delayed_reward_is_not_known_before(delay: int) -> None:
    known: list[float] = []

    def spy(m: Memory, *rest: Any) -> Floats:
        known.append(float(m.total[0]))
        return np.zeros(m.counts.shape)

    play(bernoulli([0.5, 0.5], delay=delay), Config(steps=8, runs=2), index=spy)
    assert known == [max(0, t - delay) for t in range(8)]


def test_the_same_seed_the_same_run() -> None:
    config = Config(steps=60, runs=3)
    first, again, other = (play(bernoulli([0.4, 0.6]), config, seed) for seed in (5, 5, 6))
    assert (first.pulls == again.pulls).all() and (first.pulls != other.pulls).any()


def test_normal_rewards() -> None:
    result = play(gaussian([0.0, 3.0], 1.0), Config(rule="thompson_gaussian", steps=300, runs=20))
    assert result.pulls[:, 1].min() > 250
    spread = play(gaussian([1.0, 1.0], 2.0), Config(rule="random", steps=100, runs=400)).reward
    assert spread.std() == pytest.approx(20.0, rel=0.15) and abs(spread.mean() - 100) < 5


# --- machines ---------------------------------------------------------------------------------------


def test_nobody_but_ucb1_is_trapped_at_every_step() -> None:
    bandit = trap(500)
    assert (bandit.means.sum(axis=1) == np.r_[1, np.ones(499)]).all()
    for seed in range(5):
        result = play(bandit, Config(rule="ucb1", steps=500, runs=20), seed)
        assert (result.reward == 1).all()
    assert play(bandit, Config(rule="random", steps=500, runs=20)).reward.mean() > 200


def test_what_noise_shows_has_nothing_to_do_with_the_guest() -> None:
    seen, blind = tastes(), tastes(shown="noise")
    assert (seen.means == blind.means).all()
    fit = [np.linalg.lstsq(b.contexts, b.means, rcond=None)[0] for b in (seen, blind)]
    left = [(b.means - b.contexts @ f).var() for b, f in zip((seen, blind), fit, strict=True)]
    assert left[0] < 0.2 * seen.means.var() and left[1] > 0.5 * seen.means.var()


def test_the_fifty_films() -> None:
    assert len(LIKED) == 50 and list(LIKED) == sorted(LIKED, reverse=True)
    assert np.mean(LIKED) == pytest.approx(0.7757, abs=1e-4)  # counted by another program


# --- exact play -------------------------------------------------------------------------------------


def by_histories(steps: int, history: tuple[tuple[int, int], ...] = ()) -> Fraction:
    """The Bayesian optimum over whole histories, in fractions; no counts, no table."""
    if steps == 0:
        return Fraction(0)
    worth = []
    for arm in (0, 1):
        own = [reward for pulled, reward in history if pulled == arm]
        p = Fraction(1 + sum(own), 2 + len(own))
        win = 1 + by_histories(steps - 1, (*history, (arm, 1)))
        lose = by_histories(steps - 1, (*history, (arm, 0)))
        worth.append(p * win + (1 - p) * lose)
    return max(worth)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_the_bayesian_optimum_over_histories(steps: int) -> None:
    assert exact_play(steps).values[0, 0, 0, 0] == pytest.approx(float(by_histories(steps)))


def test_no_rule_beats_the_optimum_and_random_play_is_a_half_a_step() -> None:
    best = exact_play(20).values[0, 0, 0, 0]
    for chance in CHANCES.values():
        assert exact_play(20, chance).values[0, 0, 0, 0] < best
    assert exact_play(20, CHANCES["random"]).values[0, 0, 0, 0] == pytest.approx(10.0)


def test_thompsons_chance_is_that_of_two_draws() -> None:
    rng = np.random.default_rng(0)
    for s1, f1, s2, f2 in ((0, 0, 0, 0), (3, 1, 1, 4), (0, 7, 5, 5), (12, 1, 2, 0)):
        drawn = rng.beta(1 + s1, 1 + f1, 40_000) > rng.beta(1 + s2, 1 + f2, 40_000)
        got = float(CHANCES["thompson"](*(np.array([float(n)]) for n in (s1, f1, s2, f2)))[0])
        assert abs(got - drawn.mean()) < 4.5 * 0.5 / 200


def test_two_bounds() -> None:
    means = [0.9, 0.6, 0.3]
    kl = [stats.entropy([p, 1 - p], [0.9, 0.1]) for p in (0.6, 0.3)]
    assert lai_robbins(means) == pytest.approx(0.3 / kl[0] + 0.6 / kl[1])
    assert lai_robbins([0.0, 0.5]) == pytest.approx(0.5 / np.log(2))
    assert lai_robbins([1.0, 0.5]) == 0.0
    bound = 8 * np.log(100) * (1 / 0.3 + 1 / 0.6) + (1 + np.pi**2 / 3) * 0.9
    assert ucb1_bound(means, 100) == pytest.approx(bound)


@pytest.mark.parametrize("truth", [(0.1, 0.9), (0.45, 0.55), (0.8, 1.0)])
def test_ucb1_keeps_its_bound_exactly(truth: tuple[float, float]) -> None:
    for steps in (2, 10, 40):
        reward = exact_play(steps, CHANCES["ucb1"], truth).values[0, 0, 0, 0]
        assert steps * max(truth) - reward <= ucb1_bound(truth, steps)


# --- replay -----------------------------------------------------------------------------------------

PAYS = ((0.3, 0.8), (0.6, 0.1))  # of two guests' two arms


def stubborn(m: Memory, c: Config, rng: np.random.Generator, x: Floats) -> Floats:
    """A rule without dice that learns: what paid more than a third of the time, else the other arm."""
    return m.means(0.4) + 0.01 * np.arange(2) + 0.05 * x[:, 1:] * np.array([[1.0, -1.0]])


def online(steps: int, pull: Callable[[list[tuple[int, int, int]]], Any]) -> float:
    """The exact mean reward of `stubborn` in real play, over all guests and rewards."""
    total = 0.0
    for guests in itertools.product((0, 1), repeat=steps):
        for luck in itertools.product((0, 1), repeat=steps):
            chance, history = 0.5**steps, []
            for guest, paid in zip(guests, luck, strict=True):
                arm = pull([*history, (guest, -1, -1)])
                p = PAYS[guest][arm]
                chance *= p if paid else 1 - p
                history.append((guest, arm, paid))
            total += chance * sum(luck) / steps
    return total


def chosen_by_stubborn(history: list[tuple[int, int, int]]) -> int:
    m = Memory(1, 2, 2)
    for _, arm, paid in history[:-1]:
        learn(
            m, Config(), np.zeros(1, int), np.array([arm]), np.array([float(paid)]), np.ones((1, 2))
        )
    x = np.array([[1.0, float(history[-1][0])]])
    return int(stubborn(m, Config(), generator(0), x)[0].argmax())


def replayed(logger: Any, events: int, steps: int) -> tuple[float, float]:
    """Mean reward of runs that got ``steps`` matches, and how likely that is, over *all* logs."""
    mean, reached = 0.0, 0.0
    config = Config(steps=steps, runs=1)
    for log in itertools.product(itertools.product((0, 1), repeat=3), repeat=events):
        guests, actions, luck = np.array(log).T
        chance = np.prod([
            0.5 * logger[g][a] * (PAYS[g][a] if paid else 1 - PAYS[g][a]) for g, a, paid in log
        ])  # fmt: skip
        contexts = np.column_stack([np.ones(events), guests])
        found = replay(actions, luck, config, arms=2, contexts=contexts, index=stubborn)
        if found.matched[0] == steps:
            mean += chance * found.mean[0]
            reached += chance
    return mean / reached, reached


@pytest.mark.parametrize(
    ("logger", "unbiased"), [(((0.5, 0.5), (0.5, 0.5)), True), (((0.9, 0.1), (0.2, 0.8)), False)]
)
def test_replay_over_all_logs(logger: Any, unbiased: bool) -> None:
    """Uniform logs give the law of real play; a logger that looked at the guests does not."""
    mean, reached = replayed(logger, events=3, steps=2)
    truth = online(2, chosen_by_stubborn)
    assert 0.1 < reached < 0.9
    assert (abs(mean - truth) < 1e-12) == unbiased
    if not unbiased:
        assert abs(mean - truth) > 0.02


def test_replay_learns_from_what_matched_and_from_nothing_else() -> None:
    """A log of arm 0 alone: a rule that wants arm 1 sees nothing."""
    wants_one = lambda m, c, rng, x: np.tile([0.0, 1.0], (len(m.total), 1))  # noqa: E731
    found = replay([0] * 50, [1.0] * 50, Config(steps=9, runs=3), arms=2, index=wants_one)
    assert (found.matched == 0).all() and np.isnan(found.mean).all()
    mixed = replay([0, 1] * 50, [1.0, 0.25] * 50, Config(steps=9, runs=3), arms=2, index=wants_one)
    assert (mixed.matched == 9).all() and (mixed.mean == 0.25).all()


# --- what cannot be right -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Config(rule="luck"), "rule = 'luck': must be one of random, "),
        (lambda: Config(steps=0), "steps = 0"),
        (lambda: Config(runs=2.5), "runs = 2.5"),  # type: ignore[arg-type]
        (lambda: Config(epsilon=1.5), "epsilon = 1.5"),
        (lambda: Config(mixing=-0.1), "mixing = -0.1"),
        (lambda: Config(width=-1.0), "width = -1.0"),
        (lambda: Config(noise=0.0), "noise, spread: must be larger than zero"),
        (lambda: Config(initial=float("nan")), "initial = nan"),
        (lambda: bernoulli([0.5]), "two arms or more"),
        (lambda: bernoulli([0.5, 1.5]), "must be probabilities"),
        (lambda: bernoulli([0.5, float("nan")]), "finite numbers"),
        (lambda: bernoulli([0.5, 0.6], delay=-1), "delay = -1"),
        (lambda: gaussian([0.5, 0.6], -1.0), "noise = -1.0"),
        (lambda: Bandit(np.ones((2, 2)), np.ones((3, 1))), r"finite numbers \[2, features\]"),
        (lambda: tastes(shown="age"), "shown = 'age': must be one of tastes, noise"),
        (lambda: tastes(users=0), "users = 0"),
        (lambda: trap(0), "steps = 0"),
        (lambda: play(gaussian([0.1, 0.2]), Config()), "needs rewards in"),
        (lambda: play(sequence(np.eye(2)), Config(steps=3)), "steps = 3: must be at most 2"),
        (lambda: exact_play(0), "steps = 0"),
        (lambda: exact_play(51), "at most 50"),
        (lambda: exact_play(3, truth=(0.5, 2.0)), "truth = 2.0"),
        (lambda: lai_robbins([0.5]), "two or more"),
        (lambda: ucb1_bound([0.5, 7.0], 10), "probabilities"),
        (lambda: replay([0, 1], [1.0], Config(), arms=2), r"must be \[N\], \[N\]"),
        (lambda: replay([0, 2], [1.0, 1.0], Config(), arms=2), "whole numbers from 0 to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_said(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        make()


# --- evidence ---------------------------------------------------------------------------------------

# Mean regret and standard error over 100 runs, measured by another program before this one was written.
ELSEWHERE = {
    "ucb1": {1000: (126, 1), 5000: (548, 1), 10_000: (997, 2), 20_000: (1772, 3)},
    "ucb-half": {1000: (99, 1), 5000: (343, 3), 10_000: (533, 5), 20_000: (771, 6)},
    "epsilon": {1000: (56, 1), 5000: (162, 5), 10_000: (282, 9), 20_000: (504, 17)},
    "thompson": {1000: (86, 1), 5000: (258, 3), 10_000: (357, 5), 20_000: (442, 7)},
    "decay": {1000: (104, 1), 5000: (210, 5), 10_000: (281, 10), 20_000: (390, 20)},
    "small": {1000: (49, 1), 5000: (122, 7), 10_000: (206, 13), 20_000: (376, 26)},
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_table_of_regret_agrees_with_another_program(name: str) -> None:
    stored = evidence.load(f"bandits-{name}")
    for steps, (mean, error) in ELSEWHERE[name].items():
        ours = np.array(stored["curves"])[:, stored["x"].index(steps)]
        own_error = ours.std(ddof=1) / np.sqrt(len(ours))
        assert abs(ours.mean() - mean) < 3.5 * np.hypot(error, own_error) + 0.5, steps


def test_a_measure_is_the_mean_of_its_batch() -> None:
    config = {"rule": "random", "steps": 400, "runs": 20}
    for world in WORLDS:
        score, extra = regret(config, 0, world=world, fixed=world == "trap")
        assert len(extra["x"]) == len(extra["curves"]) == 40 and extra["curves"][-1] == score
    score, extra = regret(config, 0, world="films")
    assert score == pytest.approx(400 * (max(LIKED) - np.mean(LIKED)), rel=0.05)
    assert extra["share"] == pytest.approx(0.02, abs=0.01)
