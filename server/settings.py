"""The server's settings: defaults, ranges and units stand here and nowhere else."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from server.address import Address

KIB = 1 << 10
MIB = 1 << 20


class SettingsError(ValueError):
    """A setting that cannot be used; its text names the setting, the value and the range."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `serve` runs with. Each one can be set by the variable ADMITTANCE_<NAME> as well."""

    policies: str = ""  # the policy file
    arena: str = ""  # the arena file; empty: `arena` in the runtime folder
    arena_bytes: Annotated[int, Meta(ge=2 * MIB, le=2048 * MIB)] = 16 * MIB  # when it is made
    listen: str = "127.0.0.1:50051"  # the data plane
    web: str = "127.0.0.1:9464"  # metrics and probes
    insecure_anywhere: bool = False  # listen beyond this machine without TLS
    grace_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0  # for calls in flight, when stopping
    repair_every_s: Annotated[float, Meta(ge=0.01, le=1)] = 0.25
    threads: Annotated[int, Meta(ge=1, le=256)] = 8
    message_bytes: Annotated[int, Meta(ge=KIB, le=MIB)] = 64 * KIB  # of Admit and Report
    batch_bytes: Annotated[int, Meta(ge=KIB, le=16 * MIB)] = MIB  # of AdmitBatch and ReportBatch
    metadata_bytes: Annotated[int, Meta(ge=KIB, le=MIB)] = 8 * KIB
    streams: Annotated[int, Meta(ge=1, le=10_000)] = 100  # of one connection at once
    connections: Annotated[int, Meta(ge=1, le=100_000)] = 1024
    pending: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000  # calls that wait for a thread
    handshake_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    idle_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0  # before an idle connection is closed
    keepalive_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0  # between pings of a quiet client

    def __post_init__(self) -> None:
        if not self.policies:
            raise ValueError("policies: name the policy file with --policies FILE")
        for name, text in (("listen", self.listen), ("web", self.web)):
            _check_address(name, text, anywhere=self.insecure_anywhere)
        if Address.parse(self.web).path:
            raise ValueError(f"web: {self.web!r} must be HOST:PORT")

    @classmethod
    def read(cls, environ: Mapping[str, str], **options: object) -> Settings:
        """Take each setting from `options` unless None, else from `environ`, else its default.

        Raises SettingsError.
        """
        variables = {name: f"ADMITTANCE_{name.upper()}" for name in cls.__struct_fields__}
        values: dict[str, object] = {
            name: environ[variable] for name, variable in variables.items() if variable in environ
        }
        values |= {name: value for name, value in options.items() if value is not None}
        try:
            return msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(_readable(error, values)) from None


def arena_path(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return the arena file's path; by default `arena` in the runtime folder, which is made.

    Raises PermissionError where that folder is not a folder of ours alone.
    """
    if settings.arena:
        return settings.arena
    folder = _runtime_folder(environ)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{folder} must be a folder of this user with mode 0700, or name another with --arena"
        )
    return str(folder / "arena")


def _runtime_folder(environ: Mapping[str, str]) -> Path:
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "admittance"
    memory = Path("/dev/shm")  # noqa: S108
    folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"admittance-{os.getuid()}"


def _check_address(name: str, text: str, *, anywhere: bool) -> None:
    try:
        address = Address.parse(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not address.local and not anywhere:
        raise ValueError(
            f"{name}: {text} can be reached from other machines, and there is no TLS: "
            "listen on loopback or a Unix socket, or say --insecure-anywhere"
        )


def _readable(error: msgspec.ValidationError, values: Mapping[str, object]) -> str:
    complaint, _, path = str(error).partition(" - at `$.")
    name = path.rstrip("`")
    if not name:
        return complaint
    return f"{name} = {values.get(name)}: {complaint[0].lower()}{complaint[1:].replace('`', '')}"
