"""A job of each kind that an export must tell: what it reports follows from its parameters alone."""

import os
import random
import sys
import time

import sweep

p = sweep.parameters()
case = p["case"]
number = random.Random(f"{case} {p['rate']}")
SPECIAL = [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1.7976931348623157e308]
for epoch in range(1, 6):
    metrics = {"score": number.random() / 3, "val/損失 (%)": number.expovariate(1e-9)}
    if case == "special":
        metrics.update({f"special {place}": SPECIAL[(epoch + place) % len(SPECIAL)] for place in range(3)})
    if case == "missing" and epoch % 2 == 0:
        del metrics["score"]
    if case == "missing" and epoch == 3:
        metrics["late"] = 0.1 + 0.2
    if case == "diverges" and epoch == 3:
        metrics["score"] = float("nan")
    if case == "fails" and epoch == 2:
        sys.exit("out of luck, \"quoted\", <b>\u202e")
    while case == "blocks" and epoch == 3 and not os.path.exists(os.environ["GOES"]):
        time.sleep(0.02)
    sweep.report(epoch, **metrics)
