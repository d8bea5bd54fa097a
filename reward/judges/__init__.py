"""Judges: the served policy or another model behind a prompt, an endpoint, a file of human labels."""
