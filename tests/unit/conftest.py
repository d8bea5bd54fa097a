"""In an environment without every extra, tests of what an extra brings are left out, and the header says so."""

from importlib.util import find_spec

NEEDS = {
    "gyms/logic/test_logic.py": "reasoning_gym",
    "gyms/logic/test_logic_formulas.py": "sympy",
    "gyms/math/test_math_oracles.py": "math_verify",
    "reward/test_critic.py": "numpy",
    "reward/test_critic_attacks.py": "numpy",
    "reward/test_critic_config.py": "numpy",
    "reward/test_critic_faults.py": "numpy",
    "reward/test_endpoint.py": "httpx",
    "reward/test_ranking.py": "numpy",
    "rl": "torch",
    "rollout": "torch",
}
"""File or folder beside this one -> the library without which it cannot even be imported."""

collect_ignore = [path for path, library in NEEDS.items() if find_spec(library) is None]


def pytest_report_header() -> list[str]:
    lacking = sorted({NEEDS[path] for path in collect_ignore})
    return [f"left out, for want of {', '.join(lacking)}: {', '.join(collect_ignore)}"] if collect_ignore else []
