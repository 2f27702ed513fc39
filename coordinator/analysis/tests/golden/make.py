#!/usr/bin/env python3
"""Makes golden.json, with which the tests compare: pip install scipy==1.17.1 optuna==5.0.0

Statistics are SciPy's, PED-ANOVA is Optuna's. Newcombe's interval is written out with SciPy's Wilson intervals, and the expected best of n
is the mean over all choices."""

import itertools
import json
import math
import pathlib
import random

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from scipy import stats

optuna.logging.set_verbosity(optuna.logging.ERROR)


def interval(result):
    return [result.low, result.high]


def quantiles():
    freedoms = [1, 2, 3, 4.7, 9, 15.25, 30, 120, 5000, 199999]
    return [[f, float(stats.t.ppf(0.975, f))] for f in freedoms]


def tails():
    return [[t, f, float(2 * stats.t.sf(abs(t), f))] for t in (0.0, 0.3, -1.5, 4.0, 25.0) for f in (1, 2.5, 9, 400, 1500, 199999)]


def welch():
    cases = [
        ([0.7880, 0.7912, 0.7854], [0.7928, 0.7931, 0.7899]),
        ([1.0, 2.0], [10.0, 10.5, 11.0, 40.0]),
        ([5.0, 5.0, 5.0], [5.1, 5.2, 5.05]),
        ([1e-9, 2e-9, 5e-9], [1.5e-9, 1.4e-9]),
    ]
    made = []
    for one, other in cases:
        result = stats.ttest_ind(one, other, equal_var=False)
        made.append(
            {
                "one": one,
                "other": other,
                "p": float(result.pvalue),
                "freedom": float(result.df),
                "interval": interval(result.confidence_interval(0.95)),
            }
        )
    return made


def paired():
    cases = [[0.0048, -0.001, 0.003, 0.0044], [1.0, 2.0], [-3.0, -3.1, -2.9, -3.05, -3.0]]
    made = []
    for differences in cases:
        result = stats.ttest_1samp(differences, 0.0)
        made.append(
            {
                "differences": differences,
                "p": float(result.pvalue),
                "interval": interval(result.confidence_interval(0.95)),
            }
        )
    return made


def means():
    cases = [[0.5014, 0.4986, 0.5014, 0.5014], [3.0, 1.0], [1e6, 1e6 + 1, 1e6 + 2]]
    return [
        {
            "values": values,
            "deviation": float(np.std(values, ddof=1)),
            "interval": [float(x) for x in stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))],
        }
        for values in cases
    ]


def shares():
    made = []
    for hits, count in [(0, 10), (10, 10), (3942, 5000), (1, 3), (2507, 5000), (199999, 200000)]:
        result = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
        made.append([hits / count, count, interval(result)])
    return made


def newcombe():
    made = []
    for one, other, count in [(3964, 3942, 5000), (56, 48, 80), (10, 0, 10), (3, 3, 7)]:
        a, b = one / count, other / count
        first = stats.binomtest(one, count).proportion_ci(0.95, method="wilson")
        second = stats.binomtest(other, count).proportion_ci(0.95, method="wilson")
        low = a - b - math.sqrt((a - first.low) ** 2 + (second.high - b) ** 2)
        high = a - b + math.sqrt((first.high - a) ** 2 + (b - second.low) ** 2)
        made.append([a, b, count, [low, high]])
    return made


def best_of():
    values = [0.5014, 0.7880, 0.4976, 0.7884, 0.4914, 0.7928, 0.5014]
    sizes = [1, 2, 4, 7]
    return {
        "values": values,
        "maximize": [[n, float(np.mean([max(c) for c in itertools.combinations(values, n)]))] for n in sizes],
        "minimize": [[n, float(np.mean([min(c) for c in itertools.combinations(values, n)]))] for n in sizes],
    }


def grid():
    """Main effects of a complete grid, by sums over all cells."""
    random.seed(3)
    sizes = [2, 4, 3]
    cells = list(itertools.product(*[range(n) for n in sizes]))
    values = [0.3 * a + 0.1 * b * b + 0.05 * c + 0.2 * a * b + random.gauss(0, 0.1) for a, b, c in cells]
    cube = np.array(values).reshape(sizes)
    effects = []
    for axis in range(len(sizes)):
        others = tuple(other for other in range(len(sizes)) if other != axis)
        effects.append(float(np.var(cube.mean(axis=others)) / np.var(cube)))
    return {"sizes": sizes, "values": values, "shares": effects}


def ped_anova(maximize, quantile, seed, count, conditional):
    """A search at random over a choice, a logarithmic rate, a whole number and an even one; the last only for one choice."""
    random.seed(seed)
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    rows = []
    for _ in range(count):
        row = {
            "activation": random.choice(["relu", "sigmoid", "tanh"]),
            "rate": math.exp(random.uniform(math.log(1e-5), math.log(1e-1))),
            "units": random.randint(8, 40),
            "dropout": random.uniform(0.0, 0.5),
        }
        if conditional and row["activation"] != "relu":
            del row["dropout"]
        score = {"relu": 0.2, "sigmoid": 0.0, "tanh": 0.1}[row["activation"]]
        score -= 0.05 * (math.log10(row["rate"]) + 3) ** 2
        score += 0.003 * row["units"] - 0.1 * row.get("dropout", 0.0) + random.gauss(0, 0.02)
        rows.append([row, score if maximize else -score])
    every = {name: [row[name] for row, _ in rows if name in row] for name in ["rate", "units", "dropout"]}
    distributions = {
        "activation": CategoricalDistribution(["relu", "sigmoid", "tanh"]),
        "rate": FloatDistribution(min(every["rate"]), max(every["rate"]), log=True),
        "units": IntDistribution(min(every["units"]), max(every["units"])),
        "dropout": FloatDistribution(min(every["dropout"]), max(every["dropout"])),
    }
    for row, value in rows:
        own = {name: distributions[name] for name in row}
        study.add_trial(optuna.create_trial(params=row, distributions=own, value=value))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    names = list(distributions)
    return {
        "maximize": maximize,
        "quantile": quantile,
        "names": names,
        "rows": [[[row.get(name) for name in names], value] for row, value in rows],
        "shares": [shares[name] for name in names],
    }


golden = {
    "quantiles": quantiles(),
    "tails": tails(),
    "welch": welch(),
    "paired": paired(),
    "means": means(),
    "wilson": shares(),
    "newcombe": newcombe(),
    "best_of": best_of(),
    "grid": grid(),
    "ped_anova": [
        ped_anova(True, 0.1, 1, 80, False),
        ped_anova(False, 0.1, 2, 120, True),
        ped_anova(True, 5 / 24, 3, 24, False),
    ],
}
place = pathlib.Path(__file__).with_name("golden.json")
place.write_text(json.dumps(golden, indent=1) + "\n")
