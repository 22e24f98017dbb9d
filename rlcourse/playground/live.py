"""Watch an agent learn, and reach into its run: pause, change a setting or the reward, go on.

The learners are the package's own. They report at the end of an episode, and there the run waits if it has
been paused and takes over what has been changed; it stops, if it has been told to, between any two steps.
What a learner reads once at its beginning, such as the schedule of its exploration, cannot be changed on the way.
"""

from __future__ import annotations

import html
import importlib
import io
import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, InvalidArgumentError, check_finite, check_positive
from rlcourse.evaluation import Policy
from rlcourse.film import as_gif, drawable, moments
from rlcourse.mdp import from_env
from rlcourse.plotting import COLOURS, Picture, draw_grid, show_figure
from rlcourse.seeding import generator, streams
from rlcourse.widgets import MOST_FRAMES, scrub

__all__ = ["KNOBS", "Live", "live"]

# What each learner reads anew at every update.
KNOBS = {
    "q_learning": ("alpha",),
    "sarsa": ("alpha",),
    "expected_sarsa": ("alpha",),
    "dqn": ("learning_rate",),
    "a2c": ("learning_rate", "entropy"),
    "ppo": ("learning_rate", "entropy", "clip"),
}
TABULAR = ("q_learning", "sarsa", "expected_sarsa")
CELLS = 40  # of a value map over two numbers, along each side
SMOOTH = 20  # episodes in the running mean

_numbers = itertools.count()
_open: list[Live] = []  # the run that a panel shows; a new one closes it
_drawing = threading.Lock()  # matplotlib is not made for two threads at once


def live(
    algorithm: str = "q_learning",
    *,
    seed: int = 0,
    pictures: int = 20,
    scale: float = 1.0,
    bonus: float = 0.0,
    **settings: Any,
) -> Any:
    """Train while you watch: a panel with the returns, the values, the agent, and controls.

    The run has a thread of its own; the cell is free at once. Stop, :meth:`Live.close` or another call of
    ``live`` end it, and so does interrupting a cell that waits for it (``live(...).wait()``). When the book is
    built (``RLCOURSE_STATIC=1``) the whole run is trained at once, and a slider moves through its pictures.

    Args:
        algorithm: one of :data:`KNOBS`.
        seed: of all randomness of the run.
        pictures: how many are drawn on the way, evenly in steps.
        scale: each reward is multiplied by it before the learner sees it.
        bonus: and this is added. The returns that are shown are those of the world itself.
        settings: fields of the algorithm's ``Config``, such as ``env_id``, ``env_options`` and ``steps``.

    Raises:
        CourseError: torch or ipywidgets is missing; on a static page also what made the run fail.
        InvalidArgumentError: an unknown algorithm, or a setting that it does not take.
    """
    static = bool(os.environ.get("RLCOURSE_STATIC"))
    if not static:
        try:
            importlib.import_module("ipywidgets")
        except ImportError as error:
            raise CourseError(
                'live: needs ipywidgets; install it with pip install "rlcourse[book]"'
            ) from error
    run = Live(algorithm, settings, seed, pictures)
    try:
        if static and pictures >= MOST_FRAMES:  # one more is drawn, when the first episode ends
            raise InvalidArgumentError(
                f"pictures = {pictures}: must be less than {MOST_FRAMES} on a static page"
            )
        run.set("scale", scale)
        run.set("bonus", bonus)
    except CourseError:
        run.close()
        raise
    if static:
        run.train()
        run.wait()
        drawn = dict(run.pictures)
        if not drawn:
            raise CourseError(f"live: no episode has ended within {run.config.steps:,} steps")
        return scrub(lambda steps: drawn[steps], steps=list(drawn))
    while _open:
        _open.pop().close()
    _open.append(run)
    run.panel = _panel(run)
    run.start()
    return run


