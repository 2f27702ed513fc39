"""Writes golden/tpe_ties.json: for each case of tpe_densities.json, the order into which numpy sorted the observations of each
numeric parameter. Optuna takes the distances between neighbours from `np.argsort`, which is not stable: among equal
observations the processor's vector instructions decide which one is the outermost and so gets the wider kernel. The
test gives ties this order. Run it with numpy 2 on a machine that gives Optuna the densities of the file.
"""

import json
import pathlib

import numpy as np

folder = pathlib.Path(__file__).with_name("golden")
golden = json.loads((folder / "tpe_densities.json").read_text())
orders = []
for case in golden["cases"]:
    columns = {}
    for name, values in case["observations"].items():
        space = golden["spaces"][name]
        if "choices" in space:
            continue
        values = np.array(values, dtype=float)
        columns[name] = np.argsort(np.log(values) if space["log"] else values).tolist()
    orders.append(columns)
(folder / "tpe_ties.json").write_text(json.dumps(orders))
