"""Open-ended prompts, and what code can check of an answer: the door is gym.py."""
