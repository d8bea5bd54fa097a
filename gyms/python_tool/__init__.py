"""A Python interpreter as a tool, around another gym: the door is gym.py."""
