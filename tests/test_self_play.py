"""Self-play: the game counted and solved by another road, the judge, the learner."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from rlcourse.algorithms.self_play import (
    EMPTY,
    Config,
    after,
    judge,
    minimax,
    negamax_target,
    outcome,
    positions,
    train,
)
from rlcourse.errors import InvalidArgumentError

# Another road: two sets of cells as bits, X and O by name, alpha-beta instead of a full recursion.
LINES = [0o7, 0o70, 0o700, 0o111, 0o222, 0o444, 0o421, 0o124]


def wins(cells: int) -> bool:
    return any(cells & line == line for line in LINES)


@cache
def alpha_beta(mine: int, theirs: int, low: int = -1, high: int = 1) -> int:
    if wins(theirs):
        return -1
    if (mine | theirs) == 0o777:
        return 0
    for cell in range(9):
        if not (mine | theirs) >> cell & 1:
            low = max(low, -alpha_beta(theirs, mine | 1 << cell, -high, -low))
            if low >= high:
                break
    return low


def bits(board: tuple[int, ...], mark: int) -> int:
    return sum(1 << cell for cell in range(9) if board[cell] == mark)


def games(x: int = 0, o: int = 0) -> dict[str, int]:
    """All ways a game can go: who wins how many of them."""
    if wins(o):
        return {"O": 1}
    if wins(x):
        return {"X": 1}
    if x.bit_count() + o.bit_count() == 9:
        return {"draw": 1}
    total: dict[str, int] = {}
    for cell in range(9):
        if not (x | o) >> cell & 1:
            to_x = x.bit_count() == o.bit_count()
            for who, number in games(x | to_x << cell, o | (not to_x) << cell).items():
                total[who] = total.get(who, 0) + number
    return total


def test_the_tree_is_the_whole_tree() -> None:
    """5,478 positions, 765 up to symmetry, 255,168 games: the published counts."""
    assert len(positions()) == 5478

    def canonical(board: tuple[int, ...]) -> tuple[int, ...]:
        square = np.array(board).reshape(3, 3)
        sides = [np.rot90(s, k) for s in (square, square.T) for k in range(4)]
        return min(tuple(int(m) for m in side.ravel()) for side in sides)

    assert len({canonical(board) for board in positions()}) == 765
    assert games() == {"X": 131184, "O": 77904, "draw": 46080}


def test_minimax_is_alpha_beta_everywhere() -> None:
    for board in positions():
        sign = 1 if sum(map(abs, board)) % 2 == 0 else -1
        seen = tuple(sign * mark for mark in board)
        assert minimax(seen) == alpha_beta(bits(seen, 1), bits(seen, -1))


def test_outcomes_and_turns() -> None:
    assert outcome(EMPTY) is None
    assert outcome((-1, -1, -1, 1, 1, 0, 0, 0, 0)) == -1
    assert outcome((-1, 1, -1, -1, 1, 1, 1, -1, -1)) == 0
    board = after(after(EMPTY, 4), 0)
    assert board == (-1, 0, 0, 0, 1, 0, 0, 0, 0)  # seen by the first mover again


def test_the_judge_follows_every_reply() -> None:
    """A player of the first free cell, counted by hand-made enumeration of whole games."""

    def first(board: tuple[int, ...]) -> list[int]:
        return [board.index(0)]

    def endings(side: int) -> set[tuple[tuple[int, ...], str]]:
        found = set()

        def walk(x: int, o: int) -> None:
            board = tuple(int(bool(x >> c & 1)) - int(bool(o >> c & 1)) for c in range(9))
            who = "X" if wins(x) else "O" if wins(o) else "draw" if (x | o) == 0o777 else ""
            if who:
                found.add((board, who))
                return
            to_x = x.bit_count() == o.bit_count()
            free = [c for c in range(9) if not (x | o) >> c & 1]
            for c in free[:1] if to_x == (side == 1) else free:
                walk(x | to_x << c, o | (not to_x) << c)

        walk(0, 0)
        return found

    for side, own, other in ((1, "X", "O"), (-1, "O", "X")):
        verdict, expected = judge(first, sides=[side]), [who for _, who in endings(side)]
        assert verdict.wins == expected.count(own)
        assert verdict.losses == expected.count(other) > 0
        assert verdict.draws == expected.count("draw")


def test_the_judge_follows_all_moves_that_tie() -> None:
    """A perfect player does not lose; one that lets chance decide among all moves can."""
    perfect = judge(
        lambda b: [c for c in range(9) if not b[c] and -minimax(after(b, c)) == minimax(b)]
    )
    assert perfect.losses == 0 and perfect.wins > 0 and perfect.draws > 0
    anything = judge(lambda b: [c for c in range(9) if not b[c]])
    assert anything.losses > 0
    assert anything.decisions == 4520  # all boards on which somebody must move, each once


def test_a_target_is_the_negative_of_what_the_other_side_can_make() -> None:
    assert negamax_target((-1, -1, -1, 1, 1, 0, 0, 0, 0), None) == 1
    assert negamax_target((-1, 1, -1, -1, 1, 1, 1, -1, -1), None) == 0
    assert negamax_target(after(EMPTY, 0), {1: 0.25, 2: -1.0}) == -0.25


@pytest.mark.parametrize("seed", range(2))
def test_a_player_that_has_played_itself_never_loses(seed: int) -> None:
    result = train(Config(games=80_000), seed)
    assert judge(result.best).losses == 0
    assert len(result.log) == 80_000 and {row["outcome"] for row in result.log} == {-1.0, 0.0, 1.0}


def test_a_wrong_target_teaches_a_loser() -> None:
    def helps(following: tuple[int, ...], row: dict[int, float] | None) -> float:
        return 1.0 if row is None else max(row.values())

    assert judge(train(Config(games=5_000), target=helps).best).losses > 100


def test_a_run_is_its_seed_and_stops_when_told() -> None:
    a, b, c = (train(Config(games=300), seed) for seed in (0, 0, 1))
    assert a.table == b.table and a.log == b.log and a.table != c.table
    stopped = train(Config(games=300), 0, on_game=lambda game, result: game == 7)
    assert len(stopped.log) == 7 and stopped.log == a.log[:7]


def test_boards_never_met_are_open_to_all_moves() -> None:
    result = train(Config(games=1))
    board = (1, -1, 0, 0, 0, 0, 0, 0, 0)
    if board not in result.table:
        assert result.best(board) == [2, 3, 4, 5, 6, 7, 8]


def test_settings_are_checked() -> None:
    for name, value in (("games", 0), ("alpha", 2.0), ("epsilon", -0.1), ("initial", float("nan"))):
        with pytest.raises(InvalidArgumentError, match=name):
            Config(**{name: value})  # type: ignore[arg-type]


def test_there_are_as_many_boards_as_arrangements_allow() -> None:
    """X has as many marks as O or one more, and never both a line: counted over all 3^9."""
    count = 0
    for cells in itertools.product((-1, 0, 1), repeat=9):
        x, o = bits(cells, 1), bits(cells, -1)
        more = x.bit_count() - o.bit_count()
        if more not in (0, 1) or (wins(x) and more == 0) or (wins(o) and more == 1):
            continue
        count += 1
    assert count == len(positions())
