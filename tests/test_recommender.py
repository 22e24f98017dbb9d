"""The recommender's data, metrics and baselines, against hand-made cases and other people's code."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix

from rlcourse.errors import CorruptDataError, CourseError, InvalidArgumentError
from rlcourse.recommender import baselines, metrics, synthetic
from rlcourse.recommender.data import Split, everything, leave_last_out, load, read, sessions
from rlcourse.recommender.download import download

MOVIES = "1::Tin March (1995)::Animation|Comedy\n7::Misérables, Les: Part 1 (1995)::Drama\n9::Frost (1995)::Crime\n"
USERS = "1::F::1::10::48067\n3::M::56::16::70072-1234\n"
RATINGS = "1::9::5::300\n1::1::4::100\n1::7::2::100\n3::7::5::50\n3::9::1::40\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path)


def put(folder: Path, ratings: str = RATINGS, movies: str = MOVIES, users: str = USERS) -> Path:
    for name, text in (("ratings", ratings), ("movies", movies), ("users", users)):
        (folder / f"{name}.dat").write_bytes(text.encode("latin-1"))
    return folder


@pytest.fixture(scope="module")
def split() -> Split:
    return sessions(load(size="small"))


# --- files ----------------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_time_and_ties_in_that_of_the_file(folder: Path) -> None:
    data = read(folder)
    rows = data.ratings.to_numpy().tolist()
    assert rows == [[1, 1, 4, 100], [1, 7, 2, 100], [1, 9, 5, 300], [3, 9, 1, 40], [3, 7, 5, 50]]
    assert data.movies["title"].tolist()[1] == "Misérables, Les: Part 1 (1995)"
    assert data.movies["genres"].tolist()[0] == "Animation|Comedy"
    assert data.users["zip"].tolist() == ["48067", "70072-1234"]  # text: a ZIP may begin with zero
    assert not data.synthetic and "not ml-1m" in data.name
    parts = [(folder / f"{kind}.dat").read_bytes() for kind in ("ratings", "movies", "users")]
    assert data.digest == hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"ratings": RATINGS + "3::1::7::60\n"}, r"ratings.dat, line 6: '3::1::7::60'; a line is"),
        ({"ratings": RATINGS + "3::1::4\n"}, r"line 6: '3::1::4'; a line is user::movie::rating"),
        ({"ratings": RATINGS + "3::1::4.5::60\n"}, r"line 6: '3::1::4.5::60'"),
        ({"ratings": "3,1,4,60\n"}, r"line 1: '3,1,4,60'"),
        ({"ratings": RATINGS[:-4]}, r"line 5: '3::9::1:' \(and there the file is cut off\)"),
        ({"ratings": RATINGS.replace("\n", "\r\n")}, r"line 1: '1::9::5::300\\r'"),
        ({"ratings": ""}, r"line 1: the file is empty"),
        ({"ratings": RATINGS + "3::9::4::60\n"}, r"line 6: user 3, movie 9 stands there a second"),
        ({"ratings": RATINGS + "3::8::4::60\n"}, r"line 6: movie 8 is not in movies.dat"),
        ({"ratings": RATINGS + "2::9::4::60\n"}, r"line 6: user 2 is not in users.dat"),
        ({"movies": MOVIES + "9::Frost (1995)::Crime\n"}, r"movies.dat, line 4: movie 9 stands"),
        ({"movies": "1::Tin March (1995)\n"}, r"movies.dat, line 1: .*movie::title::genre"),
        ({"users": "1::X::1::10::48067\n"}, r"users.dat, line 1: '1::X::1::10::48067'"),
    ],
)
def test_a_broken_file_is_told_of_by_name_line_and_value(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    with pytest.raises(CorruptDataError, match=says):
        read(put(tmp_path, **files))


def test_a_folder_without_the_files_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "users.dat").write_text(USERS)
    with pytest.raises(InvalidArgumentError, match=r"has no ratings.dat and no movies.dat"):
        read(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_to_a_file_passes_or_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(RATINGS.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    folder = put(tmp_path_factory.mktemp("damaged"))
    (folder / "ratings.dat").write_bytes(bytes(raw))
    try:
        rows = read(folder).ratings
    except CorruptDataError as error:
        assert "ratings.dat, line" in str(error)
    else:  # a digit for a digit
        assert len(rows) == 5 and rows["rating"].between(1, 5).all()


def test_the_places_where_data_are_looked_for(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, other = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("other")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("RLCOURSE_DATA", raising=False)
    assert load(size="tiny").name == "SYNTHETIC tiny" and load(size="tiny").synthetic
    (cache / "rlcourse/ml-1m").mkdir(parents=True)
    put(cache / "rlcourse/ml-1m", RATINGS[: RATINGS.index("3::9")])
    assert len(load().ratings) == 4
    monkeypatch.setenv("RLCOURSE_DATA", str(put(other, RATINGS[: RATINGS.index("3::7")])))
    assert len(load().ratings) == 3
    assert len(load(folder).ratings) == 5


# --- made-up data ---------------------------------------------------------------------------------


def test_made_up_data_are_the_same_bytes_and_keep_what_breaks_readers(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    synthetic.write(tmp_path / "one", "tiny", seed=1)
    synthetic.write(tmp_path / "two", "tiny", seed=1)
    synthetic.write(tmp_path / "three", "tiny", seed=2)
    read_all = lambda name: [p.read_bytes() for p in sorted((tmp_path / name).iterdir())]  # noqa: E731
    assert read_all("one") == read_all("two") != read_all("three")
    titles = (tmp_path / "one/movies.dat").read_bytes()
    assert b"\xe9" in titles and b": Part" in titles and b"|" in titles
    data = read(tmp_path / "one")
    ids = data.movies["movie"].to_numpy()
    assert ids.max() > len(ids) > len(set(data.ratings["movie"]))  # gaps, and some never rated
    raw = [line.split("::") for line in (tmp_path / "one/ratings.dat").read_text().splitlines()]
    ones = [int(time) for user, _, _, time in raw if user == "1"]
    assert ones != sorted(ones) and len(set(ones)) < len(ones)  # out of time, and ties
    assert data.ratings.groupby("user").size().min() >= 20
    shares = data.ratings["rating"].value_counts(normalize=True).sort_index()
    assert shares.to_numpy() == pytest.approx([0.056, 0.107, 0.261, 0.349, 0.227], abs=0.002)


def test_made_up_data_tell_recommenders_apart() -> None:
    """Each step of knowledge is worth more than three standard errors of the paired difference."""
    rows = []
    for seed in range(3):
        split = sessions(load(size="small", seed=seed))
        ease, chain = baselines.ease(split), baselines.markov(split)
        order = (
            baselines.random(split),
            baselines.popularity(split),
            baselines.item_knn(split),
            ease,
            baselines.blend(ease, chain),
        )
        rows.append([metrics.judge(scores, split).by_user["ndcg"] for scores in order])
    values = [np.concatenate(column) for column in zip(*rows, strict=True)]
    for worse, better in pairwise(values):
        difference = better - worse
        assert difference.mean() > 3 * difference.std(ddof=1) / np.sqrt(len(difference))


def test_an_unknown_size_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"size = 'huge': must be one of tiny, small"):
        synthetic.write(tmp_path, "huge")
    assert not list(tmp_path.iterdir())


# --- splits ---------------------------------------------------------------------------------------


def test_a_session_is_what_came_later(split: Split) -> None:
    table = load(size="small").ratings
    for user in (0, 17, 599):
        own = table[table["user"] == split.users[user]]  # in the order of time
        cut = int(len(own) * 8 // 10)
        for part, rows in ((split.history, own[:cut]), (split.held_out, own[cut:])):
            events = slice(part.start[user], part.start[user + 1])
            assert split.items[part.item[events]].tolist() == rows["movie"].tolist()
            assert part.rating[events].tolist() == rows["rating"].tolist()


def test_the_inner_split_never_sees_what_the_outer_held_out(split: Split) -> None:
    inner = split.inner()
    seen = inner.history.matrix(len(split.items)) + inner.held_out.matrix(len(split.items))
    assert (seen != split.history.matrix(len(split.items))).nnz == 0


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan"), "much"])
def test_a_fraction_that_leaves_nothing_is_told_of(fraction: float) -> None:
    with pytest.raises(InvalidArgumentError, match="fraction"):
        sessions(load(size="tiny"), fraction)


@pytest.mark.parametrize(("liked", "targets"), [(False, [9, 7]), (True, [9, 7])])
def test_leaving_the_last_out(folder: Path, liked: bool, targets: list[int]) -> None:
    split = leave_last_out(read(folder), liked=liked)
    assert split.items[split.held_out.item].tolist() == targets
    assert np.diff(split.history.start).tolist() == [2, 1]


def test_the_last_that_was_liked_and_nothing_after_it(tmp_path: Path) -> None:
    ratings = "1::9::5::100\n1::1::4::200\n1::7::2::300\n3::7::1::50\n3::9::1::60\n"
    split = leave_last_out(read(put(tmp_path, ratings)), liked=True)
    assert split.items[split.held_out.item].tolist() == [1]
    assert split.items[split.history.item].tolist() == [9, 7, 9]  # 3 liked nothing: no target


# --- metrics --------------------------------------------------------------------------------------


def by_hand(ranked: list[int], relevant: set[int]) -> tuple[float, float, float, float]:
    """NDCG, recall, precision and hit from their definitions, one user, with loops."""
    gains = [1 / np.log2(place + 2) for place, item in enumerate(ranked) if item in relevant]
    best = sum(1 / np.log2(place + 2) for place in range(min(len(relevant), len(ranked))))
    hits = len(set(ranked) & relevant)
    return sum(gains) / best, hits / len(relevant), hits / len(ranked), float(hits > 0)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_metrics_are_their_definitions(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    relevant = rng.random((5, 9)) < 0.4
    relevant[:, 0] |= ~relevant.any(axis=1)
    ranked = np.array([rng.permutation(9)[:k] for _ in range(5)])
    wanted = [
        by_hand(r.tolist(), set(np.flatnonzero(rel)))
        for r, rel in zip(ranked, relevant, strict=True)
    ]
    sparse = csr_array(relevant.astype(np.float32))
    found = [
        f(ranked, sparse)
        for f in (metrics.ndcg, metrics.recall, metrics.precision, metrics.hit_rate)
    ]
    np.testing.assert_allclose(np.array(found).T, wanted, rtol=1e-12)


def test_a_case_worked_out_by_hand() -> None:
    relevant = csr_array(np.array([[1, 0, 1, 1, 0]], dtype=np.float32))
    ranked = np.array([[2, 1, 0]])
    assert metrics.ndcg(ranked, relevant)[0] == pytest.approx((1 + 0.5) / (1 + 0.6309297536 + 0.5))
    assert metrics.recall(ranked, relevant)[0] == pytest.approx(2 / 3)
    assert metrics.precision(ranked, relevant)[0] == pytest.approx(2 / 3)
    assert metrics.coverage(np.array([[0, 1], [1, -1]]), 4) == 0.5
    assert metrics.novelty(np.array([[0, 1]]), np.array([1.0, 3.0])) == pytest.approx(
        (2 + 0.4150375) / 2
    )
    assert (
        metrics.rmse([3, 5], [4, 2]) == pytest.approx(np.sqrt(5))
        and metrics.mae([3, 5], [4, 2]) == 2
    )


def test_ndcg_agrees_with_implicit(split: Split) -> None:
    """Another library's evaluation, of its own model, ranked by its own code."""
    from implicit.evaluation import ndcg_at_k
    from implicit.nearest_neighbours import CosineRecommender

    items = len(split.items)
    train = csr_matrix(split.history.matrix(items))
    relevant = split.relevant()
    model = CosineRecommender(K=items, num_threads=1)
    model.fit(train, show_progress=False)
    theirs = ndcg_at_k(model, train, csr_matrix(relevant), K=10, show_progress=False, num_threads=1)
    similarity = np.asarray(model.similarity.todense())
    board = metrics.judge(lambda users: np.asarray(train[users] @ similarity), split)
    assert board.mean("ndcg") == pytest.approx(
        theirs, abs=2e-3
    )  # scores tie, and it breaks them otherwise


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.5, -np.inf]), min_size=3, max_size=9), st.integers(1, 3)
)
def test_the_best_k_lower_numbers_first_where_scores_tie(scores: list[float], k: int) -> None:
    wanted = sorted(range(len(scores)), key=lambda item: (-scores[item], item))[:k]
    wanted = [item if scores[item] > -np.inf else -1 for item in wanted]
    assert metrics.top_k(np.array([scores]), k)[0].tolist() == wanted


