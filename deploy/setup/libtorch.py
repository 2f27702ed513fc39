#!/usr/bin/env python3
"""Puts libtorch 2.11.0 (CPU part) into the user's cache and links it as `.libtorch` in the repository. The wheel has this file as
`sweep_setup`: its command `sweep-setup` links libtorch where the installed sweep-trainer looks for it.

Only the standard library and pip are needed, no root. Each wheel is found through the user's own pip
configuration, fetched with resume, and checked against a pinned SHA-256; the files are unpacked next to their final
place and renamed into it, so an interruption at any point leaves either nothing or a part to go on with.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile

VERSION = "2.11.0"
# A pip that knows how to find a wheel's address without fetching the wheel; the system's may be too old.
PIP = ("pip", "25.3", "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd")
TORCH = ("torch", VERSION, "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756")
# libtorch_cpu.so needs these two small libraries of CUDA, though it uses none of CUDA.
CUDA_RUNTIME = ("nvidia-cuda-runtime", "13.0.96", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548")
CUDA_CUPTI = ("nvidia-cuda-cupti", "13.0.85", "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8")
LIBRARIES = {
    "libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libshm.so", "libtorch_global_deps.so",
    "libcudart.so.13", "libcupti.so.13",
}
HEADERS = "torch/include/"
# Wheels (545 MB) and what is unpacked of them (500 MB), with some room.
BYTES_NEEDED = 1_200_000_000
ATTEMPTS_MAX = 5
CHUNK_BYTES = 1 << 20


class SetupError(Exception):
    """Something that the user can fix; the message says how."""


def main() -> None:
    """For those who build the programs."""
    check_machine()
    check_compilers()
    link(pathlib.Path(__file__).resolve().parents[2] / ".libtorch", provide())


def for_installed_programs() -> None:
    """For those who have installed the wheel: `sweep-setup`."""
    check_machine()
    programs = importlib.metadata.files("sweep") or []
    trainer = next((file.locate() for file in programs if file.name == "sweep-trainer"), None)
    if trainer is None:
        raise SetupError("the package `sweep` is not installed with its programs; pip install its wheel")
    # As its RUNPATH says, from its own folder.
    place = pathlib.Path(trainer).resolve().parent.parent / "lib" / "sweep" / "libtorch"
    place.parent.mkdir(parents=True, exist_ok=True)
    link(place, provide())
    print(f"sweep-trainer finds it by {place}")


def provide() -> pathlib.Path:
    """libtorch's folder in the cache, which has it then."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sweep"
    target = cache / "libtorch" / f"{VERSION}-cpu"
    if is_complete(target):
        print(f"libtorch {VERSION} is in {target}")
    else:
        install(target, cache / "downloads")
    return target


def check_machine() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SetupError(f"libtorch {VERSION} is set up for x86-64 Linux, not for {platform.machine()} {sys.platform}")
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        raise SetupError("pip is missing; on Debian and Ubuntu: apt install python3-pip")


def check_compilers() -> None:
    for command, package in [("c++", "g++"), ("cargo", "rustup, from your distribution or the Rust project")]:
        if shutil.which(command) is None:
            raise SetupError(f"`{command}` is missing; install {package}")
    if shutil.which("nasm") is None:
        print("nasm is not installed: JPEG decoding will take twice as long, with the same pixels; `apt install nasm` "
              "before the first build helps (later, `cargo clean --release -p mozjpeg-sys` as well)")


def is_complete(target: pathlib.Path) -> bool:
    """Whether every file of the manifest, which is written last, is there with its size."""
    try:
        manifest = json.loads((target / "manifest.json").read_text())
        return all((target / name).stat().st_size == size for name, size in manifest.items())
    except (OSError, ValueError):
        return False


def install(target: pathlib.Path, downloads: pathlib.Path) -> None:
    downloads.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < BYTES_NEEDED:
        raise SetupError(f"{target.parent} has {free / 1e6:.0f} MB free, but {BYTES_NEEDED / 1e6:.0f} MB are needed; "
                         "make room or set XDG_CACHE_HOME to a larger disk")
    pip = bootstrap_pip(downloads)
    wheels = [fetch(pip, package, downloads) for package in (TORCH, CUDA_RUNTIME, CUDA_CUPTI)]
    work = pathlib.Path(tempfile.mkdtemp(prefix="unpacking-", dir=target.parent))
    try:
        unpack(wheels, work)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for wheel in wheels + [pip]:
        wheel.unlink(missing_ok=True)
    print(f"libtorch {VERSION} is in {target}")


def bootstrap_pip(downloads: pathlib.Path) -> pathlib.Path:
    name, version, sha256 = PIP
    wheel = downloads / f"{name}-{version}-py3-none-any.whl"
    if not (wheel.exists() and digest(wheel) == sha256):
        run_pip([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(downloads),
                 f"{name}=={version}"])
    return verified(wheel, sha256)


