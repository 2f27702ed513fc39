#!/usr/bin/env python3
"""Writes what the programs are made of: a bill of materials in CycloneDX 1.6, from what cargo knows without the network. It has each package
that a program links, with its version, licence and the checksum of Cargo.lock; none that only tests or builds need.

libtorch, which sweep-trainer loads, comes from `deploy/setup/libtorch.py`, with its version.
"""

import json
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The packages whose programs are installed.
PROGRAMS = ("coordinator", "worker", "trainer")
LIBTORCH = ("libtorch", "2.11.0", "BSD-3-Clause")


def main() -> None:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    document = bill(metadata, tomllib.loads((ROOT / "Cargo.lock").read_text()))
    text = json.dumps(document, indent=1) + "\n"
    if len(sys.argv) > 1:
        pathlib.Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)


def bill(metadata: dict, lock: dict) -> dict:
    """The document for these packages."""
    packages = {package["id"]: package for package in metadata["packages"]}
    linked = {
        node["id"]: sorted(
            dependency["pkg"]
            for dependency in node["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        )
        for node in metadata["resolve"]["nodes"]
    }
    programs = [package["id"] for package in packages.values() if package["name"] in PROGRAMS and package["source"] is None]
    found, waiting = set(), list(programs)
    while waiting:
        package = waiting.pop()
        if package not in found:
            found.add(package)
            waiting += linked[package]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    ordered = sorted(found, key=lambda package: (packages[package]["name"], packages[package]["version"]))
    parts = [component(packages[package], checksums) for package in ordered]
    name, version, licence = LIBTORCH
    torch = {"type": "library", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    parts.append({**torch, "licenses": [{"expression": licence}], "purl": f"pkg:pypi/torch@{version}"})
    version = next(packages[package]["version"] for package in programs)
    links = [{"ref": reference(packages[package]), "dependsOn": [reference(packages[other]) for other in linked[package]]} for package in ordered]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "sweep", "name": "sweep", "version": version}},
        "components": parts,
        "dependencies": [{"ref": "sweep", "dependsOn": [reference(packages[package]) for package in sorted(programs)]}, *links],
    }


def reference(package: dict) -> str:
    return f"{package['name']}@{package['version']}"


def component(package: dict, checksums: dict) -> dict:
    """A package of the document."""
    own = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": f"pkg:cargo/{package['name']}@{package['version']}",
    }
    if package.get("license"):
        own["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        own["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return own


if __name__ == "__main__":
    main()
