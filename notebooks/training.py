# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # CIFAR-10: a convolutional network, step by step, and the same with Lince
#
# *Este notebook em português: `training.pt-BR.py`, ou `training.pt-BR.ipynb` no Jupyter.*
#
# CIFAR-10 has 60,000 colour pictures of 32 × 32 pixels in ten classes, such as cats, ships and trucks. In the first
# part you build and train a convolutional network with Keras, with every line in view. In the second part Lince does
# the same in six calls. Both results are then compared, the network is converted to 8-bit integers, and a service
# answers a picture over HTTP.
#
# This notebook is stored as text. `make notebook` opens it in Jupyter; `make notebook QUICK=1` opens it in quick mode.

# %% [markdown]
# ## Imports
#
# TensorFlow and Keras build and train the network, NumPy holds the pictures, Matplotlib draws.
# `backend.prepare()` gives TensorFlow one thread for each core. It has to be called before TensorFlow is imported.

# %%
# %matplotlib inline
from lince.training import backend

backend.prepare()

import http.client
import io
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from IPython.display import Markdown
from PIL import Image
from rich.console import Console
from tensorflow import keras

from lince import data, pipeline
from lince.inference.classifier import Classifier
from lince.progress import silent
from lince.quantization import certificate
from lince.reporting import plots
from lince.reporting.run_report import write_run_report
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.types import ImageSpec

tf.get_logger().setLevel("ERROR")  # no line for each network that is written
print("TensorFlow", tf.__version__, "· Keras", keras.__version__, "· NumPy", np.__version__)

# %% [markdown]
# ## Quick mode
#
# With CIFAR-10 the whole notebook takes hours on two processor cores: a download of 170 MB, and two trainings of up to
# 100 epochs. Quick mode takes about two minutes. It replaces CIFAR-10 by 1,000 small pictures that the next cell
# draws, in four classes. The network is a quarter as wide, and is trained for 15 epochs.
#
# Quick mode shows that every step works. **Its numbers mean nothing**: they say nothing about CIFAR-10, and with so few
# test pictures they differ from run to run.

# %%
QUICK = os.environ.get("LINCE_NOTEBOOK_QUICK") == "1"  # or write True here
LANGUAGE = "en"  # of the report and of the verdict: "en" or "pt"
SEED = 0
keras.utils.set_random_seed(SEED)


def draw(shape: str, rng: np.random.Generator) -> np.ndarray:
    """One picture u8[32,32,3]: a shape at a random place, in random colours, with noise."""
    y, x = np.mgrid[:32, :32] - rng.integers(11, 21, (2, 1, 1))
    near, far, size = np.minimum(abs(x), abs(y)), np.maximum(abs(x), abs(y)), rng.integers(6, 10)
    masks = {"cross": (near < 2) & (far < size), "disc": x**2 + y**2 < size**2, "square": far < size}
    mask = masks.get(shape, x // 4 % 2 == 0)  # stripes
    picture = np.where(mask[..., None], rng.integers(100, 256, 3), rng.integers(0, 160, 3))
    return np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)


def draw_dataset(folder: Path) -> str:
    """Writes train/CLASS/NUMBER.png and test/CLASS/NUMBER.png: a dataset as Lince reads it."""
    rng = np.random.default_rng(SEED)
    for split, count in (("train", 200), ("test", 50)):
        for shape in ("cross", "disc", "square", "stripes"):
            (folder / split / shape).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(draw(shape, rng)).save(folder / split / shape / f"{number:03}.png")
    return str(folder)


SOURCE = draw_dataset(Path("runs/drawn")) if QUICK else "cifar10"
print("Quick mode: drawn pictures, a small network. The numbers mean nothing." if QUICK else "CIFAR-10.")

# %% [markdown]
# # Part 1: with Keras
#
# ## The pictures
#
# `data.load` downloads CIFAR-10 the first time, and checks it against its checksum. A picture is an array of
# 32 × 32 pixels with three colours each, from 0 to 255. The network learns faster from small numbers, so the pictures
# are *normalised* to 0 to 1.

# %%
dataset = data.load(SOURCE, ImageSpec(), seed=SEED)
classes = dataset.train.classes
x_train = dataset.train.images[:].astype("float32") / 255
x_test = dataset.test.images[:].astype("float32") / 255
print("train", x_train.shape, "test", x_test.shape, "values", x_train.min(), "to", x_train.max())
print(len(classes), "classes:", ", ".join(classes))

# %% [markdown]
# A label is the number of a class. The network has one output for each class, so the labels become *one-hot* vectors:
# 1 at the place of the class, 0 elsewhere.
#
# Keras will set the last 20 % of the training pictures aside for validation. They are shuffled first, because a folder
# of pictures is sorted by class.

# %%
order = np.random.default_rng(SEED).permutation(len(x_train))
x_train, labels = x_train[order], dataset.train.labels[order]
y_train = keras.utils.to_categorical(labels, len(classes))
y_test = keras.utils.to_categorical(dataset.test.labels, len(classes))
print(classes[labels[0]], "is class", labels[0], "and one-hot", y_train[0])

