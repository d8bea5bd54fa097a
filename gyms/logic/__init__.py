"""reasoning-gym's puzzles: the door is gym.py."""