def test_bad_arguments_of_metrics_are_told_of(split: Split) -> None:
    one = csr_array(np.ones((1, 3), dtype=np.float32))
    with pytest.raises(InvalidArgumentError, match="users must agree"):
        metrics.ndcg(np.zeros((2, 1), dtype=np.int64), one)
    with pytest.raises(InvalidArgumentError, match="items >= k"):
        metrics.top_k(np.zeros((1, 3)), 4)
    with pytest.raises(InvalidArgumentError, match="NaN"):
        metrics.top_k(np.array([[np.nan, 1.0]]), 1)
    with pytest.raises(InvalidArgumentError, match="must agree, and not be empty"):
        metrics.rmse([1.0], [])
    for k in (0, -1, 5000):
        with pytest.raises(InvalidArgumentError, match=f"k = {k}"):
            metrics.judge(baselines.popularity(split), split, k)
    with pytest.raises(InvalidArgumentError, match="ridge = 0"):
        baselines.ease(split, 0.0)
    with pytest.raises(InvalidArgumentError, match="scores returned shape"):
        metrics.judge(lambda users: np.zeros((len(users), 2)), split)


def test_what_was_seen_is_never_recommended_and_the_future_shows(split: Split) -> None:
    """A recommender that knows what comes scores one: were it hidden in another, it would show."""
    future = split.relevant().toarray()
    assert metrics.judge(lambda users: future[users], split).mean("ndcg") == 1.0
    past = split.history.matrix(len(split.items)).toarray()
    assert metrics.judge(lambda users: past[users], split).mean("ndcg") < 0.1
    both = future + 2 * past  # what was seen stands above what comes, and is taken out
    assert metrics.judge(lambda users: both[users], split).mean("ndcg") == 1.0


