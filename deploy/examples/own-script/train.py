"""Fits the slope of a line to 200 noisy points by stochastic gradient descent, with momentum."""

import json
import os
import random

import sweep

p = sweep.parameters(rate=0.1, momentum=0.0, batch=8, epochs=20)

noise = random.Random(0)
points = [(x, 3 * x + noise.gauss(0, 0.1)) for x in (noise.random() for _ in range(200))]
training, validation = points[:160], points[160:]


def loss(slope, some):
    return sum((slope * x - y) ** 2 for x, y in some) / len(some)


def save(folder):
    with open(os.path.join(folder, "state.json"), "w") as file:
        json.dump({"epoch": epoch, "slope": slope, "speed": speed}, file)


slope, speed, start = 0.0, 0.0, 1
checkpoint = sweep.load()
if checkpoint:
    with open(os.path.join(checkpoint, "state.json")) as file:
        state = json.load(file)
    slope, speed, start = state["slope"], state["speed"], state["epoch"] + 1

for epoch in range(start, p.epochs + 1):
    # The order of an epoch depends on its number alone, so that a job that goes on has the numbers of one that was not interrupted.
    order = random.Random(epoch).sample(training, len(training))
    for first in range(0, len(order), p.batch):
        some = order[first : first + p.batch]
        gradient = sum(2 * (slope * x - y) * x for x, y in some) / len(some)
        speed = p.momentum * speed - p.rate * gradient
        slope += speed
    sweep.checkpoint(save)
    if sweep.report(epoch, train_loss=loss(slope, training), val_loss=loss(slope, validation), slope=slope):
        break
