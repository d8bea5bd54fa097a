"""Environments of tools over a small world: calendar, shop, bank, files, travel."""
