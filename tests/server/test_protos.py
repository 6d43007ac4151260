"""The generated code is what the protos say, and the protos follow the rules of buf."""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = "1.66.2"


def installed_generator() -> str:
    try:
        return metadata.version("grpcio-tools")
    except metadata.PackageNotFoundError:
        return "none"


@pytest.mark.skipif(
    installed_generator() != GENERATOR,
    reason=f"needs grpcio-tools {GENERATOR}, found {installed_generator()}",
)
def test_committed_code_is_the_generated_when_generated_again(tmp_path):
    tool = ROOT / "tools/generate_pb.py"
    subprocess.run([sys.executable, tool, tmp_path], check=True, cwd=ROOT)
    generated = {path.relative_to(tmp_path): path.read_text() for path in files(tmp_path)}
    committed = {path.relative_to(ROOT): path.read_text() for path in files(ROOT / "server/pb")}
    assert generated == committed


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*_pb2*.py*") if "__pycache__" not in path.parts]


def test_lint_finds_nothing_when_buf_reads_the_protos():
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    if buf is None:
        pytest.skip("needs buf: pip install buf-bin")
    lint = subprocess.run([buf, "lint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (lint.returncode, lint.stdout) == (0, "")


def test_hot_messages_have_field_numbers_below_16():
    from server.pb.admittance.v1 import admission_pb2 as pb

    for message in (pb.AdmitRequest, pb.AdmitResponse, pb.ReportRequest, pb.ReportResponse):
        assert max(field.number for field in message.DESCRIPTOR.fields) < 16
