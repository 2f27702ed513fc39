#!/usr/bin/env python3
"""Makes a wheel of the three programs, as they were built, and of the Python modules: the helper `sweep`, the notebook's client
`sweep_client`, and `sweep_setup`, whose command `sweep-setup` fetches libtorch for sweep-trainer.

A wheel is a zip file with a list of what it holds (the binary distribution format of packaging.python.org). maturin makes one from the
programs of a single crate, and these are of three. It is for machines with this one's C library or a newer one.
"""

import argparse
import base64
import hashlib
import pathlib
import platform
import re
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("sweep", "sweep-worker", "sweep-trainer")
MODULES = {
    "sweep.py": ROOT / "worker/python/sweep.py",
    "sweep_client.py": ROOT / "worker/python/sweep_client.py",
    "sweep_setup.py": ROOT / "deploy/setup/libtorch.py",
}
PYTHON_MIN = "3.9"
# The same bytes from the same files: no time of a build in them.
TIME = (2020, 1, 1, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="the folder that holds the built programs")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the folder for the wheel")
    arguments = parser.parse_args()
    missing = [name for name in PROGRAMS if not (arguments.programs / name).is_file()]
    if missing:
        sys.exit(f"wheel: {arguments.programs} lacks {', '.join(missing)}; run `make build`")
    arguments.output.mkdir(parents=True, exist_ok=True)
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    tag = f"py3-none-{sys.platform}_{platform.machine()}"
    wheel = arguments.output / f"sweep-{version}-{tag}.whl"
    unfinished = wheel.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive, arguments.programs, f"sweep-{version}", version, tag)
    unfinished.replace(wheel)
    print(wheel)


def fill(archive: zipfile.ZipFile, programs: pathlib.Path, name: str, version: str, tag: str) -> None:
    record = []

    def add(path: str, content: bytes, mode: int = 0o644) -> None:
        entry = zipfile.ZipInfo(path, TIME)
        entry.external_attr = (0o100000 | mode) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(content)}")

    for program in PROGRAMS:
        add(f"{name}.data/scripts/{program}", (programs / program).read_bytes(), 0o755)
    for module, place in MODULES.items():
        add(module, place.read_bytes())
    about = f"{name}.dist-info"
    add(f"{about}/METADATA", (
        f"Metadata-Version: 2.4\nName: sweep\nVersion: {version}\nSummary: Trains the jobs of a hyperparameter sweep on your own machines\n"
        f"License-Expression: Apache-2.0\nLicense-File: LICENSE\nRequires-Python: >={PYTHON_MIN}\n"
    ).encode())
    add(f"{about}/WHEEL", f"Wheel-Version: 1.0\nGenerator: wheel.py\nRoot-Is-Purelib: false\nTag: {tag}\n".encode())
    add(f"{about}/entry_points.txt", b"[console_scripts]\nsweep-setup = sweep_setup:command\n")
    add(f"{about}/licenses/LICENSE", (ROOT / "LICENSE").read_bytes())
    archive.writestr(zipfile.ZipInfo(f"{about}/RECORD", TIME), "\n".join([*record, f"{about}/RECORD,,", ""]))


if __name__ == "__main__":
    main()