# %% [markdown]
# Look at the pictures before you train. Wrong labels and unsuitable pictures are seen in a minute, and no network
# repairs them.


# %%
def show(pictures: np.ndarray, titles: list[str], columns: int = 8) -> None:
    """Draws pictures f32[N,H,W,3] from 0 to 1 in a grid."""
    rows = -(-len(pictures) // columns)
    size = (1.3 * columns, 1.5 * rows)
    _, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture, title in zip(grid.flat, pictures, titles, strict=False):
        axes.imshow(np.clip(picture, 0, 1))
        axes.set_title(title, fontsize=9)
    plt.show()


show(x_train[:16], [classes[label] for label in labels[:16]])

# %% [markdown]
# ## Augmentation
#
# A cat that leans a little, is a little nearer, or looks the other way is still a cat. Each training picture is
# rotated, zoomed and flipped at random, anew in every *epoch*, one pass over all of them. So the network hardly sees
# the same pixels twice: it learns shapes instead of memorising pictures. The three layers are part of the network. They
# work in training only; validation and test pictures stay as they are. Below, the first column is the original.

# %%
augmentation = keras.Sequential(
    [
        keras.layers.RandomRotation(10 / 360),  # up to 10 degrees, as a share of a whole turn
        keras.layers.RandomZoom(0.1),
        keras.layers.RandomFlip("horizontal"),
    ],
    name="augmentation",
)
drawn = [x_train[:3], *(np.asarray(augmentation(x_train[:3], training=True)) for _ in range(7))]
show(np.stack(drawn, axis=1).reshape(-1, 32, 32, 3), (["original"] + ["augmented"] * 7) * 3)

# %% [markdown]
# ## The network
#
# - A **convolution** slides small filters over the picture, and each filter learns to find a pattern. **ReLU** replaces
#   negative results by 0. Without it, several layers could compute no more than one.
# - **Max pooling** halves height and width, and keeps the strongest result of each 2 × 2 field.
# - **Dropout** sets some values to 0 at random while the network is trained, so that it relies on none of them alone.
# - **Dense** layers combine everything. The last one, with **softmax**, gives a probability for each class.

# %%
width = 16 if QUICK else 64
model = keras.Sequential(
    [
        keras.Input((32, 32, 3)),
        augmentation,
        keras.layers.Conv2D(width, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(width, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.15),
        keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.25),
        keras.layers.Conv2D(4 * width, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(4 * width, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.35),
        keras.layers.Flatten(),
        keras.layers.Dense(4 * width, activation="relu"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(len(classes), activation="softmax"),
    ]
)
model.summary()

# %% [markdown]
# ## Training
#
# The optimizer **adam** changes the weights after each batch of pictures so that the **categorical cross-entropy**
# falls: the difference between the probabilities and the one-hot labels. **Accuracy** is the share of right answers.
#
# After each epoch the network is measured on the 20 % that were set aside for
# validation. **Early stopping** ends the training when the validation loss has not fallen for 10 epochs, and puts back
# the weights of the best epoch.

# %%
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
early_stopping = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)

began = time.perf_counter()
history = model.fit(
    x_train,
    y_train,
    batch_size=32 if QUICK else 128,
    epochs=15 if QUICK else 100,
    validation_split=0.2,
    callbacks=[early_stopping],
    verbose=2,
)
keras_seconds = time.perf_counter() - began

# %% [markdown]
# ## The curves
#
# *Overfitting* begins where the training curve still improves and the validation curve gets worse: the network
# memorises pictures. The dotted line marks the epoch whose weights are kept. Training accuracy may lie below
# validation accuracy, because dropout and augmentation make the training pictures harder on purpose.

# %%
best = int(np.argmin(history.history["val_loss"])) + 1
epochs = range(1, len(history.history["loss"]) + 1)
_, panels = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
for axes, name in zip(panels, ("accuracy", "loss"), strict=True):
    axes.plot(epochs, history.history[name], label="training")
    axes.plot(epochs, history.history[f"val_{name}"], label="validation")
    axes.axvline(best, color="grey", linestyle=":", label=f"best epoch ({best})")
    axes.set(xlabel="epoch", ylabel=name)
    axes.grid(alpha=0.3)
    axes.legend()
plt.show()

# %% [markdown]
# ## The test accuracy
#
# The test pictures had no part in any choice. So their accuracy says what to expect of new pictures of the same kind.

# %%
test_loss, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test accuracy {test_accuracy:.1%}, test loss {test_loss:.3f}, {len(x_test):,} test pictures")

# %% [markdown]
# # Part 2: the same with Lince, in six calls
#
# The recipe `classic` is the network above, with the same augmentation and the same early stopping.
# `lince train cifar10 --recipe classic` does all of this from the command line.
#
# 1. `recipes.load` reads every hyper-parameter from one file. Quick mode overrides some of them.
# 2. `pipeline.start` reads the pictures, and sets 20 % of each class aside for validation.
# 3. `pipeline.train_model` trains. It prints some of the epochs, and can be resumed when it was interrupted.
# 4. `pipeline.publish` converts the network to 8-bit integers and measures both on the test pictures.
# 5. `write_run_report` writes a page with curves, mistakes and everything else that was measured.
# 6. `Classifier.load` opens the model file. It needs neither Keras nor TensorFlow.

# %%
smaller = [
    "model.blocks=[[16, 16], [32, 32], [64, 64]]",
    "model.dense=[64]",
    "train.epochs=15",
    "train.batch_size=32",
    "train.learning_rate=2e-3",
    "quantize.max_drop_points=100",  # with 200 test pictures one different answer is half a point
]
folder = RunFolder(Path("runs") / f"notebook-{datetime.now():%Y%m%d-%H%M%S}")

recipe = recipes.load("classic", smaller if QUICK else [])
run = pipeline.start(SOURCE, recipe, folder, seed=SEED, deterministic=False, strict=False, progress=silent)
with pipeline.watch(Console(force_terminal=False, force_jupyter=False), run, tensorboard=False) as display:
    began = time.perf_counter()
    pipeline.train_model(run, display)
    lince_seconds = time.perf_counter() - began
report = pipeline.publish(run, say=print)
write_run_report(folder, language=LANGUAGE)
classifier = Classifier.load(folder.model)

# %% [markdown]
# ## Side by side
#
# Both networks have the same layers. Lince trains in bfloat16 where the processor has instructions for it. That is
# faster than the float32 of the Keras part. The first size is that of the weights in float32. The second is that of the
# whole model file, with its labels and its certificate.


# %%
def milliseconds(answer, picture: np.ndarray, runs: int = 50) -> float:
    """The median time of one answer for one picture."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        answer(picture)
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times))


def table(*rows: tuple[str, ...]) -> Markdown:
    """A table; the first row has the names of the columns."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


int8 = report.int8.accuracy
keras_ms = milliseconds(model.predict_on_batch, x_test[:1])
lince_ms = milliseconds(classifier.predict, dataset.test.images[:1])
table(
    ("(means nothing: quick mode)" if QUICK else "", "Keras, float32", "Lince, int8"),
    ("test accuracy", f"{test_accuracy:.1%}", f"{int8.value:.1%}"),
    ("training", f"{keras_seconds:.0f} s", f"{lince_seconds:.0f} s"),
    ("size", f"{4 * model.count_params() / 1e3:,.0f} kB", f"{folder.model.stat().st_size / 1e3:,.0f} kB"),
    ("one picture", f"{keras_ms:.2f} ms", f"{lince_ms:.2f} ms"),
)

# %% [markdown]
# The confusion matrix shows which classes are taken for each other: its rows are the true classes, its columns the
# answers of the int8 network.

# %%
plots.confusion_figure(report.int8, classes)

# %% [markdown]
# ## Quantization, with its certificate
#
# *Quantization* converts weights and intermediate results from 32-bit floating point to 8-bit integers. The network
# then has a quarter of the size, and small processors compute it faster. Some accuracy may be lost. So the float
# network and the int8 network answer the same test pictures. The *certificate* states the difference with its
# interval. A network that is shown to lose more than the recipe allows is not published.

# %%
facts = certificate.table(report.certificate)
table(facts.header, *facts.rows)

# %% [markdown]
# The verdict on the model, in plain words:

# %%
Markdown(report.verdict.text_in(LANGUAGE))

# %% [markdown]
# ## The service
#
# `lince serve` answers over HTTP. The cell below starts it on a free port of this computer, waits until it is ready,
# sends the first test picture, prints the JSON answer, and stops it.
#
# - `label` is the most probable class. Its `probability` is calibrated: of the answers given with 90 %, about 90 % are
#   right.
# - `prediction_set` holds every class that cannot be ruled out. It contains the right class for 95 % of pictures.
# - `abstain` is true when the honest answer is "I don't know".

# %%
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
picture = io.BytesIO()
Image.fromarray(dataset.test.images[0]).save(picture, "PNG")

command = [sys.executable, "-m", "lince", "serve", str(folder.path), "--port", str(port)]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(300):  # it is ready after about a second
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    connection.request("POST", "/predict?top=3", picture.getvalue(), {"content-type": "image/png"})
    answer = json.load(connection.getresponse())
finally:
    server.terminate()
    server.wait()

show(x_test[:1], [f"true class: {classes[dataset.test.labels[0]]}"], columns=4)
print(json.dumps(answer, indent=2, ensure_ascii=False))

# %% [markdown]
# ## What comes next
#
# The run folder holds the report, which opens in a browser, and the model file. The cell shows where, and three
# commands for a terminal.

# %%
lince = f"{shlex.quote(sys.executable)} -m lince"
run = shlex.quote(str(folder.path.resolve()))
print("Report:", folder.page.resolve())
print()
print(f"{lince} serve {run}                # a page to try it: http://127.0.0.1:8000")
print(f"{lince} predict {run} pictures/    # a folder, a .zip or single files")
print(f"{lince} train my-images/           # your own classes: a folder of pictures for each")
