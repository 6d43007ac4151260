"""The README shows what the files hold, and its commands do what it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import server

ROOT = Path(server.__file__).parent.parent
README = (ROOT / "README.md").read_text()
NODE = ROOT / "examples/storefront/node"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def node() -> str:
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        pytest.skip("Node.js or npm is not installed")
    if not (NODE / "node_modules").exists():
        run(npm, "ci", "--ignore-scripts", "--prefix", NODE)
    return program


def test_readme_shows_the_python_example_that_runs():
    assert blocks("python")[0] == (ROOT / "examples/hello.py").read_text()
    said = run(sys.executable, ROOT / "examples/hello.py").splitlines()
    assert said[:3] == ["charged order 1", "charged order 2", "True"]
    assert re.fullmatch(r"rate_limited, retry after 0\.0\d\d s", said[3])


def test_readme_shows_the_node_example_that_runs(start, node):
    assert blocks("js") == [(NODE / "hello.js").read_text()]
    served = start("--policies", ROOT / "examples/policies.toml")
    assert run(node, NODE / "hello.js", served.listen) == "REPORT_RESULT_SETTLED\n"
    assert served.metrics()["admittance_outcomes_total", "payments", "charge", "success"] == 1


def test_readme_commands_admit_and_refuse(start):
    served = start("--policies", ROOT / "examples/policies.toml")
    said = run(
        sys.executable, "-m", "server", "admit", "demo/hello", "--times", 8,
        "--target", served.listen,
    )  # fmt: skip
    assert said.splitlines()[-1] == "8 calls: 5 admitted, 3 refused (rate_limited 3)"
    assert "payments/charge" in run(
        sys.executable, "-m", "server", "check", "examples/policies.toml"
    )


def test_readme_names_only_files_and_targets_that_exist():
    for target in re.findall(r"\]\(([^):#]+)\)", README):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+)\b", README):
        assert f"\n{target}:" in makefile, target
