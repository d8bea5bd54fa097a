"""Grade-school word problems: the door is gym.py."""
