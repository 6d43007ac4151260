"""Generate `server/pb` from `proto/`: the only way the committed code is made.

Run it with the oldest generator that the project supports, so that every newer runtime takes the
code: `pip install grpcio-tools==1.66.2`, then `python tools/generate_pb.py [FOLDER]`.
"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from grpc_tools import protoc

GENERATOR = "1.66.2"
ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "server/pb"


def stage(protos: Path, staged: Path) -> list[str]:
    """Copy the protos to where their Python packages will be; return their paths under `staged`."""
    paths = []
    for source in sorted(protos.rglob("*.proto")):
        path = f"{PACKAGE}/{source.relative_to(protos)}"
        text = source.read_text().replace('import "admittance/', f'import "{PACKAGE}/admittance/')
        (staged / path).parent.mkdir(parents=True, exist_ok=True)
        (staged / path).write_text(text)
        paths.append(path)
    return paths


def generate(folder: Path) -> int:
    """Write the generated modules under `folder`; return the exit status of protoc."""
    outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
    with tempfile.TemporaryDirectory() as staged:
        paths = stage(ROOT / "proto", Path(staged))
        return int(protoc.main(["protoc", f"-I{staged}", *outputs, *paths]))


def main() -> int:
    """Generate into the folder named on the command line, by default the project's own."""
    found = version("grpcio-tools")
    if found != GENERATOR:
        sys.exit(f"grpcio-tools {found} is here: pip install grpcio-tools=={GENERATOR}")
    return generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)


if __name__ == "__main__":
    raise SystemExit(main())
