"""The command line, run as a user runs it."""

import re
import shlex
import socket
import subprocess
import sys

FIVE_MISTAKES = """
[policies."a/rate".rate_limit]
rate = "fast"
[policies."a/burst".rate_limit]
rate = "10/s"
burst = 0
[policies."a/breaker".breaker]
failure_rate = 1.5
[policies."a/hold".bulkhead]
limit = 3
hold = 7
[policies."a/unknown".bulkhead]
limits = 3
limit = 3
"""


def test_help_imports_neither_grpc_nor_starlette_when_printed():
    code = (
        "import sys, server.cli; print({'grpc', 'starlette', 'uvicorn', 'engine'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_check_prints_each_complaint_when_a_file_has_five_mistakes(run, tmp_path):
    (tmp_path / "wrong.toml").write_text(FIVE_MISTAKES)
    done = run("check", "wrong.toml")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert all(re.match(r'wrong\.toml: policies\."a/', line) for line in lines)


def test_check_says_so_when_the_file_is_missing(run):
    done = run("check", "missing.toml")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "missing.toml" in done.stderr


def test_check_prints_a_table_when_the_file_is_good(run, policies):
    done = run("check", policies)
    assert done.returncode == 0
    assert "demo/circuit" in done.stdout
    assert "rate_limit rate=1/day burst=5" in done.stdout
    assert done.stderr == ""


def test_version_is_one_line_when_asked_for(run):
    done = run("version")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


def test_serve_exits_2_when_it_would_be_reached_from_anywhere(run, policies):
    done = run("serve", "--policies", policies, "--listen", "0.0.0.0:0")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--insecure-anywhere" in done.stderr


def test_serve_goes_on_to_the_policies_when_insecure_anywhere_is_said(run):
    done = run("serve", "--policies", "missing", "--listen", "0.0.0.0:0", "--insecure-anywhere")
    assert done.returncode == 2
    assert "missing" in done.stderr
    assert "--insecure-anywhere" not in done.stderr


def test_serve_exits_2_when_the_arena_is_none(run, policies, tmp_path):
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    done = run("serve", "--policies", policies, "--arena", tmp_path / "zeros")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "zeros" in done.stderr


def test_serve_exits_1_with_one_line_when_the_grpc_port_is_taken(run, policies, tmp_path, served):
    done = run(
        "serve", "--policies", policies, "--arena", tmp_path / "b",
        "--listen", served.listen, "--web", "127.0.0.1:0",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"{served.listen} is taken: another program listens there\n"


def test_serve_exits_1_with_one_line_when_the_web_port_is_taken(run, policies, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(
            "serve", "--policies", policies, "--arena", tmp_path / "b",
            "--listen", "127.0.0.1:0", "--web", web,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"{web} is taken: another program listens there\n"


def test_serve_exits_1_when_the_socket_is_taken(start, run, policies, tmp_path):
    start("--listen", f"unix:{tmp_path}/a.sock")
    done = run(
        "serve", "--policies", policies, "--arena", tmp_path / "b",
        "--listen", f"unix:{tmp_path}/a.sock", "--web", "127.0.0.1:0",
    )  # fmt: skip
    assert done.returncode == 1
    assert "is taken" in done.stderr


def test_printed_command_admits_and_refuses_when_tried(served, run):
    words = shlex.split(served.lines["try"])
    assert words[1:3] == ["-m", "server"]
    done = run(*words[3:])
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines[:8]] == ["admitted"] * 5 + ["refused"] * 3
    assert re.search(r"rate_limited, retry after [0-9.]+ s", lines[5])
    assert lines[8] == "8 calls: 5 admitted, 3 refused (rate_limited 3)"


def test_admit_holds_all_permits_together_when_told_to(served, run):
    done = run("admit", "demo/pool", "--times", 3, "--hold", 0.01, "--target", served.listen)
    assert done.stdout.splitlines()[-1] == "3 calls: 2 admitted, 1 refused (bulkhead_full 1)"
    assert served.metrics()["admittance_outcomes_total", "demo", "pool", "success"] == 2


def test_admit_counts_failures_when_told_to_report_them(served, run):
    done = run(
        "admit", "demo/circuit", "--times", 12, "--report", "failure", "--target", served.listen
    )
    assert "12 calls: 10 admitted, 2 refused (circuit_open 2)" in done.stdout


def test_admit_exits_1_with_one_line_when_nobody_answers(run):
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = f"127.0.0.1:{free.getsockname()[1]}"
    done = run("admit", "demo/hello", "--target", target)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{target}: UNAVAILABLE")
    assert len(done.stderr.splitlines()) == 1
