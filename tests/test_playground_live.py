"""The live trainer: it pauses where it says, changes what it says, pays what it says, and leaves no thread."""

from __future__ import annotations

import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from rlcourse.algorithms import dqn, ppo, tabular
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.playground import live as module
from rlcourse.playground.live import KNOBS, Live, live

CLIFF = {"env_id": "CliffWalking-v1", "steps": 3000, "alpha": 0.5, "epsilon": 0.1, "gamma": 1.0}
SMALL: dict[str, dict[str, Any]] = {
    "q_learning": CLIFF,
    "sarsa": CLIFF,
    "expected_sarsa": CLIFF,
    "dqn": {"steps": 512, "learning_starts": 64, "hidden": (8,)},
    "a2c": {"steps": 1024, "hidden": (8,)},
    "ppo": {"steps": 1024, "hidden": (8,), "epochs": 8, "learning_rate": 0.02},
}


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RLCOURSE_STATIC", raising=False)
    before, worlds = {*threading.enumerate()}, {*gym.registry}
    yield
    while module._open:
        module._open.pop().close()
    assert {*threading.enumerate()} == before
    assert {*gym.registry} == worlds


def at(run: Live, state: str) -> threading.Event:
    """An event that is set when the run is in a state."""
    reached, before = threading.Event(), run.on_change

    def look() -> None:
        before()
        if run.state == state:
            reached.set()

    run.on_change = look
    look()
    return reached


def wait_for(event: threading.Event) -> None:
    assert event.wait(60)


# --- the run is the learner's own -----------------------------------------------------------------


def test_untouched_it_learns_what_the_learner_learns() -> None:
    run = Live("q_learning", CLIFF, seed=5, pictures=2)
    run.train()
    bare = tabular.train(tabular.Config(**CLIFF), 5)  # type: ignore[arg-type]
    assert run.points == [(row["step"], row["return"]) for row in bare.log]
    np.testing.assert_array_equal(
        run._latest[1], bare.q[:]
    )  # its last update was at an end or after it


@pytest.mark.parametrize(("algorithm", "learner"), [("dqn", dqn), ("ppo", ppo)])
def test_networks_too(algorithm: str, learner: Any) -> None:
    run = Live(algorithm, SMALL[algorithm], seed=2, pictures=1)
    run.train()
    assert run.error is None
    bare = learner.train(learner.Config(**SMALL[algorithm]), 2)
    shared = [row["return"] for row in bare.log][: len(run.points)]
    assert [total for _, total in run.points] == shared and len(shared) > 5


@pytest.mark.parametrize(
    ("algorithm", "knob"), [(name, knob) for name, knobs in KNOBS.items() for knob in knobs]
)
def test_every_knob_turns_something(algorithm: str, knob: str) -> None:
    """Turned in the first episode's end, the run goes another way; set to what it was, it does not."""

    def weights(value: float | None) -> Any:
        run = Live(algorithm, SMALL[algorithm], seed=1, pictures=1)
        look, seen = run._look, []

        def turn(steps: int, row: dict[str, float], learned: Any) -> None:
            if not seen and value is not None:
                run.set(knob, value)
            seen.append(steps)
            look(steps, row, learned)

        run._look = turn  # type: ignore[method-assign]
        run._draw = lambda: None  # type: ignore[method-assign]
        run.train()
        assert run.error is None and len(seen) > 2
        learned = run._latest[1]
        return (
            np.array(learned) if algorithm in module.TABULAR else learned.weights.detach().numpy()
        )

    same = getattr(Live(algorithm, SMALL[algorithm], 1, 1).config, knob)
    untouched = weights(None)
    np.testing.assert_array_equal(weights(same), untouched)
    assert not np.array_equal(weights(0.05 if same != 0.05 else 0.1), untouched)


def test_a_step_size_of_zero_stops_the_learning() -> None:
    run = Live("q_learning", CLIFF, seed=0, pictures=3)
    tables = []
    look = run._look

    def watch(steps: int, row: dict[str, float], learned: Any) -> None:
        if len(tables) == 4:
            run.set("alpha", 0.0)
        tables.append(np.array(learned))
        look(steps, row, learned)

    run._look = watch  # type: ignore[method-assign]
    run.train()
    assert not np.array_equal(tables[3], tables[4])
    np.testing.assert_array_equal(tables[4], tables[-1])
    assert run.changes == [(run.points[4][0], "alpha = 0")]


