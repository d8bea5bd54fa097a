"""The command line `python -m gyms`: one module for each kind of command."""
