"""The command `admittance`: serve, check, admit, version.

What a command needs is imported when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

try:
    import typer
    from rich.console import Console
except ImportError:
    raise SystemExit(
        "admittance: the command needs typer and rich: pip install 'admittance[server]'"
    ) from None

if TYPE_CHECKING:
    from engine.rules import PolicySet, Rule
    from server.address import Address

UNUSABLE = 2  # exit status: what was given cannot be used
FAILED = 1  # exit status: it could be used, but the world did not allow it

Report = Literal["success", "failure", "ignored", "none"]

app = typer.Typer(
    help="A resilience policy engine: admission over gRPC.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, highlight=False)
err = Console(soft_wrap=True, highlight=False, stderr=True)


def main() -> None:
    """Run the command line."""
    app(prog_name="admittance")


@app.command()
def serve(
    policies: Annotated[str | None, typer.Option(help="The policy file (TOML).")] = None,
    arena: Annotated[
        str | None, typer.Option(help="The arena file; by default one in the runtime folder.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="gRPC: HOST:PORT or unix:PATH [127.0.0.1:50051].")
    ] = None,
    web: Annotated[
        str | None, typer.Option(help="Metrics and probes: HOST:PORT [127.0.0.1:9464].")
    ] = None,
    grace: Annotated[
        float | None, typer.Option(help="Seconds for calls in flight, when stopping [10].")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads that answer calls [8].")] = None,
    insecure_anywhere: Annotated[
        bool | None,
        typer.Option("--insecure-anywhere", help="Listen beyond this machine without TLS."),
    ] = None,
) -> None:
    """Serve admission until SIGTERM or SIGINT. ADMITTANCE_<SETTING> variables set the rest."""
    from server.settings import Settings, arena_path

    with _complaints():
        settings = Settings.read(
            os.environ,
            policies=policies,
            arena=arena,
            listen=listen,
            web=web,
            grace_s=grace,
            threads=threads,
            insecure_anywhere=insecure_anywhere,
        )
        policy_set = _load(settings.policies)
        path = arena_path(settings, os.environ)
        from server import process

        process.serve(
            settings,
            policy_set,
            arena=path,
            announce=lambda grpc, site: _announce(grpc, site, path, policy_set),
        )


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The policy file (TOML).")]) -> None:
    """Validate a policy file: print every complaint, or a table of the policies."""
    from rich.table import Table

    with _complaints():
        policies = _load(str(file)).policies
    title = f"{file}: {len(policies)} policies"
    table = Table("policy", "rules", title=title, title_justify="left")
    for name, spec in policies.items():
        table.add_row(name, "\n".join(_rule_line(rule) for rule in spec.rules) or "none")
    Console().print(table)


@app.command()
def admit(
    policy: Annotated[str, typer.Argument(help="The policy's name, service/operation.")],
    times: Annotated[int, typer.Option(min=1, max=1_000_000, help="How often to ask.")] = 1,
    hold: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds to hold all permits together.")
    ] = 0.0,
    target: Annotated[
        str, typer.Option(help="The server: HOST:PORT or unix:PATH.")
    ] = "127.0.0.1:50051",
    report: Annotated[Report, typer.Option(help="The outcome to report.")] = "success",
) -> None:
    """Ask a running server for admission and report the outcome."""
    import grpc

    from server.caller import Plan, call

    try:
        for line in call(Plan(policy=policy, times=times, hold_s=hold, report=report), target):
            out.print(line, markup=False)
    except grpc.RpcError as error:
        _fail(f"{target}: {error.code().name}: {error.details()}", FAILED)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(_version())


@contextmanager
def _complaints() -> Iterator[None]:
    from engine.errors import ArenaError, ConfigError
    from server.settings import SettingsError

    try:
        yield
    except ConfigError as error:
        _fail("\n".join(str(complaint) for complaint in error.complaints), UNUSABLE)
    except (ArenaError, SettingsError, PermissionError, FileNotFoundError) as error:
        _fail(str(error), UNUSABLE)
    except OSError as error:
        _fail(str(error), FAILED)


def _load(file: str) -> PolicySet:
    from engine import config

    return config.load(file)


def _fail(message: str, status: int) -> None:
    err.print(message, markup=False)
    raise typer.Exit(status)


def _announce(grpc: Address, site: Address, arena: str, policies: PolicySet) -> None:
    lines = {
        "gRPC": str(grpc),
        "metrics": f"http://{site}/metrics",
        "health": f"http://{site}/readyz",
        "arena": arena,
        "try": _try_command(grpc, next(iter(policies.policies), "service/operation")),
    }
    out.print(f"admittance {_version()} serves {len(policies.policies)} policies", markup=False)
    for label, text in lines.items():
        out.print(f"  {label:<8} {text}", markup=False)


def _try_command(grpc: Address, policy: str) -> str:
    from server.settings import Settings

    command = [*_program(), "admit", policy, "--times", "8"]
    if str(grpc) != Settings.__struct_defaults__[Settings.__struct_fields__.index("listen")]:
        command += ["--target", str(grpc)]
    return shlex.join(command)


def _program() -> list[str]:
    if os.path.basename(sys.argv[0]) == "__main__.py":
        return [_short(sys.executable), "-m", "server"]
    return [_short(sys.argv[0])]


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _rule_line(rule: Rule) -> str:
    import msgspec

    fields = msgspec.structs.asdict(rule)
    if rule.mode == "enforce":
        del fields["mode"]
    said = [f"{key}={value}" for key, value in fields.items() if value is not None]
    return " ".join([rule.kind, *said])


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("admittance")
    except metadata.PackageNotFoundError:
        return "(not installed)"