# --- baselines ------------------------------------------------------------------------------------


def test_ease_is_a_ridge_regression_of_each_item_on_all_others(split: Split) -> None:
    """Column by column, the item itself left out: no inverse of the whole, no diagonal to divide by."""
    liked = split.history.matrix(len(split.items), liked=True)
    x, ridge = liked.toarray().astype(np.float64), 300.0
    scores = baselines.ease(split, ridge)(np.arange(len(x)))
    for item in (0, 101, len(split.items) - 1):
        others = np.delete(x, item, axis=1)
        gram = others.T @ others + ridge * np.eye(others.shape[1])
        assert scores[:, item] == pytest.approx(
            others @ np.linalg.solve(gram, others.T @ x[:, item]), abs=1e-4
        )


def test_item_knn_agrees_with_implicit(split: Split) -> None:
    """With every neighbour kept: of neighbours that tie for the last place, each keeps its own."""
    from implicit.nearest_neighbours import TFIDFRecommender

    liked = csr_matrix(split.history.matrix(len(split.items), liked=True).astype(np.float64))
    model = TFIDFRecommender(K=len(split.items), num_threads=1)
    model.fit(liked, show_progress=False)
    theirs = np.asarray((liked @ model.similarity).todense())
    ours = baselines.item_knn(split, len(split.items))(np.arange(len(split.users)))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_nearest_neighbour_of_an_item_is_itself(split: Split) -> None:
    liked = split.history.matrix(len(split.items), liked=True).toarray()
    nearest = baselines.item_knn(split, neighbours=1)(np.arange(len(split.users)))
    _, column, twins = np.unique(liked, axis=1, return_inverse=True, return_counts=True)
    alone = twins[column] == 1  # one with a twin is as near to it as to itself
    np.testing.assert_allclose(nearest[:, alone], liked[:, alone], atol=1e-6)


