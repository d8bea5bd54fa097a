"""C++ and JavaScript programs on standard input, where their toolchains are present."""

from __future__ import annotations

from typing import Any

import pytest

from gyms.api import Score, Services, Status, Task
from gyms.code.gym import Code, CodeSettings
from gyms.sandbox import Sandbox

SUM = [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "40 2\n", "stdout": "42\n"}]
CPP = "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }"
JS = "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number);\nconsole.log(a + b);"


def score(sandbox: Sandbox, language: str, code: str, **data: Any) -> Score:
    reason = sandbox.refusal(language)  # type: ignore[arg-type]
    if reason:
        pytest.skip(reason)
    gym = Code(CodeSettings(), Services(sandbox=sandbox))
    task = Task(id="t", prompt=(), data={"language": language, "tests": SUM, **data})
    return gym.score(task, f"```{language}\n{code}\n```")


def test_a_cpp_program_is_compiled_once_and_run_for_each_input(sandbox: Sandbox) -> None:
    assert score(sandbox, "cpp", CPP).value == 1.0
    assert score(sandbox, "cpp", CPP.replace("a + b", "a - b")).value == 0.0


@pytest.mark.parametrize(
    "code",
    [
        "int main( {",
        '#include "/etc/passwd"\nint main() {}',
        '#include "/dev/stdin"\nint main() {}',
        '#include "/srv/secret.h"\nint main() {}',
        'asm(".incbin \\"/etc/shadow\\"");\nint main() {}',
        "template <int N> struct F { static const int v = F<N - 1>::v; };\nint main() { return F<100000>::v; }",
    ],
)
def test_cpp_that_does_not_compile_is_the_models_fault_and_shows_nothing(sandbox: Sandbox, code: str) -> None:
    found = score(sandbox, "cpp", code)
    assert found.status is Status.INVALID_ANSWER
    assert "root:" not in found.detail


def test_cpp_that_takes_too_much_is_ended(sandbox: Sandbox) -> None:
    limits = {"cpu_seconds": 0.5, "wall_seconds": 5}
    assert score(sandbox, "cpp", "int main() { for (;;); }", limits=limits).status is Status.TIMEOUT
    large = "static volatile char a[2000000000];\nint main() { for (long i = 0; i < 2000000000; i += 4096) a[i] = 1; }"
    assert score(sandbox, "cpp", large, limits={"memory_mb": 128}).status is Status.CRASHED
    assert score(sandbox, "cpp", "int main() { int* p = 0; *p = 1; }").status is Status.CRASHED
    abort = "#include <cstdlib>\nint main() { std::abort(); }"
    assert score(sandbox, "cpp", abort).status is Status.CRASHED


def test_a_javascript_program_runs_under_node(sandbox: Sandbox) -> None:
    assert score(sandbox, "javascript", JS).value == 1.0
    assert score(sandbox, "javascript", JS.replace("a + b", "a * b")).value == 0.0
    assert score(sandbox, "javascript", "process.exit(0)").value == 0.0
    reads = "console.log(require('fs').readFileSync('/etc/passwd', 'utf8'))"
    assert score(sandbox, "javascript", reads).status is Status.CRASHED
    connects = "require('net').connect(80, '127.0.0.1', () => console.log('3'))"
    assert score(sandbox, "javascript", connects).value in (None, 0.0)
    limits = {"memory_mb": 128, "cpu_seconds": 100, "wall_seconds": 100}
    eats = "const a = []; for (;;) a.push(new Array(100000).fill(1.5));"
    assert score(sandbox, "javascript", eats, limits=limits).status is Status.CRASHED


def test_calls_are_for_python_alone(sandbox: Sandbox) -> None:
    tests = [{"call": "add(1, 2)", "expected": 3}]
    assert score(sandbox, "cpp", CPP, tests=tests).status is Status.BAD_TASK
