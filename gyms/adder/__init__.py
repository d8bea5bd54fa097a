"""Sums of several numbers with a tool that adds two: the door is gym.py."""