def test_the_settings_of_the_factorisations_are_those_of_implicit(split: Split) -> None:
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from threadpoolctl import threadpool_limits

    users = np.arange(len(split.users))
    liked = csr_matrix(split.history.matrix(len(split.items), liked=True))
    als: Any = AlternatingLeastSquares(
        8, regularization=2.0, alpha=3.0, random_state=1, num_threads=1
    )
    bpr: Any = BayesianPersonalizedRanking(
        8, regularization=0.1, learning_rate=0.05, random_state=1, num_threads=1
    )
    for model, ours in (
        (als, baselines.als(split, 8, ridge=2.0, alpha=3.0, seed=1)),
        (bpr, baselines.bpr(split, 8, ridge=0.1, learning_rate=0.05, seed=1)),
    ):
        with threadpool_limits(1, "blas"):
            model.fit(liked, show_progress=False)
        np.testing.assert_allclose(ours(users), model.user_factors @ model.item_factors.T)
    for wrong in ({"ridge": -1.0}, {"alpha": -1.0}, {"factors": 0}):
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            baselines.als(split, **wrong)


def test_the_chain_counts_what_follows_what(tmp_path: Path) -> None:
    movies = "".join(f"{n}::M{n} (1999)::Drama\n" for n in range(1, 5))
    ratings = "1::1::5::1\n1::2::5::2\n1::3::5::3\n1::4::5::4\n3::1::5::1\n3::2::5::2\n3::4::5::3\n"
    data = read(put(tmp_path, ratings, movies))
    history = leave_last_out(data)  # 1 2 3 and 1 2
    scores = baselines.markov(history, last=2, smoothing=1.0)(np.array([0, 1]))
    # from 1: twice to 2, out of 2 + 1; from 2: once to 3, out of 1 + 1; the last counts 1, before it 1/2
    np.testing.assert_allclose(scores, [[0, 0, 1 / 4, 0], [0, 1 / 3, 1 / 2, 0]], atol=1e-6)


