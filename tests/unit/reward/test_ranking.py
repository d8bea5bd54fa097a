"""Bradley-Terry with a prior: against hand computation, finite differences and exhaustive search; finite always."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward.critic_schedule import calls_bound, pairs_to_compare
from reward.ranking import Game, fit_strengths, log_posterior, values_of


def game(i: int, j: int, score: float) -> Game:
    return Game(first=i, second=j, first_score=score)


def tournaments(max_players: int = 5) -> st.SearchStrategy[tuple[int, list[Game]]]:
    def of(num: int) -> st.SearchStrategy[tuple[int, list[Game]]]:
        pairs = list(itertools.permutations(range(num), 2))
        games = st.tuples(st.sampled_from(pairs), st.sampled_from([0.0, 0.5, 1.0]))
        return st.tuples(st.just(num), st.lists(games.map(lambda g: game(*g[0], g[1])), max_size=12))

    return st.integers(2, max_players).flatmap(of)


def test_one_win_solves_its_equation() -> None:
    """With s and -s: the gradient sigmoid(-2 s) - prior * s is 0."""
    for prior, value in ((0.1, 0.89), (1.0, 0.66)):
        a, b = fit_strengths(2, [game(0, 1, 1.0)], prior=prior)
        assert a == pytest.approx(-b)
        assert 1 / (1 + math.exp(a - b)) == pytest.approx(prior * a, abs=1e-9)  # where the search for a zero stops
        assert values_of([a, b])[0] == pytest.approx(value, abs=0.005)  # two digits


@settings(max_examples=60, deadline=None)
@given(tournaments())
def test_the_solution_is_where_the_finite_difference_gradient_vanishes(found: tuple[int, list[Game]]) -> None:
    num, games = found
    strengths = fit_strengths(num, games, prior=0.1)
    for player in range(num):
        up, down = list(strengths), list(strengths)
        up[player] += 1e-5
        down[player] -= 1e-5
        slope = (log_posterior(up, games, prior=0.1) - log_posterior(down, games, prior=0.1)) / 2e-5
        assert abs(slope) < 1e-6


@settings(max_examples=20, deadline=None)
@given(tournaments(3), st.integers(0, 2**31))
def test_no_point_of_a_search_is_better(found: tuple[int, list[Game]], seed: int) -> None:
    num, games = found
    best = log_posterior(fit_strengths(num, games, prior=0.3), games, prior=0.3)
    grid = np.linspace(-4, 4, 9)
    points = [*itertools.product(grid, repeat=num), *np.random.default_rng(seed).normal(0, 2, (50, num)).tolist()]
    assert all(log_posterior(list(point), games, prior=0.3) <= best + 1e-9 for point in points)


@pytest.mark.parametrize(
    "games",
    [
        [],
        [game(0, 1, 1.0), game(0, 2, 1.0), game(0, 3, 1.0)],
        [game(0, 1, 1.0), game(1, 2, 1.0), game(2, 0, 1.0)],
        [game(0, 1, 1.0), game(2, 3, 1.0)],
        [game(0, 1, 0.5)] * 50,
        [game(0, 1, 1.0)] * 1000,
    ],
    ids=["nothing", "undefeated", "cycle", "disconnected", "ties", "a thousand wins"],
)
def test_strengths_are_finite_and_values_have_a_mean_of_one_half(games: list[Game]) -> None:
    strengths = fit_strengths(4, games, prior=0.01)
    values = values_of(strengths)
    assert all(map(math.isfinite, strengths)) and sum(strengths) == pytest.approx(0.0, abs=1e-6)
    assert all(0.0 <= value <= 1.0 for value in values) and sum(values) == pytest.approx(2.0)


def test_equal_by_symmetry_is_equal_to_the_last_bit() -> None:
    cycle = values_of(fit_strengths(3, [game(0, 1, 1.0), game(1, 2, 1.0), game(2, 0, 1.0)]))
    assert cycle == [0.5, 0.5, 0.5]
    star = values_of(fit_strengths(7, [game(0, j, 1.0) for j in range(1, 7)]))
    assert len(set(star[1:])) == 1 and star[0] > star[1]


@settings(max_examples=40, deadline=None)
@given(tournaments(), st.randoms(use_true_random=False))
def test_names_and_order_of_games_do_not_matter(found: tuple[int, list[Game]], random) -> None:
    num, games = found
    names = list(range(num))
    random.shuffle(names)
    renamed = [game(names[g.second], names[g.first], 1.0 - g.first_score) for g in games]
    random.shuffle(renamed)
    values, others = values_of(fit_strengths(num, games)), values_of(fit_strengths(num, renamed))
    assert [others[names[i]] for i in range(num)] == pytest.approx(values, abs=1e-8)


def test_in_a_full_round_the_order_is_that_of_the_points() -> None:
    """Every outcome of every small tournament: 3 players, three results for each of 3 pairs."""
    pairs = [(0, 1), (0, 2), (1, 2)]
    for scores in itertools.product([0.0, 0.5, 1.0], repeat=3):
        games = [game(i, j, score) for (i, j), score in zip(pairs, scores, strict=True)]
        points = [0.0] * 3
        for g in games:
            points[g.first] += g.first_score
            points[g.second] += 1 - g.first_score
        values = values_of(fit_strengths(3, games))
        for i, j in pairs:
            assert np.sign(round(values[i] - values[j], 9)) == np.sign(points[i] - points[j]), (scores, values)


def test_a_win_over_the_stronger_counts_for_more() -> None:
    """0 beat the winner of three, 1 beat the loser of three; both won their only game."""
    games = [
        game(0, 2, 1.0),
        game(1, 3, 1.0),
        *(game(2, k, 1.0) for k in (4, 5, 6)),
        *(game(k, 3, 1.0) for k in (4, 5)),
    ]
    values = values_of(fit_strengths(7, games))
    assert values[0] > values[1]


def test_one_player_alone_is_worth_one_half() -> None:
    assert values_of(fit_strengths(1, [])) == [0.5]


@pytest.mark.parametrize(
    ("games", "prior"),
    [([game(0, 0, 1.0)], 0.1), ([game(0, 5, 1.0)], 0.1), ([game(0, 1, 1.5)], 0.1), ([], 0.0), ([], math.nan)],
)
def test_what_is_no_tournament_is_refused(games: list[Game], prior: float) -> None:
    with pytest.raises(ValueError):
        fit_strengths(2, games, prior=prior)


@pytest.mark.parametrize("num", range(5))
def test_a_few_players_all_meet(num: int) -> None:
    assert pairs_to_compare(num, num_opponents=2, key="k") == tuple(itertools.combinations(range(num), 2))


@settings(max_examples=150, deadline=None)
@given(st.integers(5, 24), st.integers(2, 8), st.text(max_size=5))
def test_a_schedule_is_balanced_connected_and_within_its_budget(num: int, opponents: int, key: str) -> None:
    pairs = pairs_to_compare(num, num_opponents=opponents, key=key)
    assert len(set(pairs)) == len(pairs) and all(0 <= i < j < num for i, j in pairs)
    games = [sum(player in pair for pair in pairs) for player in range(num)]
    assert max(games) <= max(opponents, 4) and max(games) - min(games) <= 1
    assert len(pairs) <= num * max(opponents, 4) // 2
    reached, edge = {0}, {0}
    while edge:
        edge = {b for pair in pairs for a, b in (pair, pair[::-1]) if a in edge} - reached
        reached |= edge
    assert reached == set(range(num))
    assert pairs == pairs_to_compare(num, num_opponents=opponents, key=key)


def test_the_key_shuffles_who_meets_whom() -> None:
    assert len({pairs_to_compare(8, num_opponents=3, key=str(key)) for key in range(20)}) > 10


def test_eight_siblings_cost_at_most_24_calls_and_9_controls_without_retries() -> None:
    assert calls_bound(8, num_opponents=3, num_retries=0) == 24 + 9
    assert calls_bound(4, num_opponents=3, num_retries=0) == 12 + 5
    assert calls_bound(8, num_opponents=7, num_retries=0) == 56 + 9
    with pytest.raises(ValueError, match="at least 2"):
        pairs_to_compare(8, num_opponents=1, key="")