def test_the_learner_is_paid_by_the_panel_and_the_curve_is_the_worlds_own() -> None:
    run = Live("q_learning", CLIFF | {"steps": 2000, "epsilon": 1.0, "epsilon_end": 1.0}, 0, 1)
    run.set("scale", 0.5)
    run.set("bonus", 0.25)
    paid: list[dict[str, float]] = []
    look = run._look
    run._look = lambda steps, row, learned: (paid.append(row), look(steps, row, learned))[1]  # type: ignore
    run.train()
    assert paid
    for row, (_, total) in zip(paid, run.points, strict=True):
        assert row["return"] == pytest.approx(0.5 * total + 0.25 * row["length"])
        assert total <= -row["length"]  # the cliff's own: minus one a step, or worse


# --- the controls ---------------------------------------------------------------------------------


def test_pause_step_go_on() -> None:
    run = Live("q_learning", CLIFF, seed=0, pictures=4)
    paused, finished = at(run, "paused"), at(run, "finished")
    run.pause()
    run.start()
    wait_for(paused)
    assert len(run.points) == len(run.pictures) == 1  # at the first end of an episode
    for drawn in (2, 3):
        paused.clear()
        run.step()
        wait_for(paused)
        assert len(run.pictures) == drawn and not finished.is_set()
    run.go_on()
    run.wait()
    assert run.state == "finished" and len(run.pictures) >= 4


def test_close_ends_a_paused_run_and_a_running_one() -> None:
    for pausing in (True, False):
        run = Live("q_learning", CLIFF | {"steps": 10**9}, seed=0, pictures=10**6)
        reached = at(run, "paused" if pausing else "running")
        if pausing:
            run.pause()
        run.start()
        wait_for(reached)
        run.close()
        assert run.state == "closed" and run._thread and not run._thread.is_alive()
        run.close()  # again is no harm
        run.wait()


def test_an_interrupt_while_waiting_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the notebook's stop button does: a signal to the thread that runs the cell."""
    run = Live("q_learning", CLIFF | {"steps": 10**9}, seed=0, pictures=1)
    look, waiting, main = run._look, threading.Event(), threading.main_thread().ident
    assert main

    def interrupt(steps: int, row: dict[str, float], learned: Any) -> None:
        if not run.points:
            wait_for(waiting)
            signal.pthread_kill(main, signal.SIGINT)
        look(steps, row, learned)

    run._look = interrupt  # type: ignore[method-assign]
    run.start()
    wait = run._ended.wait
    monkeypatch.setattr(run._ended, "wait", lambda: (waiting.set(), wait()))
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert run.state == "closed"


def test_what_a_run_raises_is_told_and_raised_by_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Live("q_learning", CLIFF, seed=0, pictures=1)

    def faulty(*_: Any, **__: Any) -> None:
        raise CourseError("loss = nan")

    run.learn = faulty
    run.start()
    with pytest.raises(CourseError, match="loss = nan"):
        run.wait()
    assert run.state == "failed"


def test_a_run_is_trained_once() -> None:
    run = Live("q_learning", CLIFF, seed=0, pictures=1)
    run.train()
    for again in (run.train, run.start):
        with pytest.raises(CourseError, match="this run is finished; a run is trained once"):
            again()
    unwanted = Live("q_learning", CLIFF, seed=0, pictures=1)
    closed = watch_closing(unwanted)
    unwanted.close()
    assert unwanted.state == "closed" and closed == [True]
    with pytest.raises(CourseError, match="this run is closed"):
        unwanted.start()


def watch_closing(run: Live) -> list[bool]:
    """Gets an entry when the stage is closed."""
    closed, close = [], run.stage.close
    run.stage.close = lambda: (closed.append(True), close())  # type: ignore
    return closed


def test_what_fails_before_the_first_step_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Live("q_learning", CLIFF, seed=0, pictures=1)
    closed = watch_closing(run)

    def faulty(*_: Any, **__: Any) -> None:
        raise gym.error.Error("no more names")

    monkeypatch.setattr(gym, "register", faulty)
    run.start()
    with pytest.raises(gym.error.Error, match="no more names"):
        run.wait()
    assert run.state == "failed" and closed == [True]


