"""The recommender's baselines and its judging beside ``implicit``: CPU seconds, on data of ml-1m's size.

PYTHONPATH=. python benchmarks/recommender.py [FOLDER of ml-1m]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import scipy.sparse
from implicit.nearest_neighbours import TFIDFRecommender

from rlcourse.recommender import baselines
from rlcourse.recommender.data import load, sessions
from rlcourse.recommender.metrics import judge

JUDGING = 5.0  # CPU seconds for the whole catalogue and every user: at most
TIMES = 1.5  # of implicit's nearest equivalent: at most
TRIALS = 3


def cpu_seconds(call: Callable[[], object]) -> float:
    """The median of some calls."""
    taken = []
    for _ in range(TRIALS):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def main() -> None:
    """Print the table; the exit code is 1 if a limit is broken."""
    split = sessions(load(sys.argv[1] if len(sys.argv) > 1 else None, size="full"))
    liked = scipy.sparse.csr_matrix(split.history.matrix(len(split.items), liked=True))
    print(f"{split.name}: {len(split.users):,} users, {len(split.items):,} items", flush=True)

    def theirs() -> None:
        TFIDFRecommender(K=100, num_threads=1).fit(liked.astype("float64"), show_progress=False)

    nearest, factors = cpu_seconds(theirs), cpu_seconds(lambda: baselines.als(split))
    knn = cpu_seconds(lambda: baselines.item_knn(split, 100))
    ease = cpu_seconds(lambda: baselines.ease(split))
    scores = baselines.ease(split)
    judging = cpu_seconds(lambda: judge(scores, split))
    print(f"item-kNN  {knn:6.2f} s, {knn / nearest:.2f} x implicit's ({nearest:.2f} s)")
    print(f"EASE      {ease:6.2f} s, {ease / factors:.2f} x implicit's ALS ({factors:.2f} s)")
    print(f"judging   {judging:6.2f} s (scores of EASE, ranking, four metrics)")
    if knn > TIMES * nearest or ease > TIMES * factors or judging > JUDGING:
        sys.exit(1)


if __name__ == "__main__":
    main()
