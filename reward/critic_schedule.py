"""Which siblings are compared: all pairs of a few, and a balanced schedule of a few opponents each beyond that.

K siblings have K (K - 1) / 2 pairs, and each pair costs two calls because both orders are asked: 56 calls at K = 8.
With a few opponents each, a ranking is still determined as long as the games connect everybody. So players sit on a
circle in an order that the key shuffles, and meet those 1, 2, ... seats away: everybody has the same number of games
(one less for one player where the numbers are odd), and the nearest seats alone already connect the circle.
"""

from __future__ import annotations

from gyms.permutation import permute

__all__ = ["calls_bound", "pairs_to_compare"]

MAX_ALL_PAIRS = 4
"""Up to this many players everybody meets everybody."""


def pairs_to_compare(num_players: int, *, num_opponents: int, key: str) -> tuple[tuple[int, int], ...]:
    """The pairs (i < j), sorted: a pure function of its arguments.

    Args:
        num_opponents: games per player beyond `MAX_ALL_PAIRS` players; at least 2, which is what connects them all.
        key: names the group; shuffles who meets whom.

    Example:
        pairs_to_compare(3, num_opponents=2, key="s0/d0") == ((0, 1), (0, 2), (1, 2))
    """
    if num_opponents < 2:
        raise ValueError(f"num_opponents must be at least 2, got {num_opponents}: one game each leaves groups apart")
    if num_players <= max(MAX_ALL_PAIRS, num_opponents + 1):
        return tuple((i, j) for i in range(num_players) for j in range(i + 1, num_players))
    seats = [permute(seat, num_players, f"seats {key}") for seat in range(num_players)]
    pairs: set[tuple[int, int]] = set()
    for distance in range(1, num_opponents // 2 + 1):
        pairs |= {_pair(seats[seat], seats[(seat + distance) % num_players]) for seat in range(num_players)}
    if num_opponents % 2:
        # One game more for each: with those opposite. Opposite is further than every distance used above, because
        # num_players > num_opponents + 1; with an odd number of players, the last one stays without this game.
        half = num_players // 2
        pairs |= {_pair(seats[seat], seats[seat + half]) for seat in range(half)}
    return tuple(sorted(pairs))


def calls_bound(num_siblings: int, *, num_opponents: int, num_retries: int = 1) -> int:
    """Most judge calls that one group can cost: both orders of every pair and the controls of who provoked the judge
    (reward/provoked.py: one of each answer and one of the question), each with its retries."""
    pairs = pairs_to_compare(num_siblings, num_opponents=num_opponents, key="")
    return (1 + num_retries) * (2 * len(pairs) + num_siblings + 1)


def _pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