class Live:
    """A run that can be paused and changed on its way; :func:`live` puts a panel around it.

    ``pictures`` are ``(steps, figure)``, ``points`` are ``(steps, return)`` of the finished episodes, ``changes``
    are ``(steps, what)``. ``state`` is ``"ready"``, ``"running"``, ``"paused"``, ``"finished"``, ``"closed"`` or
    ``"failed"``. A run is trained once, and one that is not wanted after all is closed.

    >>> run = Live("q_learning", {"env_id": "CliffWalking-v1", "steps": 2000}, seed=0, pictures=2)
    >>> run.train()
    >>> run.state, len(run.pictures) >= 2
    ('finished', True)
    """

    def __init__(self, algorithm: str, settings: dict[str, Any], seed: int, pictures: int) -> None:
        if algorithm not in KNOBS:
            raise InvalidArgumentError(
                f"algorithm = {algorithm!r}: must be one of {', '.join(KNOBS)}"
            )
        check_positive("pictures", pictures)
        module = _module("tabular" if algorithm in TABULAR else algorithm)
        try:
            asked = module.Config(**settings)
        except TypeError as error:
            raise InvalidArgumentError(
                f"settings = {settings}: {algorithm} says: {error}"
            ) from error
        self.algorithm, self.seed = algorithm, seed
        self.env_id, self.options = asked.env_id, dict(asked.env_options)
        self.stage = _Closable(self._stage(), self)
        self.name = f"rlcourse/Live{next(_numbers)}-v0"
        self.config = replace(asked, env_id=self.name, env_options={})
        self.learn = module.ALGORITHMS[algorithm] if algorithm in TABULAR else module.train
        self.every = asked.steps / pictures
        self.scale, self.bonus = 1.0, 0.0
        self.pictures: list[tuple[int, Picture]] = []
        self.points: list[tuple[int, float]] = []
        self.changes: list[tuple[int, str]] = []
        self.film = b""
        self.state = "ready"
        self.error: Exception | None = None
        self.on_change: Callable[[], None] = lambda: None  # a new picture, or another state
        self.panel: Any = None
        self._finished: list[float] = []
        self._worlds: list[gym.Env[Any, Any]] = []
        self._wanted: dict[str, float] = {}
        self._latest: tuple[int, Any] = (0, None)
        self._gate = threading.Condition()
        self._begun = self._paused = self._once = self._closing = False
        self._thread: threading.Thread | None = None
        # Beside the thread's own `join`, which in some versions of Python takes an interrupt for its end.
        self._ended = threading.Event()

    # --- the controls: called from outside ----------------------------------------------------------

    def start(self) -> None:
        """Train in a thread of its own.

        Raises:
            CourseError: the run has begun before.
        """
        self._begin()

        def work() -> None:
            try:
                self._train()
            finally:
                self._ended.set()

        self._thread = threading.Thread(target=work, name=self.name, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Wait at the end of the next episode."""
        with self._gate:
            self._paused, self._once = True, False

    def step(self) -> None:
        """Go on to the next picture, and wait there."""
        with self._gate:
            self._paused = self._once = True
            self._gate.notify_all()

    def go_on(self) -> None:
        """Wait no longer."""
        with self._gate:
            self._paused = self._once = False
            self._gate.notify_all()

    def set(self, name: str, value: float) -> None:
        """Change a knob, ``scale`` or ``bonus``, from the end of the next episode on.

        Raises:
            InvalidArgumentError: no such knob, or no value for it.
        """
        if name not in (*KNOBS[self.algorithm], "scale", "bonus"):
            raise InvalidArgumentError(
                f"name = {name!r}: must be one of {', '.join(KNOBS[self.algorithm])}, scale, bonus"
            )
        check_finite(name, value)
        if name in KNOBS[self.algorithm]:
            replace(self.config, **{name: value})  # its own checks
        with self._gate:
            self._wanted[name] = float(value)

    def close(self) -> None:
        """Stop the training at its next step, and wait until its thread has ended."""
        with self._gate:
            self._closing = True
            begun, self._begun = self._begun, True
            self._gate.notify_all()
        if not begun:
            self.stage.close()
            self._say("closed")
        if self._thread and self._thread is not threading.current_thread():
            self._ended.wait()
            self._thread.join()

    def wait(self) -> None:
        """Wait until the training has ended; an interrupt stops it.

        Raises:
            CourseError: what made the run fail.
        """
        try:
            if self._thread:
                self._ended.wait()
                self._thread.join()
        except KeyboardInterrupt:
            self.close()
            raise
        if self.error:
            raise self.error

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if self.panel is None:
            return {"text/plain": repr(self)}
        return self.panel._repr_mimebundle_(**options)

    # --- the run: in its own thread -----------------------------------------------------------------

    def train(self) -> None:
        """The whole run; what it raises is kept in ``error``, and raised by :meth:`wait`.

        Raises:
            CourseError: the run has begun before.
        """
        self._begin()
        self._train()

    def _begin(self) -> None:
        with self._gate:
            if self._begun:
                raise CourseError(f"live: this run is {self.state}; a run is trained once")
            self._begun = True

    def _train(self) -> None:
        try:
            gym.register(
                self.name, entry_point=self._entry(), disable_env_checker=True, order_enforce=False
            )
            self._take_over()
            self._say("running")
            self.learn(self.config, self.seed, on_progress=self._look)
            self._draw()
            self._say("finished")
        except _Closed:
            self._say("closed")
        except KeyboardInterrupt:  # where nobody gave it a thread
            self._say("closed")
            raise
        except Exception as error:  # whatever a run raises is told on the panel and by `wait`
            self.error = error
            self._say("failed")
        finally:
            gym.registry.pop(self.name, None)
            for env in (*self._worlds, self.stage):
                env.close()

    def _look(self, steps: int, row: dict[str, float], learned: Any) -> None:
        """An episode has ended: the one place at which a run is reached into."""
        self.points += [(steps, total) for total in self._finished]
        self._finished.clear()
        self._latest = steps, learned
        drawn = not self.pictures or steps // self.every > self.pictures[-1][0] // self.every
        if drawn:
            self._draw()
        with self._gate:
            if drawn:
                self._once = False
            if self._paused and not self._once and not self._closing:
                self._say("paused")
                self._gate.wait_for(lambda: self._once or self._closing or not self._paused)
                self._say("running")
            if self._closing:
                raise _Closed
        self._take_over()

    def _take_over(self) -> None:
        with self._gate:
            wanted, self._wanted = self._wanted, {}
        for name, value in wanted.items():
            owner = self if name in ("scale", "bonus") else self.config
            if getattr(owner, name) != value:
                # The settings are frozen for everybody else; the learner holds this very object.
                object.__setattr__(owner, name, value)
                self.changes.append((self._latest[0], f"{name} = {value:g}"))

    def _say(self, state: str) -> None:
        self.state = state
        self.on_change()

    def _entry(self) -> Callable[..., gym.Env[Any, Any]]:
        """What Gymnasium makes worlds with: a function, for a method would be copied with its object."""

        def world(**more: Any) -> gym.Env[Any, Any]:
            env = _Tuned(make(self.env_id, **self.options, **more), self)
            self._worlds.append(env)
            return env

        return world

    def _stage(self) -> gym.Env[Any, Any]:
        """The world in which the agent is shown; it draws itself if it can."""
        try:
            return drawable(self.env_id, "rgb_array", self.options)
        except InvalidArgumentError:
            raise
        except CourseError:
            return make(self.env_id, **self.options)

    # --- the pictures -------------------------------------------------------------------------------

    def _draw(self) -> None:
        steps, learned = self._latest
        if learned is None or (self.pictures and self.pictures[-1][0] == steps):
            return
        policy = _greedy(learned) if self.algorithm in TABULAR else learned.policy()
        frames, seen, total = moments(policy, self.stage, seed=streams(self.seed).evaluation)
        if frames:
            file = io.BytesIO()
            as_gif(file, frames, 12.0)
            self.film = file.getvalue()
        with _drawing:
            picture = self._picture(learned, frames, seen, total)
        self.pictures.append((steps, picture))
        self.on_change()

    def _picture(self, learned: Any, frames: list[Any], seen: list[Any], total: float) -> Picture:
        steps = self._latest[0]
        field = self._field(learned)
        figure = Figure(figsize=(7.2, 5.2 if field else 2.6), layout="constrained")
        axes = figure.subplot_mosaic(_layout(bool(frames), field))
        self._draw_returns(axes["returns"])
        if frames:
            axes["agent"].imshow(np.asarray(frames[-1]))
            axes["agent"].axis("off")
            axes["agent"].set_title(f"the end of an episode: {total:g}")
        if field:
            field.draw(axes["values"], np.array(seen))
        alt = (
            f"{self.algorithm} in {self.env_id} after {steps:,} steps and {len(self.points)} episodes: "
            f"the last {min(SMOOTH, len(self.points))} returned {self._recent()[-1]:.4g} on average, "
            f"the frozen policy {total:.4g}."
        )
        return show_figure(figure, alt)

    def _recent(self) -> NDArray[Any]:
        """The running mean of the returns."""
        sums = np.cumsum([0.0, *(total for _, total in self.points)])
        ends = np.arange(1, len(sums))
        begins = np.maximum(0, ends - SMOOTH)
        mean: NDArray[Any] = (sums[ends] - sums[begins]) / (ends - begins)
        return mean

    def _draw_returns(self, axes: Any) -> None:
        steps, returns = np.array(self.points).T
        axes.plot(steps, returns, "o", markersize=3, alpha=0.5, color=COLOURS[0])
        axes.plot(steps, self._recent(), color=COLOURS[1])
        for place, what in self.changes:
            axes.axvline(place, linestyle=":", linewidth=1.2, color="grey")
            axes.annotate(
                what,
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                fontsize=9,
                rotation=90,
                ha="left",
                va="top",
            )
        # The first fumbling may be a hundred times as deep as all that follows.
        low, high = np.quantile(returns, 0.1), returns.max()
        margin = 0.08 * (high - low) or 1.0
        axes.set(xlim=(0, self.config.steps), ylim=(low - margin, high + margin))
        axes.set(xlabel="steps", ylabel="return")
        axes.set_title(f"{self._latest[0]:,} steps")

    def _field(self, learned: Any) -> _Field | None:
        """What draws the values, where they have a place: on a grid, or over two numbers."""
        space = self.stage.observation_space
        if isinstance(space, Discrete) and (shape := _grid_shape(self.stage, int(space.n))):
            table = np.array(learned)
            model = from_env(self.stage)

            def on_a_grid(axes: Any, seen: NDArray[Any]) -> None:
                draw_grid(axes, model, table.max(axis=1), shape, q=table, digits=1)
                rows, columns = np.divmod(seen, shape[1])
                axes.plot(columns, rows, color=COLOURS[1], linewidth=3, alpha=0.5)
                axes.set_title("values, best actions, and the way of the agent")

            return _Field(on_a_grid, wide=shape[1] > 1.5 * shape[0])
        if (
            isinstance(space, Box)
            and space.shape == (2,)
            and np.isfinite([space.low, space.high]).all()
        ):
            sides = [np.linspace(a, b, CELLS) for a, b in zip(space.low, space.high, strict=True)]
            grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2).astype(space.dtype)
            values = _values(learned.network, grid).reshape(CELLS, CELLS)
            low, high = space.low, space.high

            def over_two_numbers(axes: Any, seen: NDArray[Any]) -> None:
                extent = (low[0], high[0], low[1], high[1])
                picture = axes.imshow(values, extent=extent, origin="lower", aspect="auto")
                axes.figure.colorbar(picture, ax=axes, label="value")
                axes.plot(*seen.T, color="white", linewidth=2)
                axes.set(
                    xlim=extent[:2],
                    ylim=extent[2:],
                    xlabel="first number observed",
                    ylabel="second",
                )

            return _Field(over_two_numbers, wide=True)
        return None


class _Closed(Exception):  # noqa: N818  (no error: somebody has pressed stop)
    """Ends a learner's loop from within."""


class _Field(NamedTuple):
    """How to draw the values, with the way of an agent over them."""

    draw: Callable[[Any, NDArray[Any]], None]
    wide: bool


def _layout(agent: bool, field: _Field | None) -> list[Any]:
    """Which picture stands where."""
    top = ["returns", "agent" if agent else "returns"]
    if field is None:
        return [top]
    return [top, ["values", "values"]] if field.wide else [[top[0], "values"], [top[1], "values"]]


class _Closable(gym.Wrapper[Any, Any, Any, Any]):
    """Stops in the middle of an episode, which in a world without a clock may have no end."""

    def __init__(self, env: gym.Env[Any, Any], run: Live) -> None:
        super().__init__(env)
        self.run = run

    def step(self, action: Any) -> Any:
        if self.run._closing:
            raise _Closed
        return self.env.step(action)


class _Tuned(_Closable):
    """Pays what the panel says, and keeps what the world itself has paid."""

    total = 0.0

    def reset(self, **options: Any) -> Any:
        self.total = 0.0
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(action)
        self.total += float(reward)
        if terminated or truncated:
            self.run._finished.append(self.total)
        paid = self.run.scale * float(reward) + self.run.bonus
        return obs, paid, terminated, truncated, info


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"rlcourse.algorithms.{name}")
    except ImportError as error:
        raise CourseError(
            f'{name} needs torch; install it with pip install "rlcourse[deep]"'
        ) from error


