"""A house that should stay warm and cheap, for ever: ``rlcourse/Heating-v0``.

A heat pump warms a heavy house, which loses its heat to the winter outside within days, not hours. Every
hour the agent chooses how hard the pump works. It pays for electricity, dear in the afternoon and cheap at
night, and for each degree by which the house leaves the comfortable range. The pump does more with a
kilowatt hour when it is mild outside, so neither the cheapest hour nor the mildest is always the best.

The house never ends. An episode is cut after 24 hours all the same, and begins at a random hour, so that
the clock says nothing about the cut. Whoever takes the cut for the end of the world
asks of every kilowatt hour to pay for itself within a day, and lets the house go cold. **Judge policies
over weeks** (``max_episode_steps=336``): within one day, to burn no money and live on the warmth in the
walls *is* the better policy.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlcourse.errors import CourseError, InvalidArgumentError, check_fraction
from rlcourse.mdp import Floats

__all__ = ["HeatingEnv", "Plan", "live_an_hour", "thermostat"]

CAPACITY = 15.0  # kWh that warm the house by one kelvin
LOSS = 0.15  # kW lost per kelvin between indoors and outdoors: a hundred hours to cool down by two thirds
POWER = 3.0  # kW of electricity that the pump takes at most
COLD, WARM, HOT = 20.0, 22.0, 26.0  # degrees Celsius: comfort lies between the first two
DISCOMFORT = 0.05  # euros per kelvin and hour outside of it
CLOCK = 2 * np.pi * np.arange(24) / 24
PRICE = 0.30 - 0.10 * np.cos(CLOCK - CLOCK[4])  # euros per kWh in each hour, lowest at four
MEAN_OUTDOOR = 3.0 + 4.0 * np.cos(CLOCK - CLOCK[15])  # degrees Celsius in each hour, highest at 15
# The weather, in kelvin, is added to that: it keeps 95 % of itself every hour and gets new noise.
MEMORY, NOISE, EXTREME = 0.95, 0.94, 8.0
COSINE, SINE = np.cos(CLOCK), np.sin(CLOCK)
# Plain numbers: a step of one house is faster with them than with arrays of one element.
_CLOCK = list(zip(*(table.tolist() for table in (PRICE, MEAN_OUTDOOR, COSINE, SINE)), strict=True))


def live_an_hour(indoor: Any, outdoor: Any, price: Any, power: Any) -> tuple[Any, Any]:
    """The house after an hour, in degrees Celsius, and the reward, in euros; for numbers or arrays.

    For every kWh of electricity the pump brings 3 kWh of heat at 0 degrees outdoors, and 0.08 kWh more
    or less for each degree. At 26 degrees somebody opens a window.

    Args:
        indoor: degrees Celsius in the house at the beginning of the hour.
        outdoor: degrees Celsius outside.
        price: euros per kWh.
        power: kW that the pump takes.

    >>> warmer, reward = live_an_hour(18.0, 0.0, 0.25, 2.0)
    >>> round(warmer, 2), round(reward, 3)  # (2 * 3 - 0.15 * 18) / 15; 2 * 0.25 + 0.05 * (20 - 18.22)
    (18.22, -0.589)
    """
    heat = power * (3.0 + 0.08 * outdoor)  # kWh, within the hour
    after = indoor + (heat - LOSS * (indoor - outdoor)) / CAPACITY
    after = after - (after - HOT) * (after > HOT)
    uncomfortable = (COLD - after) * (after < COLD) + (after - WARM) * (after > WARM)
    return after, -price * power - DISCOMFORT * uncomfortable


class HeatingEnv(gym.Env[Any, Any]):
    """One house in winter; the action, between 0 and 1, is the share of the pump's 3 kW.

    An observation holds the temperature indoors, counted from 20 degrees Celsius, and outdoors, both in
    tens of degrees, and the cosine and sine of the hour of the day. An episode begins at any hour, with
    the house between 5 and 23 degrees. It never terminates.

    >>> env = HeatingEnv()
    >>> obs, _ = env.reset(seed=0)
    >>> round(env.indoor, 1), round(env.outdoor, 1), env.hour
    (9.9, 6.0, 20)
    >>> obs.round(2).tolist() == np.float32([-1.01, 0.60, 0.5, -0.87]).tolist()
    True
    """

    def __init__(self) -> None:
        low, high = [-3.0, -1.0, -1.0, -1.0], [1.0, 2.0, 1.0, 1.0]
        self.observation_space = gym.spaces.Box(*np.array([low, high], np.float32))
        self.action_space = gym.spaces.Box(0.0, 1.0, (1,))
        self.hour = -1
        self.indoor = self.outdoor = self._weather = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw an hour, a temperature of the house and the weather."""
        super().reset(seed=seed)
        self.hour = int(self.np_random.integers(24))
        self.indoor = float(self.np_random.uniform(5.0, 23.0))
        usual = NOISE / (1.0 - MEMORY**2) ** 0.5  # the weather's deviation in the long run
        self._change_weather(usual * self.np_random.standard_normal())
        return self._obs(), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Run the pump for an hour."""
        try:
            (share,) = map(float, action)
        except (TypeError, ValueError):
            share = np.nan
        if not 0.0 <= share <= 1.0:
            raise InvalidArgumentError(f"action = {action!r}: must be one number in [0, 1]")
        if self.hour < 0:
            raise CourseError("no episode is running; call reset() first")
        price = _CLOCK[self.hour][0]
        self.indoor, reward = live_an_hour(self.indoor, self.outdoor, price, share * POWER)
        self.hour = (self.hour + 1) % 24
        self._change_weather(MEMORY * self._weather + NOISE * self.np_random.standard_normal())
        return self._obs(), reward, False, False, {}

    def _change_weather(self, weather: float) -> None:
        self._weather = min(max(weather, -EXTREME), EXTREME)
        self.outdoor = _CLOCK[self.hour][1] + self._weather

    def _obs(self) -> NDArray[np.float32]:
        _, _, cosine, sine = _CLOCK[self.hour]
        return np.array(
            [(self.indoor - 20.0) / 10.0, self.outdoor / 10.0, cosine, sine], np.float32
        )


# --- what to compare a learner with ------------------------------------------------------------------


def thermostat(observations: NDArray[Any]) -> Floats:
    """The rule on the wall: off above 20.5 degrees, full power below 19.5, in between in proportion.

    >>> thermostat(np.array([[0.1, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]))
    array([[0. ],
           [0.5]])
    """
    indoor = 20.0 + 10.0 * np.asarray(observations, np.float64)[:, :1]
    return np.clip(20.5 - indoor, 0.0, 1.0)


class Plan:
    """The best policy there is, by value iteration backward through the hours of the day, on a grid.

    The house stands on every quarter of a degree and the weather on every second one; between them values
    are interpolated, and what the noise does is summed at three points (Gauss and Hermite).

    A learner that takes the cut for an end drops the future in one row of 24. Were all states equally
    often the last of their day, its targets would on average be those of a discount of
    ``gamma * 23 / 24``: a plan with that one shows what the mistake alone does, without any learning.

    Args:
        gamma: the discount of an hour.

    >>> plan = Plan(0.9)
    >>> cold_at_noon = np.array([[-1.0, 0.3, -1.0, 0.0]])
    >>> plan(cold_at_noon).shape, plan.value(cold_at_noon).shape
    ((1, 1), (1,))
    """

    powers = np.linspace(0.0, POWER, 13)
    houses = np.arange(-10.0, HOT + 0.1, 0.25)
    weathers = np.arange(-EXTREME, EXTREME + 0.1, 2.0)

    def __init__(self, gamma: float) -> None:
        self.gamma = check_fraction("gamma", gamma, below_one=True)
        weather, size = self.weathers, len(self.weathers)
        change = np.zeros((size, size))  # how the weather moves: [now, next]
        for noise, chance in ((-(3**0.5), 1 / 6), (0.0, 2 / 3), (3**0.5, 1 / 6)):
            following = np.clip(MEMORY * weather + NOISE * noise, -EXTREME, EXTREME)
            for j in range(size):
                change[:, j] += chance * np.interp(following, weather, np.eye(size)[j])
        # What to expect after each hour, from where the house is then and the weather was before.
        self.ahead = np.zeros((24, len(self.houses), size))
        indoor, outside = np.meshgrid(self.houses, weather, indexing="ij")
        moved = np.inf
        while moved > 1e-6:
            before = self.ahead[0].copy()
            for hour in reversed(range(24)):
                best = self._worth(indoor, outside, np.array(hour)).max(axis=-1)
                self.ahead[hour - 1] = best @ change.T
            moved = float(np.abs(self.ahead[0] - before).max())

    def _worth(self, indoor: Floats, weather: Floats, hour: NDArray[np.int_]) -> Floats:
        """What each power is worth; shape ``[..., powers]``."""
        indoor, weather, hour = indoor[..., None], weather[..., None], hour[..., None]
        outdoor = MEAN_OUTDOOR[hour] + weather
        after, reward = live_an_hour(indoor, outdoor, PRICE[hour], self.powers)
        i, right = _place(after, self.houses)
        j, up = _place(weather, self.weathers)
        left = (1 - up) * self.ahead[hour, i, j] + up * self.ahead[hour, i, j + 1]
        further = (1 - up) * self.ahead[hour, i + 1, j] + up * self.ahead[hour, i + 1, j + 1]
        worth: Floats = reward + self.gamma * ((1 - right) * left + right * further)
        return worth

    def _of(self, observations: NDArray[Any]) -> Floats:
        indoor, outdoor, cosine, sine = np.asarray(observations, np.float64).T
        hour = np.rint(np.arctan2(sine, cosine) / CLOCK[1]).astype(int) % 24
        return self._worth(20.0 + 10.0 * indoor, 10.0 * outdoor - MEAN_OUTDOOR[hour], hour)

    def __call__(self, observations: NDArray[Any]) -> Floats:
        """The best actions in ``N`` states; shape ``[N, 1]``."""
        best: Floats = self.powers[self._of(observations).argmax(axis=-1)][:, None] / POWER
        return best

    def value(self, observations: NDArray[Any]) -> Floats:
        """The best discounted return from ``N`` states on; shape ``[N]``."""
        best: Floats = self._of(observations).max(axis=-1)
        return best


def _place(at: Floats, points: Floats) -> tuple[NDArray[np.int_], Floats]:
    """The equally spaced point below, and the share of the way to the next one."""
    scaled = np.clip((at - points[0]) / (points[1] - points[0]), 0.0, len(points) - 1.0)
    below = np.minimum(scaled.astype(int), len(points) - 2)
    return below, scaled - below


gym.register("rlcourse/Heating-v0", "rlcourse.envs.heating:HeatingEnv", max_episode_steps=24)
