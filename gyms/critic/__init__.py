"""Which of two answers is right: the door is gym.py."""
