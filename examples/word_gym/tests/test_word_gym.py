"""The gym keeps the contract, and pays for the right word only."""

from pathlib import Path

from gyms.testing import check_gym, open_gym

FILE = Path(__file__).parents[1] / "word_gym.py"


def test_the_gym_keeps_the_contract():
    check_gym(open_gym(FILE))


def test_only_a_word_that_fits_is_paid():
    gym = open_gym(FILE, num_heldout=1)
    (apple,) = gym.tasks("heldout")
    assert gym.score(apple, " Apple.\n").value == 1.0
    assert gym.score(apple, "angle").value == 0.0
    assert gym.score(apple, "apple banana").value == 0.0
