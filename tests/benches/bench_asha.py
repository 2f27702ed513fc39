"""`make bench-asha`: early stopping against training all jobs to their end.

Runs deploy/examples/early-stopping.yaml with the real trainer on synthetic pictures, as it is and without its
`early_terminate`, once for each seed of the pictures. A job has the same numbers in both, so that the configuration that
early stopping finds is ranked by what the whole grid reached with it. Figures go to target/bench.jsonl, too.
"""

import argparse
import csv
import json
import pathlib
import shutil
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SWEEP_FILE = REPOSITORY / "deploy/examples/early-stopping.yaml"
METRIC = "val_accuracy"
# Bars: how far the accuracy may be from the grid's best, and which part of the grid's epochs may be trained.
DIFFERENCE_MAX = 0.01
EPOCHS_MAX = 1 / 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resume", action="store_true", help="go on with the sweeps of a run that was interrupted")
    options = parser.parse_args()
    work = options.target / "bench-asha"
    if not options.resume:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    text = SWEEP_FILE.read_text()
    without = "".join(line for line in text.splitlines(True) if not line.startswith("early_terminate:"))
    if without == text:
        sys.exit(f"error: {SWEEP_FILE} has no line early_terminate")
    (work / "grid.yaml").write_text(without)
    (work / "asha.yaml").write_text(text)
    rows = [compared(options.target / "release", work, options.images, seed) for seed in range(options.seeds)]
    print(table(rows))
    with (options.target / "bench.jsonl").open("a") as file:
        file.writelines(json.dumps({"bench": "asha", "images": options.images, **row}) + "\n" for row in rows)
    met = [row for row in rows if row["difference"] <= DIFFERENCE_MAX and row["epochs_share"] <= EPOCHS_MAX]
    print(f"\n{len(met)} of {len(rows)} within {DIFFERENCE_MAX} of the best with a third of the epochs or less")


def compared(programs: pathlib.Path, work: pathlib.Path, images: int, seed: int) -> dict:
    pictures = work / f"pictures-{seed}"
    run([programs / "sweep-worker", "dataset", "synth", "--images", images, "--seed", seed, pictures])
    grid, asha = ({}, {})
    for name, found in (("grid", grid), ("asha", asha)):
        results = work / f"{name}-{seed}"
        run([programs / "sweep", "run", work / f"{name}.yaml", "--dataset", pictures, "--output", results])
        with (results / "results.csv").open(newline="") as file:
            found.update({int(row["job"]): row for row in csv.DictReader(file)})
    value = {job: float(row[METRIC]) for job, row in grid.items() if row["state"] == "done"}
    if len(value) != len(grid) or set(asha) != set(grid):
        sys.exit(f"error: seed {seed}: not all jobs of the grid are done")
    done = [job for job, row in asha.items() if row["state"] == "done"]
    # The one that `sweep run` names: the first of the best.
    chosen = max(done, key=lambda job: (float(asha[job][METRIC]), -job))
    if float(asha[chosen][METRIC]) != value[chosen]:
        sys.exit(f"error: seed {seed}: job {chosen} has other numbers in the grid")
    best = max(value.values())
    grid_epochs, asha_epochs = (sum(int(row["epochs_done"]) for row in rows.values()) for rows in (grid, asha))
    return {
        "seed": seed,
        "jobs": len(grid),
        "grid_best": best,
        "asha_best": value[chosen],
        "difference": round(best - value[chosen], 6),
        "rank": sum(other > value[chosen] for other in value.values()) + 1,
        "within": sum(round(best - other, 6) <= DIFFERENCE_MAX for other in value.values()),
        "grid_epochs": grid_epochs,
        "asha_epochs": asha_epochs,
        "epochs_share": round(asha_epochs / grid_epochs, 3),
        "asha_done": len(done),
    }


def run(command: list) -> None:
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"error: {' '.join(map(str, command))}\n{ended.stdout}{ended.stderr}")


def table(rows: list[dict]) -> str:
    columns = ["pictures' seed", "grid's best", "jobs within 0.01 of it", "found", "its rank", "epochs", "of the grid's"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in rows:
        epochs = f"{row['asha_epochs']} of {row['grid_epochs']}"
        lines.append(
            f"| {row['seed']} | {row['grid_best']:.4f} | {row['within']} of {row['jobs']} | {row['asha_best']:.4f} "
            f"| {row['rank']} | {epochs} | {row['epochs_share']:.1%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
