"""The 112 built-in instruction ids by what they are about, each said once (gyms/constraints/rule.py)."""
