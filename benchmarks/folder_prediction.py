"""What `lince predict` gains from a second core, and what it costs beside Pillow and LiteRT alone.

    python benchmarks/folder_prediction.py [--model cifar10-tiny] [--images 10000] [--rounds 5]
    python benchmarks/folder_prediction.py --memory --images 1000000

It draws a picture, and writes it so often. The ways take turns, each in a process of its own, start included. With
--memory it measures instead how much memory so many images take, and a hundredth of them, in a folder and in a .zip.
The last line of stdout is one JSON object; the exit code is 1 when a bound is missed. Needs an idle machine.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from ordinary_images import photo, saved

from lince.model_file import artifact
from lince.system import machine

_GAIN = {"cifar10": 1.8, "cifar10-tiny": 1.7}
_BARE_SHARE = 0.95
_GROWTH = 1.1  # of the memory, by a hundred times as many images

# The shortest program that opens each file and asks the network. It prints what it answers, as predict does.
_BARE = """
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

network = Interpreter(sys.argv[1], num_threads=1)
network.allocate_tensors()
[given], wanted = network.get_input_details(), network.get_output_details()[0]
_, height, width, _ = given["shape"]
for path in sorted(Path(sys.argv[2]).rglob("*.jpg")):
    image = Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    network.set_tensor(given["index"], np.asarray(image)[None])
    network.invoke()
    print(path, network.get_tensor(wanted["index"])[0].argmax())
"""


def draw(folder: Path, count: int) -> None:
    """JPEGs of 64 × 64 pixels, in folders of 1,000."""
    picture = saved(photo(64, 64), "JPEG")
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:07}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture)


def spent(command: list[str | Path]) -> tuple[float, float]:
    """Seconds of wall clock and of CPU time that a command takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(model: str, count: int, rounds: int) -> dict:
    """Ratios within a round, and the medians of the seconds."""
    file = artifact.locate(model)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), count)
        predict = [sys.executable, "-m", "lince", "predict", file, folder, "--csv", "--workers"]
        ways: dict[str, list[str | Path]] = {
            "bare": [sys.executable, "-c", _BARE, file, folder],
            "one": [*predict, "1"],
            "all": [*predict, str(machine.cores())],
        }
        taken = [{name: spent(command) for name, command in ways.items()} for _ in range(rounds)]
    gains = [one["one"][0] / one["all"][0] for one in taken]
    shares = [one["bare"][1] / one["one"][1] for one in taken]
    return {
        "images_per_s": {name: round(count / statistics.median(one[name][0] for one in taken)) for name in ways},
        "cpu_us": {name: round(1e6 * statistics.median(one[name][1] for one in taken) / count) for name in ways},
        "gain": round(statistics.median(gains), 3),
        "gain_rounds": [round(gain, 3) for gain in gains],
        "of_bare_cpu": round(statistics.median(shares), 3),
        "kept": statistics.median(gains) >= _GAIN.get(model, 0) and statistics.median(shares) >= _BARE_SHARE,
    }


def _draw_and_pack(folder: Path, images: int) -> None:
    draw(folder, images)
    with zipfile.ZipFile(folder / "all.zip", "w") as members:
        for path in folder.glob("*/*.jpg"):
            members.write(path, path.relative_to(folder))


def measure_memory(model: str, count: int) -> dict:
    """The most memory that a process of `lince predict` uses, in MB, for so many images and for a hundredth of them."""
    file = artifact.locate(model)
    found: dict = {}
    for images in (count // 100, count):
        with tempfile.TemporaryDirectory() as folder:
            # In another process: the memory of this one would count for those that it starts.
            made = multiprocessing.get_context("spawn").Process(target=_draw_and_pack, args=(Path(folder), images))
            made.start()
            made.join()
            archive = Path(folder) / "all.zip"
            for name, source in {"zip": archive, "folder": folder}.items():
                archive.unlink() if name == "folder" else None
                command = [sys.executable, "-m", "lince", "predict", file, source, "--csv"]
                process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                _, status, used = os.wait4(process.pid, 0)
                assert status == 0
                found[f"{name} of {images:,}"] = round(used.ru_maxrss / 1024, 1)
    kept = all(
        found[f"{name} of {count:,}"] <= _GROWTH * found[f"{name} of {count // 100:,}"] for name in ("zip", "folder")
    )
    return {"megabytes": found, "kept": kept}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cifar10-tiny", help="a model file, or a model that ships")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="measure memory, not time")
    options = parser.parse_args()
    if options.memory:
        found = measure_memory(options.model, options.images)
    else:
        found = measure(options.model, options.images, options.rounds)
    about = {"model": options.model, "images": options.images, "rounds": options.rounds, "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(about | found) + "\n")
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