def _greedy(table: list[list[float]]) -> Policy:
    """The best actions of a table as it stands; equals are drawn, from the same dice for every picture."""
    q, rng = np.array(table), generator(0)

    def policy(observations: NDArray[Any]) -> NDArray[Any]:
        rows = q[observations]
        best = rows == rows.max(axis=1, keepdims=True)
        chosen: NDArray[Any] = (best * rng.random(best.shape)).argmax(axis=1)
        return chosen

    return policy


def _values(network: Any, observations: NDArray[Any]) -> NDArray[Any]:
    """State values of a network with action values, or with a critic beside its actor."""
    import torch

    with torch.no_grad():
        told = network(torch.from_numpy(observations))
        values = told[1] if isinstance(told, tuple) else told.max(dim=1).values
    found: NDArray[Any] = values.numpy()
    return found


def _grid_shape(env: gym.Env[Any, Any], states: int) -> tuple[int, int] | None:
    """Rows and columns of a world whose states are the cells of a map."""
    world: Any = env.unwrapped
    for shape in (np.shape(getattr(world, "desc", ())), tuple(getattr(world, "shape", ()) or ())):
        if len(shape) == 2 and shape[0] * shape[1] == states:
            return int(shape[0]), int(shape[1])
    return None


def _panel(run: Live) -> Any:
    """The controls and the pictures of a run, as ipywidgets."""
    import ipywidgets as widgets

    pause = widgets.ToggleButton(description="pause", icon="pause")
    step = widgets.Button(description="step", tooltip="to the next picture", icon="step-forward")
    stop = widgets.Button(description="stop", icon="stop")
    message, picture = widgets.HTML(), widgets.HTML()
    film = widgets.Image(format="gif")
    start = {"scale": 1.0, "bonus": 0.0, **vars(run.config), **run._wanted}
    names = (*KNOBS[run.algorithm], "scale", "bonus")
    # Five knobs are wider than a notebook's column: they go on in the next line, their names whole.
    narrow = {"style": {"description_width": "initial"}, "layout": {"width": "15em"}}
    fields = {
        n: widgets.FloatText(value=start[n], description=n, step=None, **narrow) for n in names
    }

    def show() -> None:
        steps = run.pictures[-1][0] if run.pictures else 0
        why = f": {html.escape(str(run.error))}" if run.error else ""
        message.value = f"{run.state}{why}; {steps:,} of {run.config.steps:,} steps drawn"
        if run.pictures:
            picture.value = run.pictures[-1][1].svg
            film.value = run.film
            film.alt_text = run.pictures[-1][1].alt
        if run.state in ("finished", "closed", "failed"):
            for control in (pause, step, stop, *fields.values()):
                control.disabled = True

    def change(event: Any) -> None:
        try:
            run.set(event["owner"].description, event["new"])
        except CourseError as error:
            message.value = html.escape(str(error))

    def once(_: Any) -> None:
        pause.value = True
        run.step()

    pause.observe(lambda event: run.pause() if event["new"] else run.go_on(), names="value")
    step.on_click(once)
    stop.on_click(lambda _: run.close())
    for field in fields.values():
        field.observe(change, names="value")
    run.on_change = show
    show()
    return widgets.VBox(
        [
            widgets.HBox([pause, step, stop]),
            widgets.HBox(list(fields.values()), layout={"flex_flow": "row wrap"}),
            message,
            picture,
            film,
        ]
    )
