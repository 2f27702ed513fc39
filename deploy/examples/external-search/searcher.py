#!/usr/bin/env python3
"""Searches a sweep with `method: external`: near the best point so far, at random one time in three.

    python3 searcher.py SWEEP [COMMAND...]     COMMAND is `sweep` unless given

It may be killed and started again at any time: `sweep search` prints all results again.

With Optuna, `trial = study.ask(distributions)` makes the point that is wanted, `trial.params`. Keep the trial by the number of the line
that proposes it (the first line that is sent is 1). `{"accepted": line, "point": number}` says which point it became: keep it by that
number from then on, and `study.tell(trial, value)` when a result has it. `{"error": ..., "line": line}` says that it became none:
`study.tell(trial, state=optuna.trial.TrialState.FAIL)`. Do not count points yourself: after a refused line, the next point has the
number that the refused one would have had. `distributions` are those of the sweep file. Results of points from before a restart are
added: `study.add_trial(optuna.trial.create_trial(params=..., distributions=..., value=...))`.
"""

import contextlib
import json
import math
import random
import subprocess
import sys

LOW, HIGH = 1e-5, 1e-2
# Most points that are refused without a result in between: beyond, the searcher and the sweep file do not fit together.
REFUSED_MAX = 100


def propose(best):
    """A point: somewhere, or near the best one."""
    point = {
        "activation": random.choice(["relu", "sigmoid"]),
        "batch_size": random.choice([32, 64]),
        "learning_rate": math.exp(random.uniform(math.log(LOW), math.log(HIGH))),
    }
    if best is not None and random.random() < 2 / 3:
        rate = best["learning_rate"] * math.exp(random.gauss(0, 0.5))
        point.update(activation=best["activation"], learning_rate=min(max(rate, LOW), HIGH))
    return point


def main(sweep, command):
    search = subprocess.Popen([*command, "search", sweep], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    best, best_value, proposed, refused = None, -math.inf, 0, 0

    def send(line):
        # The command ends with the sweep, also while a point is on its way: what it printed last is still read.
        with contextlib.suppress(BrokenPipeError):
            search.stdin.write(json.dumps(line) + "\n")
            search.stdin.flush()

    for line in search.stdout:
        said = json.loads(line)
        if "error" in said:
            # A point that the sweep file excludes, for example: another one takes its place.
            print(said["error"], file=sys.stderr, flush=True)
            refused += 1
            if refused == REFUSED_MAX:
                break
            send({"parameters": propose(best)})
        if "result" in said:
            refused = 0
        if said.get("outcome") == "finished" and said["value"] > best_value:
            best, best_value = said["parameters"], said["value"]
            print(f"job {said['job']}: {best_value:.4f} with {best}", flush=True)
        if "wanted" in said:
            # What was proposed since this was said is not counted in it.
            proposed = max(proposed, said["next_point"] - 1)
            while proposed < said["next_point"] - 1 + said["wanted"]:
                send({"parameters": propose(best)})
                proposed += 1
    with contextlib.suppress(BrokenPipeError):
        search.stdin.close()
    return search.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:] or ["sweep"]))
