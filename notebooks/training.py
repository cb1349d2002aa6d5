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
# # From labelled images to a classifier that is served
#
# This notebook shows the whole path, one section for each step: images, augmentation, network, training, evaluation,
# quantization, calibrated answers, the model file. Every step is a call into the package `lince`. The notebook only
# explains and shows; `lince train DATA` runs the same functions from the command line.
#
# It is stored as text. Open it as a notebook with `jupytext --to ipynb notebooks/training.py`, or in Jupyter with the
# jupytext extension. The environment is made by `make train`, or in a clone by `pip install '.[train]'`. Add
# `pip install jupyter jupytext`.

# %%
# %matplotlib inline
import os
from datetime import datetime
from pathlib import Path

import numpy as np
from IPython.display import Markdown
from matplotlib.figure import Figure
from rich.console import Console

from lince import calibration
from lince.evaluation import accuracy
from lince.inference.answers import answer
from lince.inference.classifier import Classifier
from lince.progress import silent
from lince.quantization import certificate
from lince.reporting import plots, tables
from lince.reporting.run_report import write_run_report
from lince.runs.run_folder import RunFolder
from lince.training import backend, recipes

# Keras reads its backend from the environment once, while it is imported: it is set up first, then imported.
backend.prepare()
from lince import pipeline  # noqa: E402 (after prepare)
from lince.networks import models  # noqa: E402 (after prepare)
from lince.training.augmentation import affine  # noqa: E402 (after prepare)

# %% [markdown]
# ## What to train on, and how
#
# `SOURCE` is `cifar10`, a folder with a folder of images for each class, or a `.zip` of one. `RECIPE` names the
# experiment and holds every hyper-parameter. `OVERRIDES` changes single ones, as `--set` does on the command line.
# With `classic` on CIFAR-10 two processor cores need one or two minutes an epoch. Training stops by itself.

# %%
SOURCE = os.environ.get("LINCE_NOTEBOOK_SOURCE", "cifar10")
RECIPE = "classic"
OVERRIDES: list[str] = []  # for example ["train.epochs=5", "augment.rotation_degrees=0"]
SEED = 0

if os.environ.get("LINCE_NOTEBOOK_QUICK"):  # a minute instead of hours; shows that every step runs, but learns little
    OVERRIDES = [
        "model.blocks=[[8], [16]]",
        "model.block_dropout=[0.1, 0.1]",
        "model.dense=[16]",
        "model.dense_dropout=0.1",
        "train.epochs=2",
        "train.batch_size=16",
        "train.learning_rate=3e-3",
        "quantize.calibration_images=32",
        "quantize.max_drop_points=100",  # with few test images one different answer is several points
    ]


# %% [markdown]
# ## The images
#
# `start` reads the images and opens the run folder. It sets 20 % of the training images aside for validation, the same
# share of every class. CIFAR-10 is downloaded the first time, 170 MB, and checked against its checksum. From here on
# there are three splits. The network learns from *train*, every choice is made on *validation*, and *test* is kept for
# the final measurement.

# %%
chosen_recipe = recipes.load(RECIPE, OVERRIDES)
folder = RunFolder(Path("runs") / f"notebook-{datetime.now():%Y%m%d-%H%M%S}")
run = pipeline.start(SOURCE, chosen_recipe, folder, seed=SEED, deterministic=False, strict=False, progress=silent)
classes = run.record.classes
print(f"{len(run.train):,} images to train on, {len(run.validation):,} to validate, {len(run.test):,} to test")
print(f"left out because they cannot be read: {len(run.record.rejected)}")
dict(zip(classes, np.bincount(run.train.labels, minlength=len(classes)).tolist(), strict=True))


# %% [markdown]
# Look at the images before training. Wrong labels, unsuitable crops and near copies are seen in a minute, and no
# network repairs them. `lince data check DATA` helps to find them. An image is an array of pixels with three colours
# each, 0 to 255.


