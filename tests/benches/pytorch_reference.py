"""The report's experiment the way it was done: a plain PyTorch 2.11 script, one training after another.

`make bench-pytorch` runs this in a virtual environment of its own and compares `sweep` with it. Each mode prints one
JSON line. Nothing here is tuned, on purpose: ImageFolder decodes and transforms every picture in every epoch, the
loader has its defaults, Adam is the plain one, and the loss is read after each batch.
"""

import argparse
import itertools
import json
import os
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

IMAGE_SIZE = 128
VALIDATION_SHARE = 0.2
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
# deploy/examples/activation-lr-batch.yaml.
GRID = list(itertools.product(["relu", "sigmoid"], [0.01, 0.005, 0.0001, 0.00005], [32, 64]))
# The loop alone is measured after this many batches: libtorch compiles its kernels in the first.
WARM_UP_BATCHES = 3


class SimpleCNN(nn.Module):
    def __init__(self, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(32 * (IMAGE_SIZE // 4) ** 2, 128)
        self.fc2 = nn.Linear(128, 2)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.activation(self.conv1(x)))
        x = self.pool(self.activation(self.conv2(x)))
        x = self.activation(self.fc1(x.flatten(1)))
        return self.fc2(x)


def pictures(folder: str) -> datasets.ImageFolder:
    return datasets.ImageFolder(folder, transforms.Compose([
        transforms.Resize((IMAGE_SIZE, IMAGE_SIZE)),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]))


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches) -> tuple[float, float]:
    """Mean loss over the images, and the share of them that was classified rightly before their own steps."""
    criterion = nn.CrossEntropyLoss()
    model.train()
    total = 0.0
    correct = count = 0
    for images, labels in batches:
        optimizer.zero_grad()
        logits = model(images)
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * images.size(0)
        correct += (logits.argmax(1) == labels).sum().item()
        count += labels.size(0)
    return total / count, correct / count


def evaluate(model: nn.Module, batches) -> tuple[float, float]:
    """Mean loss over the validation images, and the share of them that is classified rightly."""
    criterion = nn.CrossEntropyLoss()
    model.eval()
    total = 0.0
    correct = count = 0
    with torch.no_grad():
        for images, labels in batches:
            logits = model(images)
            total += criterion(logits, labels).item() * labels.size(0)
            correct += (logits.argmax(1) == labels).sum().item()
            count += labels.size(0)
    return total / count, correct / count


def grid(options: argparse.Namespace) -> dict:
    """The whole grid, or every n-th job of it, from reading the folder to the last accuracy."""
    data = pictures(options.data)
    train_count = int((1 - VALIDATION_SHARE) * len(data))
    train, validation = random_split(data, [train_count, len(data) - train_count])
    found = {"train_losses": [], "train_accuracies": [], "val_losses": [], "accuracies": []}
    jobs = GRID[::options.every]
    started = time.perf_counter()
    for activation, learning_rate, batch_size in jobs:
        model = SimpleCNN(activation)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        train_loader = DataLoader(train, batch_size=batch_size, shuffle=True, num_workers=options.workers)
        validation_loader = DataLoader(validation, batch_size=batch_size, num_workers=options.workers)
        for _ in range(options.epochs):
            trained = train_epoch(model, optimizer, train_loader)
            for values, value in zip(found.values(), trained + evaluate(model, validation_loader)):
                values.append(value)
    return {"seconds": time.perf_counter() - started, "jobs": len(jobs)} | found


def loop(options: argparse.Namespace) -> dict:
    """The training loop alone, on decoded and normalised images in memory, without a loader around them."""
    images = torch.rand(options.images, 3, IMAGE_SIZE, IMAGE_SIZE) * 2 - 1
    labels = torch.arange(options.images) % 2
    model = SimpleCNN(options.activation)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def batches(limit: int | None = None):
        order = torch.randperm(options.images)
        for part in itertools.islice(order.split(options.batch_size), limit):
            yield images[part], labels[part]

    train_epoch(model, optimizer, batches(WARM_UP_BATCHES))
    rates = []
    for _ in range(options.epochs):
        started = time.perf_counter()
        train_epoch(model, optimizer, batches())
        rates.append(options.images / (time.perf_counter() - started))
    return {"images_per_second": sorted(rates)[len(rates) // 2], "threads": torch.get_num_threads()}


def pack(options: argparse.Namespace) -> dict:
    """Every picture once through torchvision's loader and resize, kept as bytes."""
    data = datasets.ImageFolder(options.data, transforms.Compose([
        transforms.Resize((IMAGE_SIZE, IMAGE_SIZE)), transforms.PILToTensor(),
    ]))
    started = time.perf_counter()
    packed = torch.empty(len(data), 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    done = 0
    if options.workers == 0:
        for image, _ in data:
            packed[done] = image
            done += 1
    else:
        for images, _ in DataLoader(data, batch_size=64, num_workers=options.workers):
            packed[done:done + len(images)] = images
            done += len(images)
    return {"seconds": time.perf_counter() - started, "pictures": done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["grid", "loop", "pack"])
    parser.add_argument("--data", help="a folder of class folders")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="train only every n-th job of the grid")
    parser.add_argument("--workers", type=int, default=0, help="the loader's processes")
    parser.add_argument("--threads", type=int, help="torch's threads; its own default otherwise")
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default="relu")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    result = {"grid": grid, "loop": loop, "pack": pack}[options.mode](options)
    usage = os.times()
    result["cpu_seconds"] = usage.user + usage.system + usage.children_user + usage.children_system
    print(json.dumps(result))


if __name__ == "__main__":
    main()