def test_factor_models_learn_from_likes(split: Split) -> None:
    random = metrics.judge(baselines.random(split), split).mean("ndcg")
    for fit in (baselines.als, baselines.bpr):
        board = metrics.judge(fit(split, factors=16), split)
        assert board.mean("ndcg") - 5 * board.error("ndcg") > random


# --- download -------------------------------------------------------------------------------------


def archive(**files: str) -> bytes:
    held = {"ratings.dat": RATINGS, "movies.dat": MOVIES, "users.dat": USERS, "README": "licence"}
    held |= {name.replace("_", "."): text for name, text in files.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, text in held.items():
            opened.writestr(f"ml-1m/{name}", text.encode("latin-1"))
        opened.writestr("../../escaped.txt", "no")
    return buffer.getvalue()


class Server(BaseHTTPRequestHandler):
    """Serves one file; breaks off after ``cut`` bytes of the first answer; resumes."""

    content, cut, asked = b"", 0, list[str]()

    def do_GET(self) -> None:
        begin = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        self.asked.append(begin)
        rest = self.content[int(begin) :]
        self.send_response(416 if not rest else 206 if int(begin) else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: Server.cut or None])
        Server.cut = 0

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    Server.asked.clear()
    Server.cut = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/ml-1m.zip"
    server.shutdown()
    server.server_close()


def test_a_download_resumes_is_checked_and_unpacks_only_what_it_knows(
    tmp_path: Path, address: str
) -> None:
    Server.content, Server.cut = archive(), 100
    wanted = hashlib.md5(Server.content).hexdigest()
    target = tmp_path / "cache/ml-1m"
    call = lambda: download(accept_licence=True, folder=target, address=address, md5=wanted)  # noqa: E731
    with pytest.raises(CourseError, match=r"broke off after 100 of .* the next call goes on there"):
        call()
    assert not target.exists()
    assert call() == target and Server.asked == ["0", "100"]
    assert len(read(target).ratings) == 5 and (target / "README").exists()
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "README", "movies.dat", "ratings.dat", "users.dat",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "right", "says"),
    [
        (archive(), False, "its checksum is .* it was removed"),
        (b"no archive at all", True, "is not ml-1m.zip"),
        (archive(ratings_dat="1::1::9::1\n"), True, "line 1: '1::1::9::1'"),
    ],
)
def test_a_wrong_archive_leaves_nothing_that_could_be_read(
    tmp_path: Path, address: str, content: bytes, right: bool, says: str
) -> None:
    Server.content = content
    md5 = hashlib.md5(content).hexdigest() if right else "0" * 32
    with pytest.raises(CorruptDataError, match=says):
        download(accept_licence=True, folder=tmp_path / "ml-1m", address=address, md5=md5)
    assert not list(tmp_path.rglob("*.dat"))


