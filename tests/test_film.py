"""Films: of worlds that draw themselves, small and large, and refused where nothing can be drawn."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import imageio.v3
import numpy as np
import pytest
from PIL import Image

from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.evaluation import play
from rlcourse.film import FRAMES, Film, as_mp4, record


def right(observations: Any) -> Any:
    return np.ones(len(observations), dtype=int)


def frames_of(path: Path) -> tuple[int, tuple[int, int]]:
    with Image.open(path) as film:
        return film.n_frames, film.size  # type: ignore[attr-defined]


def test_a_film_shows_every_step_of_whole_episodes(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    returns = record(right, "CartPole-v1", path, episodes=2, seed=3)
    assert returns == play(right, "CartPole-v1", episodes=2, seed=3).tolist()
    count, size = frames_of(path)
    steps = sum(returns) + 2  # one picture a step, and the first of each episode
    assert 0.8 * steps <= count <= steps  # a picture that does not change is shown longer
    assert size == (300, 200)
    assert path.stat().st_size < 2e6


def test_a_long_episode_is_played_to_its_end_and_filmed_at_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    returns = record(right, "MountainCar-v0", path, episodes=4)
    assert returns == [-200.0] * 4
    assert frames_of(path)[0] <= FRAMES  # pictures that do not change are one


def test_a_small_world_is_enlarged(tmp_path: Path) -> None:
    pytest.importorskip("minatar")
    path = tmp_path / "film.gif"
    record(right, "MinAtar/Breakout-v1", path)
    assert frames_of(path)[1] == (300, 300)


def test_a_video_has_the_pictures_of_the_animation(tmp_path: Path) -> None:
    """Each of them, in its colours, for as long; read by imageio."""
    av = pytest.importorskip("av")
    colours = ("red", "lime", "blue", "white", "black")
    frames = [Image.new("RGB", (33, 21), colour) for colour in colours for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.putpixel((number, 5), (255, 128, 0))
    path = tmp_path / "film.mp4"
    with path.open("wb") as file:
        as_mp4(file, frames, 7.5)
    seen = imageio.v3.imread(path, plugin="pyav")
    assert seen.shape == (len(frames), 42, 66, 3)
    for frame, picture in zip(frames, seen, strict=True):
        there = np.asarray(frame).astype(int)
        assert abs(picture[::2, ::2] - there).mean() < 6
    with av.open(path) as film:
        assert float(film.duration / av.time_base) == pytest.approx(len(frames) / 7.5, abs=0.01)
        assert film.streams.video[0].codec_context.pix_fmt == "yuv420p"  # what browsers play


def test_a_video_is_recorded_like_an_animation(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    record(right, "CartPole-v1", path, seed=3)
    assert imageio.v3.improps(path, plugin="pyav").shape[1:] == (400, 600, 3)
    monkeypatch.setattr("rlcourse.errors.find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r'this needs av; .*"rlcourse\[video\]"'):
        record(right, "CartPole-v1", tmp_path / "other.mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(
    ("name", "env_id", "error", "message"),
    [
        ("film.avi", "CartPole-v1", InvalidArgumentError, "must end in .gif or .mp4"),
        ("no/film.gif", "CartPole-v1", InvalidArgumentError, "its folder does not exist"),
        ("film.gif", "rlcourse/Probe-Delay-v0", CourseError, "cannot draw itself"),
        ("film.gif", "CartPool-v1", InvalidArgumentError, "did you mean CartPole-v1"),
    ],
)
def test_what_cannot_be_filmed_says_why_and_leaves_nothing(
    tmp_path: Path, name: str, env_id: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        record(right, env_id, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_film_in_a_page_moves_or_stands_still_and_says_what_it_shows() -> None:
    """Decoded from the page's own text: the moving picture, and the still one for whoever wants no motion."""
    colours = np.random.default_rng(0).integers(256, size=(3, 5, 7), dtype=np.uint8)
    frames = [Image.fromarray(picture) for picture in colours]
    film = Film(frames, 15, alt='A "ball" & <nothing> else')
    text = film._repr_html_()
    kinds = dict(re.findall(r"data:image/(\w+);base64,([\w+/=]+)", text))
    with Image.open(io.BytesIO(base64.b64decode(kinds["gif"]))) as moving:
        assert moving.n_frames == 3  # type: ignore[attr-defined]
    still = np.asarray(Image.open(io.BytesIO(base64.b64decode(kinds["png"]))))
    np.testing.assert_array_equal(still, colours[-1])
    assert "(prefers-reduced-motion: reduce)" in text.split("<img")[0]
    assert 'alt="A &quot;ball&quot; &amp; &lt;nothing&gt; else"' in text
    assert repr(film) == 'A "ball" & <nothing> else'
