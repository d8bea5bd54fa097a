"""Sums, differences and products: the door is gym.py."""
