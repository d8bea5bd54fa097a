"""Rewards that were written for other libraries, as gyms."""
