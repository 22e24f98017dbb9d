"""Side by side with other libraries: the same problem, method and guarantee, in one run.

Only the ratios mean anything: seconds depend on the machine. Each pair is timed in turn, several times,
and the ratio of the medians is reported; below one, this package is faster. QuantEcon compiles on its
first call: that call is made on a small problem and not timed.

The guarantee is the same for all: values within EPSILON / 2 of the optimum. QuantEcon and pymdptoolbox
stop on the size (or the span) of the last change, this package on MacQueen's bounds.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import mdptoolbox.mdp
import numpy as np
import quantecon as qe
import scipy.sparse as sp

from rlcourse.algorithms import tabular
from rlcourse.algorithms.dynamic_programming import (
    converged,
    evaluate,
    greedy,
    modified_policy_iteration,
    q_values,
    value_iteration,
)
from rlcourse.envs.vector import make
from rlcourse.mdp import Floats, TabularMDP, grid, random_mdp

EPSILON = 1e-6
SWEEPS = 20  # evaluation steps of modified policy iteration, QuantEcon's default
METHODS = {
    "value iteration": value_iteration,
    "modified policy iteration": modified_policy_iteration,
}

Rows = list[tuple[str, str, float, float]]


def side_by_side(
    name: str,
    peer: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    repeats: int,
    judge: Callable[[Any], Any] = np.asarray,
) -> tuple[str, str, float, float]:
    """Time both in turn; print and return (name, peer, seconds of ours, seconds of theirs)."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    values: dict[str, Any] = {}
    for _ in range(repeats):
        for who, call in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            values[who] = call()
            times[who].append(time.perf_counter() - start)
    a, b = (statistics.median(times[who]) for who in ("ours", "theirs"))
    gap = float(np.abs(judge(values["ours"]) - judge(values["theirs"])).max())
    spread = max(max(t) / min(t) for t in times.values())
    print(
        f"{name:52} {peer:12} ours {a:9.4f} s  theirs {b:9.4f} s  ratio {a / b:6.3f}  "
        f"(slowest/fastest {spread:.2f}, values differ by {gap:.1e})",
        flush=True,
    )
    if not gap <= EPSILON:
        sys.exit(f"{name}: the two solutions differ by {gap:.2e}, more than {EPSILON:g}")
    return name, peer, a, b


def state_action_pairs(mdp: TabularMDP) -> tuple[Floats, Any]:
    """Reward ``[S * A]`` and transitions ``[S * A, S]``, state by state, as QuantEcon wants them."""
    states, actions = mdp.reward.shape
    order = (np.arange(actions) * states + np.arange(states)[:, None]).ravel()
    rows = sp.csr_matrix(mdp.rows[order])
    ends = np.repeat(mdp.terminal, actions)
    stay = sp.csr_matrix(
        (ends.astype(float), (np.arange(ends.size), np.repeat(np.arange(states), actions))),
        shape=rows.shape,
    )
    stay.eliminate_zeros()
    return mdp.reward.ravel(), sp.csr_matrix(rows + stay)


def quantecon_problem(mdp: TabularMDP, gamma: float) -> Any:
    """The same problem for QuantEcon."""
    states, actions = mdp.reward.shape
    if mdp.is_sparse:
        reward, rows = state_action_pairs(mdp)
        s, a = np.divmod(np.arange(states * actions), actions)
        return qe.markov.DiscreteDP(reward, rows, gamma, s, a)
    dense = mdp.rows.reshape(actions, states, states).transpose(1, 0, 2)
    return qe.markov.DiscreteDP(mdp.reward, np.ascontiguousarray(dense), gamma)


def against_quantecon(name: str, mdp: TabularMDP, gamma: float, repeats: int) -> Rows:
    """Both methods on one problem."""
    problem = quantecon_problem(mdp, gamma)
    rows = []
    for method, stream in METHODS.items():
        options = {"sweeps": SWEEPS} if method.startswith("modified") else {}
        rows.append(
            side_by_side(
                f"{method}, {name}",
                "QuantEcon",
                lambda stream=stream, options=options: converged(
                    stream(mdp, gamma, **options), EPSILON / 2
                ),
                lambda method=method: (
                    problem.solve(
                        method=method.replace(" ", "_"), epsilon=EPSILON, max_iter=10**6, k=SWEEPS
                    ).v
                ),
                repeats,
            )
        )
    return rows


