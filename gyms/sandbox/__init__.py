"""Runs submitted programs where they can do no harm: what a program is, the tiers of isolation, their probes."""
