"""Proof that kept weights are PyTorch's: the original SimpleCNN takes them with `load_state_dict(load_file(...))` and has
the accuracy of the job on the job's own validation images.

`make bench-pytorch` runs this after a `sweep run`. Pictures are decoded, resized and normalised by Pillow and torchvision,
which differ from `sweep` by 1 of 255 in some pixels, so that a picture on the fence may fall to the other side.
"""

import argparse
import json
import pathlib
import struct
import sys
import tempfile

import torch
from torch.utils.data import DataLoader, random_split

from pytorch_reference import SimpleCNN, pictures

# Pictures that may be classified otherwise, for the pixels that differ.
DIFFERENT_MAX = 2


def load_file(path: str) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file as load
        return load(path)
    except ImportError:
        # The format is eight bytes of length, JSON, and the tensors: enough where the package is not installed.
        data = pathlib.Path(path).read_bytes()
        length, = struct.unpack("<Q", data[:8])
        tensors = {}
        for name, entry in json.loads(data[8:8 + length]).items():
            if name != "__metadata__":
                assert entry["dtype"] == "F32", entry
                begin, end = (8 + length + offset for offset in entry["data_offsets"])
                values = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32)
                tensors[name] = values.reshape(entry["shape"])
        return tensors


def image_folder(path: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
    """A folder as ImageFolder wants it: `path` itself, or links to the pictures of a flat one by class."""
    if any(entry.is_dir() for entry in path.iterdir()):
        return path
    for picture in path.iterdir():
        folder = into / picture.name.split(".")[0]
        folder.mkdir(exist_ok=True)
        (folder / picture.name).symlink_to(picture.resolve())
    return into


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="folder with model.safetensors and model.json")
    parser.add_argument("--dataset", type=pathlib.Path, required=True, help="the sweep's data set")
    options = parser.parse_args()
    facts = json.loads((options.model / "model.json").read_text())
    torch.set_num_threads(1)
    model = SimpleCNN(facts["parameters"]["activation"])
    print(model.load_state_dict(load_file(str(options.model / "model.safetensors"))))
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        data = pictures(str(image_folder(options.dataset, pathlib.Path(folder))))
        assert data.classes == facts["classes"], (data.classes, facts["classes"])
        split = facts["dataset"]
        train = int((1 - split["val_fraction"]) * len(data) + 1e-9)
        seeded = torch.Generator().manual_seed(split["split_seed"])
        _, validation = random_split(data, [train, len(data) - train], generator=seeded)
        correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(validation, batch_size=64):
                correct += int((model(images).argmax(1) == labels).sum())
    expected = facts["metrics"]["val_accuracy"]
    result = {"images": len(validation), "pytorch": correct / len(validation), "sweep": expected}
    print(json.dumps(result))
    if abs(correct - expected * len(validation)) > DIFFERENT_MAX + 1e-6:
        sys.exit("PyTorch comes to another accuracy with these weights")


if __name__ == "__main__":
    main()