def against_pymdptoolbox(name: str, mdp: TabularMDP, gamma: float, repeats: int) -> Rows:
    """Value iteration on a dense problem, to an epsilon-optimal policy."""
    states, actions = mdp.reward.shape
    transition = mdp.rows.reshape(actions, states, states)

    def theirs() -> Any:
        solver = mdptoolbox.mdp.ValueIteration(transition, mdp.reward, gamma, epsilon=EPSILON)
        solver.run()
        return solver.policy

    def ours() -> Any:
        values = converged(value_iteration(mdp, gamma), EPSILON / 2)
        return greedy(q_values(mdp, values, gamma))

    # Its values are a constant away from the optimum (it stops on the span), its policy is not.
    def worth(policy: Any) -> Floats:
        return evaluate(mdp, np.asarray(policy), gamma)

    return [side_by_side(f"value iteration, {name}", "pymdptoolbox", ours, theirs, repeats, worth)]


def learning_speed(env_id: str, steps: int = 100_000, repeats: int = 5) -> None:
    """Steps a second of Q-learning, as a share of stepping the environment with random actions."""

    def random_steps() -> None:
        env = make(env_id)
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(steps):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()

    shares = []
    for seed in range(repeats):
        start = time.perf_counter()
        random_steps()
        middle = time.perf_counter()
        tabular.train(tabular.Config(env_id=env_id, steps=steps), seed)
        shares.append((middle - start) / (time.perf_counter() - middle))
    print(
        f"Q-learning, {env_id:40} {100 * statistics.median(shares):.0f} % of the speed of random steps "
        f"({100 * min(shares):.0f}-{100 * max(shares):.0f} % in {repeats} runs)",
        flush=True,
    )


def import_time(repeats: int = 5) -> None:
    """Seconds to import the package in a fresh interpreter."""
    code = (
        "import time; t = time.perf_counter(); import rlcourse, sys;"
        "print(time.perf_counter() - t, 'torch' in sys.modules)"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(repeats)
    ]
    seconds = statistics.median(float(time_) for time_, _ in found)
    torch = any(loaded == "True" for _, loaded in found)
    print(f"import rlcourse: {seconds:.3f} s, {'with' if torch else 'without'} torch")


def main() -> None:
    """Run everything."""
    side = 1000
    lines = ["S" + "." * (side - 1), *["." * side] * (side - 2), "." * (side - 1) + "G"]
    against = [random_mdp(200, 4, seed=seed) for seed in range(3)]
    print("warming up (QuantEcon compiles)", flush=True)
    small = grid(
        ["S" + "." * 39, *["." * 40] * 38, "." * 39 + "G"], slip=0.1
    )  # 1,600 states: sparse
    for warm in (against[0], small):
        problem = quantecon_problem(warm, 0.9)
        for method in METHODS:
            problem.solve(method=method.replace(" ", "_"))
    rows: Rows = []
    for gamma in (0.9, 0.99):
        for seed, mdp in islice(enumerate(against), 2):
            rows += against_quantecon(f"200 dense states, gamma {gamma}, #{seed}", mdp, gamma, 15)
        rows += against_pymdptoolbox(f"200 dense states, gamma {gamma}, #0", against[0], gamma, 3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = grid(lines, slip=0.1)
    model = large.rows.data.nbytes + large.rows.indices.nbytes + large.rows.indptr.nbytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"1,000 x 1,000 grid: the model holds {(model + large.reward.nbytes) / 2**20:.0f} MiB; "
        f"building it took the process from {before / 1024:.0f} to {peak / 1024:.0f} MiB at most",
        flush=True,
    )
    rows += against_quantecon("1,000 x 1,000 grid, slip 0.1, gamma 0.95", large, 0.95, 2)
    learning_speed("FrozenLake-v1")
    learning_speed("Taxi-v4")
    import_time()
    slower = [name for name, _, ours, theirs in rows if ours > theirs]
    print(f"\n{len(rows) - len(slower)} of {len(rows)} comparisons at most the other's time")
    for name in slower:
        print(f"  slower: {name}")


if __name__ == "__main__":
    main()