def test_an_archive_that_would_fill_the_disk_is_refused(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlcourse.recommender.download.LARGEST", 20)
    Server.content = archive()
    md5 = hashlib.md5(Server.content).hexdigest()
    with pytest.raises(CorruptDataError, match=r"ratings.dat unpacks to more than 20 bytes"):
        download(accept_licence=True, folder=tmp_path / "ml-1m", address=address, md5=md5)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, address: str) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(InvalidArgumentError, match="holds other things"):
        download(accept_licence=True, folder=tmp_path, address=address)
    assert (tmp_path / "diary.txt").read_text() == "mine" and not Server.asked


def test_what_is_known_today_is_everything(folder: Path) -> None:
    split = everything(read(folder))
    assert split.items[split.history.item].tolist() == [1, 7, 9, 9, 7]
    assert len(split.held_out.item) == 0


def test_no_download_without_the_licence_nor_from_nowhere(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="research"):
        download(accept_licence=False, folder=tmp_path / "ml-1m")
    with pytest.raises(CourseError, match="cannot be fetched"):
        download(accept_licence=True, folder=tmp_path / "ml-1m", address="http://127.0.0.1:9/x.zip")


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def type_in(rlcourse: Any) -> Any:
    """``rlcourse recommender ...``."""
    return partial(rlcourse, "recommender")


def test_made_up_data_say_so_in_every_table(type_in: Any) -> None:
    code, said, _ = type_in("prepare", "--size", "tiny")
    assert code == 0 and said.startswith("SYNTHETIC tiny: ") and "--accept-licence" in said
    _, table, _ = type_in("evaluate", "--size", "tiny")
    assert table.startswith("SYNTHETIC tiny")
    for name in ("random", "popularity", "item-kNN", "BPR", "ALS", "EASE + chain"):
        assert f"\n{name} " in table


def test_a_model_is_trained_kept_judged_and_asked(type_in: Any, tmp_path: Path) -> None:
    model = str(tmp_path / "model")
    short = ["--size", "tiny", "--epochs", "1", "--epochs-rewarded", "1"]
    code, said, _ = type_in("train", *short, "--out", model)
    assert code == 0 and "SYNTHETIC tiny" in said and "actor-critic" in said
    code, _, complaint = type_in("train", *short, "--out", model)
    assert code == 2 and "exists; go on with it (--resume" in complaint
    assert "\nactor-critic " in type_in("evaluate", "--size", "tiny", "--model", model)[1]
    for more in ([], ["--model", model]):
        _, said, _ = type_in("recommend", "--user", "42", "--size", "tiny", "--k", "3", *more)
        lines = said.splitlines()
        assert lines[0].startswith("SYNTHETIC tiny, user 42: ") and len(lines) == 5
        assert all("[" in line and "; you liked " in line for line in lines[2:])
    code, _, complaint = type_in("recommend", "--user", "42", "--model", model)
    assert code == 2 and "give it the data that it was trained on" in complaint


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recommend", "--size", "tiny", "--user", "777"], "they run from 1 to 60"),
        (["recommend", "--size", "tiny", "--user", "1", "--model", "nowhere"], "no such file"),
        (["evaluate", "--size", "huge"], "size = 'huge': must be one of"),
        (["evaluate", "--size", "tiny", "--k", "0"], "k = 0"),
        (["evaluate", "--size", "tiny", "--k", "5000"], "k = 5000: must be at most"),
        (["prepare", "--data", "nowhere"], "has no ratings.dat"),
    ],
)
def test_a_wrong_call_answers_in_one_line(type_in: Any, arguments: list[str], says: str) -> None:
    code, _, complaint = type_in(*arguments)
    assert code == 2 and says in complaint and complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("missing", "call"),
    [("pandas", "load(size='tiny')"), ("implicit", "als(sessions(load(size='tiny')))")],
)
def test_without_what_it_needs_the_extra_is_named(missing: str, call: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from rlcourse.errors import CourseError\n"
        "from rlcourse.recommender.baselines import als\n"
        "from rlcourse.recommender.data import load, sessions\n"
        f"try: {call}\n"
        "except CourseError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert f'needs {missing}; install it with pip install "rlcourse[recommender]"' in done.stdout
