"""From comparisons to rewards: Bradley-Terry strengths with half-wins for ties and a prior, mapped to [0, 1].

Each answer has a strength s; P(i beats j) = 1 / (1 + exp(s_j - s_i)). A tie counts as half a win for both. Strengths
maximise the log-likelihood minus `prior / 2 * sum(s^2)`. The prior makes the problem strictly concave, so there is
exactly one solution and it is finite, whatever was played: undefeated answers, cycles, groups that never met, nothing
at all. A player's value is its expected score against all the others: in [0, 1], with a mean of one half.

Where everybody met everybody, the order is the order of the number of wins. What the model adds is fairness where they
did not: a win over a strong answer counts for more than one over a weak answer. Left out: Davidson's tie parameter
(half-wins give the same order, and a group has too few games to fit a tie rate) and online Elo (it depends on the
order of the games). Bradley and Terry, Biometrika 39 (1952); ties as half-wins: Glickman, Applied Statistics 48 (1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Game", "fit_strengths", "log_posterior", "values_of"]

MAX_STEPS = 100
NEGLIGIBLE = 1e-22
"""Newton steps end where the next one would gain this little (nats)."""
CLOSE = 1e-6
"""Below this gain (nats) Newton's method converges by itself."""
VALUE_DIGITS = 9
"""Values are rounded: answers that are equal by symmetry then have equal rewards to the last bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """One comparison that was decided.

    Example:
        Game(first=0, second=2, first_score=0.5)
    """

    first: int
    """Number of one player."""
    second: int
    """Number of the other."""
    first_score: float
    """1: the first won. 0: the second won. 0.5: a tie."""


def fit_strengths(num_players: int, games: Sequence[Game], *, prior: float = 0.1) -> list[float]:
    """The strengths that maximise `log_posterior`, by Newton's method; their sum is 0.

    Args:
        prior: precision of the normal prior, > 0. Small values let undefeated players run far ahead.

    Raises:
        ValueError: a prior that is not above 0, a game with itself or an unknown player, or a score outside [0, 1].
    """
    _check(num_players, games, prior)
    points = np.zeros((num_players, num_players))  # [i, j]: points of i against j
    for game in games:
        points[game.first, game.second] += game.first_score
        points[game.second, game.first] += 1.0 - game.first_score
    strengths = np.zeros(num_players)
    for _ in range(MAX_STEPS):
        gradient, curvature = _derivatives(strengths, points, prior)
        step = np.linalg.solve(curvature, gradient)
        gain = float(gradient @ step)
        if gain < NEGLIGIBLE:
            break
        # Far from the top a full Newton step may leap over it; the function is concave, so a shorter one climbs.
        size = 1.0
        while gain > CLOSE and _height(strengths + size * step, points, prior) < _height(strengths, points, prior):
            size /= 2
        strengths = strengths + size * step
    return strengths.tolist()


def log_posterior(strengths: Sequence[float], games: Sequence[Game], *, prior: float) -> float:
    """Log-likelihood of the games (ties as half-wins) minus prior / 2 * sum of squares, in nats."""
    total = -0.5 * prior * sum(strength**2 for strength in strengths)
    for game in games:
        lead = strengths[game.first] - strengths[game.second]
        total += game.first_score * _log_sigmoid(lead) + (1.0 - game.first_score) * _log_sigmoid(-lead)
    return total


def values_of(strengths: Sequence[float]) -> list[float]:
    """Each player's expected score against all the others, in [0, 1]; their mean is one half. Alone: one half.

    Example:
        values_of([0.0, 0.0, 0.0]) == [0.5, 0.5, 0.5]
    """
    num = len(strengths)
    if num == 1:
        return [0.5]
    means = [sum(_sigmoid(a - b) for j, b in enumerate(strengths) if j != i) for i, a in enumerate(strengths)]
    return [round(mean / (num - 1), VALUE_DIGITS) for mean in means]


def _derivatives(strengths: np.ndarray, points: np.ndarray, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the log posterior [N], and minus its Hessian [N, N]."""
    num_games = points + points.T
    expected = np.exp(-np.logaddexp(0.0, strengths[None, :] - strengths[:, None]))
    gradient = (points - num_games * expected).sum(axis=1) - prior * strengths
    weights = num_games * expected * (1.0 - expected)
    curvature = np.diag(weights.sum(axis=1) + prior) - weights
    return gradient, curvature


def _height(strengths: np.ndarray, points: np.ndarray, prior: float) -> float:
    """The log posterior, of points instead of games."""
    losses = np.logaddexp(0.0, strengths[None, :] - strengths[:, None])
    return float(-(points * losses).sum() - 0.5 * prior * (strengths**2).sum())


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def _log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


def _check(num_players: int, games: Sequence[Game], prior: float) -> None:
    if not (math.isfinite(prior) and prior > 0.0):
        raise ValueError(f"the prior must be a finite number above 0, got {prior!r}: without it strengths diverge")
    for game in games:
        players = {game.first, game.second}
        if len(players) < 2 or not players <= set(range(num_players)) or not 0.0 <= game.first_score <= 1.0:
            raise ValueError(f"{game} is no game of two of {num_players} players with a score in [0, 1]")
