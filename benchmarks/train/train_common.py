"""What the Python peers share: arguments, MNIST, the clock, and the one JSON line that each prints.

Every peer trains `mnist-cnn` (421,642 parameters, Adam 1e-3, cross-entropy) on shuffled MNIST held in memory as float32 in
[0, 1]. A timed epoch covers gathering each batch and the whole step; the last short batch is dropped.
"""

import argparse
import gzip
import json
import os
import resource
import time
from pathlib import Path

PARAMETERS = 421_642
TEST_IMAGES = 2_000


def arguments(description: str, modes: list) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--mode", choices=modes, default=modes[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--images", type=int, default=60_000, help="images of a timed epoch")
    parser.add_argument("--data", type=Path, required=True, help="folder of the four MNIST files")
    return parser.parse_args()


def mnist(folder: Path):
    """Training images (float32, batch 28 28) and labels, then the first test images and labels."""
    import numpy as np

    def idx(name, offset):
        with gzip.open(folder / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    def images(name):
        return idx(name, 16).reshape(-1, 28, 28).astype(np.float32) / np.float32(255)

    train = images("train-images-idx3-ubyte.gz"), idx("train-labels-idx1-ubyte.gz", 8)
    test = images("t10k-images-idx3-ubyte.gz"), idx("t10k-labels-idx1-ubyte.gz", 8)
    return *train, test[0][:TEST_IMAGES], test[1][:TEST_IMAGES]


class Clock:
    """Seconds since the driver started this process, and images per second of each epoch."""

    def __init__(self):
        spawned = os.environ.get("BENCH_SPAWNED_NS")
        self.spawned_ns = int(spawned) if spawned else time.time_ns()
        self.first_step_s = None
        self.images_per_s = []

    def first_step_done(self):
        self.first_step_s = (time.time_ns() - self.spawned_ns) / 1e9

    def epoch(self, images: int, run):
        """Time `run()`, which must return only once all its work is done."""
        began = time.perf_counter()
        run()
        self.images_per_s.append(images / (time.perf_counter() - began))

    def emit(self, framework: str, versions: dict, args: argparse.Namespace, accuracy: float):
        """Print the line."""
        print(
            json.dumps(
                {
                    "framework": framework,
                    "mode": args.mode,
                    "versions": versions,
                    "batch": args.batch,
                    "threads": args.threads,
                    "images": args.images,
                    "images_per_s": self.images_per_s,
                    "start_to_first_step_s": self.first_step_s,
                    "peak_rss_bytes": self.peak_rss_bytes,
                    f"test_accuracy_{TEST_IMAGES}": accuracy,
                }
            )
        )

    def training_done(self):
        """Take the peak memory now, before evaluation adds to it."""
        self.peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