def run_pip(command: list[str]) -> None:
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    if finished.returncode != 0:
        last = finished.stderr.strip().splitlines()[-3:]
        raise SetupError("pip could not reach its package index; check the network and `pip config list`:\n  "
                         + "\n  ".join(last))


def fetch(pip: pathlib.Path, package: tuple[str, str, str], downloads: pathlib.Path) -> pathlib.Path:
    """Fetches one wheel, going on where an earlier try stopped."""
    name, version, sha256 = package
    wheel = downloads / f"{name}-{version}.whl"
    if wheel.exists() and digest(wheel) == sha256:
        return wheel
    url = address(pip, name, version)
    part = wheel.with_suffix(".part")
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            receive(url, part, f"{name} {version}")
            break
        except (urllib.error.URLError, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno == 28:
                raise SetupError(f"no space left in {downloads}; make room and run it again") from error
            if attempt == ATTEMPTS_MAX:
                raise SetupError(f"{name} could not be fetched: {error}; run it again to go on from here") from error
            print(f"\n  {error}; going on from {part.stat().st_size if part.exists() else 0} bytes")
            time.sleep(attempt)
    part.rename(wheel)
    return verified(wheel, sha256)


def address(pip: pathlib.Path, name: str, version: str) -> str:
    """Where the user's package index keeps the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        run_pip([sys.executable, str(pip / "pip"), "install", "--dry-run", "--quiet", "--no-deps",
                 "--ignore-installed", "--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp",
                 "--abi", "cp312", "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_25_x86_64",
                 "--platform", "manylinux2014_x86_64", "--target", folder, "--report", str(report),
                 f"{name}=={version}"])
        return json.loads(report.read_text())["install"][0]["download_info"]["url"]


def receive(url: str, part: pathlib.Path, what: str) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return  # Everything is here already; the checksum decides.
        raise
    with response:
        if have and response.status != 206:
            have = 0
        total = have + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if have else "wb") as file:
            copy(response, file, have, total, what)
    if total and part.stat().st_size < total:
        raise EOFError("the connection ended early")


def copy(response, file, done: int, total: int, what: str) -> None:
    told = 0.0
    while block := response.read(CHUNK_BYTES):
        file.write(block)
        done += len(block)
        if sys.stdout.isatty() and time.monotonic() - told > 0.2:
            told = time.monotonic()
            print(f"\r  {what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", end="", flush=True)
    print(f"\r  {what}: {done / 1e6:.0f} MB      ")


def verified(wheel: pathlib.Path, sha256: str) -> pathlib.Path:
    if not wheel.exists():
        raise SetupError(f"pip did not leave {wheel}; run it again")
    found = digest(wheel)
    if found != sha256:
        wheel.unlink()
        raise SetupError(f"{wheel.name} has the checksum {found}, but {sha256} was expected; it was removed, run it again")
    return wheel


def digest(path: pathlib.Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            sha256.update(block)
    return sha256.hexdigest()


def unpack(wheels: list[pathlib.Path], work: pathlib.Path) -> None:
    manifest = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                place = destination(entry.filename)
                if place is None or entry.is_dir():
                    continue
                path = work / place
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK_BYTES)
                manifest[place] = entry.file_size
    missing = LIBRARIES - {name.removeprefix("lib/") for name in manifest}
    if missing:
        raise SetupError(f"the wheels lack {', '.join(sorted(missing))}; this script and its wheels do not fit")
    # torch-sys reads its version check's input from here.
    (work / "build-version").write_text(VERSION)
    (work / "manifest.json").write_text(json.dumps(manifest))


def destination(name: str) -> str | None:
    """Where a file of a wheel goes, if it is wanted; libtorch_cuda is not, so that torch-sys links the CPU part alone."""
    base = name.rsplit("/", 1)[-1]
    if base in LIBRARIES:
        return f"lib/{base}"
    if name.startswith(HEADERS) and ".." not in name:
        return f"include/{name.removeprefix(HEADERS)}"
    return None


def link(place: pathlib.Path, target: pathlib.Path) -> None:
    """Points `place` to `target` in one step."""
    if place.is_symlink() and os.readlink(place) == str(target):
        return
    if place.exists() and not place.is_symlink():
        raise SetupError(f"{place} is in the way; move it")
    fresh = place.with_name(f".libtorch-{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(place)


def told(action) -> None:
    """Does it; what a user can fix is one line."""
    try:
        action()
    except SetupError as error:
        sys.exit(f"setup: {error}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; run it again to go on from here")


def command() -> None:
    """The command `sweep-setup`."""
    told(for_installed_programs)


if __name__ == "__main__":
    told(main)