def test_an_interrupt_of_a_run_without_a_thread_closes_it() -> None:
    run = Live("q_learning", CLIFF, seed=0, pictures=1)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    run.learn = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert run.state == "closed"


class Endless(gym.Env[int, int]):
    """No episode ends, and the world says when the first step is made."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)
    stepped = threading.Event()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return 0, {}

    def step(self, action: int) -> Any:
        self.stepped.set()
        return 0, 0.0, False, False, {}


def test_close_needs_no_end_of_an_episode() -> None:
    gym.register("rlcourse/Endless-v0", Endless)
    try:
        run = Live("q_learning", {"env_id": "rlcourse/Endless-v0", "steps": 10**12}, 0, 1)
        run.start()
        wait_for(Endless.stepped)
        closing = threading.Thread(target=run.close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive() and run.state == "closed"
    finally:
        del gym.registry["rlcourse/Endless-v0"]


def test_two_runs_draw_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, show = threading.Lock(), module.show_figure
    together = []

    def alone(*arguments: Any) -> Any:
        together.append(not busy.acquire(blocking=False))
        picture = show(*arguments)
        if not together[-1]:
            busy.release()
        return picture

    monkeypatch.setattr(module, "show_figure", alone)
    runs = [Live("q_learning", CLIFF | {"steps": 1000}, seed, pictures=20) for seed in (0, 1)]
    for run in runs:
        run.start()
    for run in runs:
        run.wait()
    assert len(together) > 4 and not any(together)


# --- the panel ------------------------------------------------------------------------------------


def widgets_of(run: Live) -> dict[str, Any]:
    bar, fields, message, picture, film = run.panel.children
    named = {control.description: control for control in (*bar.children, *fields.children)}
    return {**named, "message": message, "picture": picture, "film": film}


@pytest.fixture
def opened() -> Callable[..., tuple[Live, dict[str, Any]]]:
    pytest.importorskip("ipywidgets")

    def opened(
        algorithm: str = "q_learning", pictures: int = 4, **settings: Any
    ) -> tuple[Live, dict[str, Any]]:
        run = live(
            algorithm, pictures=pictures, **(CLIFF if algorithm == "q_learning" else {}) | settings
        )
        return run, widgets_of(run)

    return opened


def test_the_buttons_and_fields_are_the_controls(opened: Any) -> None:
    run, panel = opened(steps=10**9, pictures=10**6, bonus=0.5)
    assert {*panel} == {
        *("pause", "step", "stop", "alpha", "scale", "bonus", "message", "picture", "film")
    }
    assert (panel["alpha"].value, panel["bonus"].value) == (0.5, 0.5)
    paused = at(run, "paused")
    panel["pause"].value = True
    wait_for(paused)
    panel["alpha"].value = 0.125
    panel["bonus"].value = -2.0
    panel["alpha"].value = 7.0  # out of range
    assert "alpha = 7" in panel["message"].value and "must be" in panel["message"].value
    running = at(run, "running")
    paused.clear()
    running.clear()
    panel["step"].click()
    wait_for(running)
    wait_for(paused)
    assert panel["pause"].value is True
    assert (run.config.alpha, run.bonus, run.scale) == (0.125, -2.0, 1.0)
    assert [what for _, what in run.changes] == ["bonus = 0.5", "alpha = 0.125", "bonus = -2"]
    panel["stop"].click()
    assert run.state == "closed" and panel["stop"].disabled and panel["alpha"].disabled
    assert "closed" in panel["message"].value


def test_the_panel_shows_the_newest_picture_and_a_film(opened: Any) -> None:
    run, panel = opened()
    run.wait()
    steps, picture = run.pictures[-1]
    assert panel["picture"].value == picture.svg and "<svg" in picture.svg
    assert f"after {steps:,} steps" in picture.alt == panel["film"].alt_text
    with Image.open(io.BytesIO(panel["film"].value)) as film:
        assert film.format == "GIF" and film.n_frames > 1  # type: ignore[attr-defined]
    assert "application/vnd.jupyter.widget-view+json" in str(run._repr_mimebundle_())


def test_a_new_run_closes_the_one_before(opened: Any) -> None:
    first, _ = opened(steps=10**9)
    second, _ = opened()
    assert first.state == "closed"
    second.wait()
    assert second.state == "finished"


def test_values_over_two_numbers_are_drawn(opened: Any) -> None:
    run, _ = opened(
        "dqn", env_id="MountainCar-v0", steps=1600, num_envs=8, hidden=(8,), learning_starts=10**6
    )
    run.wait()
    assert "first number observed" in run.pictures[-1][1].svg
    assert "-200" in run.pictures[-1][1].alt


def test_a_world_that_does_not_draw_itself_is_trained_all_the_same(opened: Any) -> None:
    run, panel = opened(env_id="rlcourse/Probe-Corridor-v0", steps=50)
    run.wait()
    assert run.state == "finished" and run.pictures and panel["film"].value == b""


# --- where there is no notebook -------------------------------------------------------------------


def test_on_a_static_page_a_slider_moves_through_the_whole_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RLCOURSE_STATIC", "1")
    threads = {*threading.enumerate()}
    page = live("q_learning", seed=5, pictures=3, **CLIFF)  # type: ignore[arg-type]
    assert {*threading.enumerate()} == threads
    run = Live("q_learning", CLIFF, seed=5, pictures=3)
    run.train()
    assert [picture.alt for picture in page.frames.values()] == [p.alt for _, p in run.pictures]
    assert page._repr_html_().count('data-frame="') == len(run.pictures) >= 3


def test_a_static_page_hides_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLCOURSE_STATIC", "1")
    look = Live._look

    def faulty(run: Live, steps: int, row: dict[str, float], learned: Any) -> None:
        look(run, steps, row, learned)
        if len(run.pictures) == 2:
            raise CourseError("loss = nan")

    with monkeypatch.context() as patch:
        patch.setattr(Live, "_look", faulty)
        with pytest.raises(CourseError, match="loss = nan"):
            live("q_learning", pictures=5, **CLIFF)  # type: ignore[arg-type]
    with pytest.raises(CourseError, match="no episode has ended within 1 steps"):
        live("q_learning", **CLIFF | {"steps": 1})  # type: ignore[arg-type]


def test_more_pictures_than_a_slider_has_room_for_are_not_even_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RLCOURSE_STATIC", "1")
    trained: list[bool] = []
    monkeypatch.setattr(Live, "train", lambda run: trained.append(True))
    with pytest.raises(InvalidArgumentError, match="pictures = 60: must be less than 60"):
        live("q_learning", pictures=60, **CLIFF)  # type: ignore[arg-type]
    assert not trained


@pytest.mark.parametrize("static", ["", "1"])
def test_a_call_that_is_refused_leaves_no_world_open(
    monkeypatch: pytest.MonkeyPatch, static: str
) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("RLCOURSE_STATIC", static)
    closed: list[str] = []
    monkeypatch.setattr(module._Closable, "close", lambda env: closed.append(env.run.state))
    with pytest.raises(InvalidArgumentError, match="scale = nan"):
        live("q_learning", scale=float("nan"), **CLIFF)  # type: ignore[arg-type]
    assert closed == ["ready"]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(CourseError, match=r'needs ipywidgets; .*pip install "rlcourse\[book\]"'):
        live("q_learning")
    monkeypatch.setitem(sys.modules, "rlcourse.algorithms.ppo", None)
    with pytest.raises(CourseError, match=r'ppo needs torch; .*pip install "rlcourse\[deep\]"'):
        Live("ppo", {}, 0, 1)


@pytest.mark.parametrize(
    ("algorithm", "settings", "message"),
    [
        ("genetic", {}, "algorithm = 'genetic': must be one of q_learning"),
        ("q_learning", {"alfa": 1.0}, "unexpected keyword argument 'alfa'"),
        ("q_learning", {"alpha": 2.0}, "alpha = 2.0: must be"),
        ("q_learning", {"env_id": "CliffWalkin-v1"}, "did you mean CliffWalking-v1"),
    ],
)
def test_what_cannot_be_asked_for(algorithm: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Live(algorithm, settings, 0, 1)


def test_a_knob_that_is_none() -> None:
    run = Live("q_learning", CLIFF, 0, 1)
    with pytest.raises(InvalidArgumentError, match="name = 'epsilon': must be one of alpha, scale"):
        run.set("epsilon", 0.1)
    with pytest.raises(InvalidArgumentError, match="bonus = nan"):
        run.set("bonus", float("nan"))