# %%
def show(images: np.ndarray, titles: list[str], *, columns: int = 8) -> Figure:
    """Draws small pictures in a grid; pixels u8 or f32, 0..255."""
    rows = max(1, -(-len(images) // columns))  # one empty row when there are none: a network without mistakes
    figure = Figure(figsize=(1.5 * columns, 1.8 * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, image, title in zip(figure.axes, images, titles, strict=False):
        axes.imshow(np.clip(np.rint(image), 0, 255).astype(np.uint8))
        axes.set_title(title, fontsize=8, parse_math=False)
    return figure


chosen = np.random.default_rng(SEED).permutation(len(run.train))[:16]
show(run.train.images[chosen], [classes[label] for label in run.train.labels[chosen]])

# %% [markdown]
# ## Augmentation
#
# A cat that leans, or looks the other way, is still a cat. Each training image is rotated, zoomed and flipped at
# random, anew in every epoch. So the network hardly sees the same pixels twice. It learns shapes and does not memorize
# pictures. Validation and test images are never changed. Below, the first column is the original.

# %%
originals = run.train.images[chosen[:3]]
drawn = [
    affine.augment(
        originals,
        run.recipe.augment,
        np.random.default_rng(draw),
        mirror=affine.mirrored(chosen[:3], run.recipe.augment, epoch=draw + 1, seed=SEED),
    )
    for draw in range(7)
]
rows = np.stack([originals, *map(np.asarray, drawn)], axis=1)
show(rows.reshape(-1, *originals.shape[1:]), (["original"] + ["drawn"] * 7) * 3)

# %% [markdown]
# ## The network
#
# The recipe `classic` stacks blocks of 3 × 3 convolutions with ReLU. Each block ends in max pooling, which halves the
# picture, and in dropout. Dropout hides some values at random, so that the network relies on none of them too much.
# Dense layers turn the result into one number for each class, the *logits*. Softmax turns those into probabilities.
# Normalisation, (pixel − 128) / 128, is a layer of the network itself, so the model takes plain pixels.

# %%
models.build(
    run.recipe.model, spec=run.recipe.spec, num_classes=len(classes), precision=run.record.precision, seed=SEED
).summary()

# %% [markdown]
# ## Training
#
# The optimizer (`adam`) lowers the categorical cross-entropy between the probabilities and the one-hot labels, batch
# by batch. After each epoch, one pass over the training images, the loss is measured on the validation images. When it
# has not fallen for 10 epochs, training stops, and the weights of the best epoch are kept.
#
# You may interrupt this cell: the best weights so far are written, and the cells below work with them.
# To continue where it stopped, run it again, or run `lince train --resume RUN` in a terminal.

# %%
console = Console(force_terminal=False, force_jupyter=False)  # one plain line for each epoch
with pipeline.watch(console, run, tensorboard=False) as display_epochs:
    pipeline.train_model(run, display_epochs, resume=True)  # starts at the beginning where nothing is trained yet

# %% [markdown]
# Accuracy is the share of right answers. The loss also measures how certain they were. *Overfitting* begins where the
# training curve still improves and the validation curve gets worse: the network memorizes pictures. The mark is the
# epoch whose weights are kept. With dropout and augmentation, training accuracy may lie below validation accuracy,
# because the training images are made harder on purpose.

# %%
history = run.folder.read_history()
plots.accuracy_curves(history, patience=run.recipe.train.patience)

# %%
plots.loss_curves(history, patience=run.recipe.train.patience)

# %% [markdown]
# ## Evaluation
#
# Now the test images are used, which had no part in any choice. Accuracy is given with its 95 % interval. Other images
# from the same source would give a slightly different number. A difference within the interval is not significant.
# Negative log-likelihood and calibration error judge the probabilities, not only the answers.

# %%
float_predict = pipeline.float_predict(pipeline.trained_model(run.folder))
float_report, _ = accuracy.evaluate(float_predict, run.test)
tables.report_table(float_report, title="Float network, test images")

# %% [markdown]
# The *precision* of a class is the share of the images called by its name that belong to it. Its *recall* is the share
# of its images that are called by its name. The confusion matrix shows which classes are confused: its rows are the
# true classes, its columns the answers.

# %%
tables.class_table(float_report)

# %%
plots.confusion_figure(float_report, classes)

# %% [markdown]
# The worst mistakes are the wrong answers that were given with the highest probability. Some are the network's fault;
# others show a wrong label, or a picture on which people disagree.

# %%
place = {name: index for index, name in enumerate(run.test.names)}
mistakes = float_report.mistakes[:16]
show(
    run.test.images[[place[mistake.name] for mistake in mistakes]],
    [f"{mistake.label}, called {mistake.predicted}" for mistake in mistakes],
)

# %% [markdown]
# ## Quantization, calibration, certificate
#
# `publish` converts the weights and activations of the network from 32-bit floating point to 8-bit integers. The result
# has a quarter of the size and is faster: 85 µs an image against 270 µs. This was measured for one small network with
# the same runtime on one thread. The ranges of the activations are read from training images only. The loss of accuracy
# is measured: float and int8 answer the same test images. Their difference, with its interval, is in the *certificate*.
# A network that is shown to lose more than the recipe's bound is not published.

# %%
report = pipeline.publish(run, say=print)
tables.rich_table(certificate.table(report.certificate))

# %% [markdown]
# The verdict on the model, in plain words.

# %%
print(report.verdict.text)

# %% [markdown]
# ## Calibrated answers
#
# The probabilities of a trained network are usually too high. One number, the *temperature*, divides the logits, so
# that "90 %" is right in about 90 of 100 cases. It never changes which class comes first. In the diagram the points
# then lie near the line. The temperature was fitted on the validation images, with the int8 network that is served.

# %%
probabilities, labels = run.folder.read_answers()
plots.reliability_diagram(probabilities, labels)

# %% [markdown]
# Two thresholds are fitted as well. A *prediction set* holds every class that cannot be ruled out. The sets hold the
# true class for 95 % of images. A set has one class when the picture is clear, and several when it is not. Where even
# the top probability is low, the answer is "I don't know".

# %%
print(f"temperature {report.calibration.temperature:.3f}, fitted on {report.calibration.n:,} validation images")
tables.sets_table(report.sets, n=len(run.test))

# %% [markdown]
# ## The model file
#
# Everything is in one file: the network, its classes, the calibration, the certificate and a model card. It also holds
# golden images with the answers they must give. `Classifier.load` checks all of it and needs neither Keras nor
# TensorFlow.

# %%
classifier = Classifier.load(run.folder.model)
Markdown(classifier.card)

# %%
first = run.test.images[:1]
answer(classifier.predict(first), 0, classes, top=3)

# %% [markdown]
# What was measured is what is served: an evaluation of the file gives exactly the numbers of the report.

# %%
prediction = classifier.predict(run.test.images[:])
file_report = accuracy.report_from(prediction, run.test)
file_sets = calibration.set_report(prediction, run.test.labels, classifier.manifest.calibration)
print(f"accuracy of the model file {file_report.accuracy.value:.2%}, of the report {report.int8.accuracy.value:.2%}")
print(f"the same evaluation: {file_report == report.int8}; the same sets: {file_sets == report.sets}")

# %% [markdown]
# ## What comes next
#
# The last cell writes the plots and `report.html` into the run folder. Then, in a terminal:
#
# ```sh
# lince predict runs/NAME/model.tflite my-pictures/ --json     # a folder, a .zip or single files
# lince serve runs/NAME/model.tflite                           # a page at http://127.0.0.1:8000
# curl --data-binary @cat.jpg -H 'content-type: image/jpeg' http://127.0.0.1:8000/predict
# lince evaluate http://127.0.0.1:8000 cifar10                 # the running service, measured like the file
# ```

# %%
write_run_report(run.folder)
print(f"Report: {run.folder.page}")
