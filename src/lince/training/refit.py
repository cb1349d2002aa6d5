"""Few images: the network is trained on some to choose and calibrate it, and then again on all of them.

A split that holds out a fifth of 200 images leaves a network that has not seen 40 of them. Held-out images decide
whether fine-tuning is kept, and their answers calibrate the probabilities. The published network is then trained in the
same way on all images. It should be more accurate, so that the calibration is rather too careful than too bold.
"""

from typing import Any

import msgspec

from lince import data
from lince.evaluation import accuracy
from lince.networks import models
from lince.progress import Progress
from lince.training import checkpoint, history, loop, schedule
from lince.training.display import ProgressDisplay
from lince.training.recipe import Train
from lince.training.session import Run, begin, build_for, teacher_of
from lince.training.transfer import cross_validation, features
from lince.training.transfer import head as heads
from lince.types import EpochRecord


def refit(run: Run, progress: Progress, *, resume: bool = False) -> None:
    """Trains the network of a run again, on the validation images too, and writes `held_out.npz`.

    Nothing is done without `refits` in the run's record, or before the first training is finished.

    Args:
        run: trained.
        progress: receives the number of images and epochs.
        resume: continue an interrupted refit, if there is one.

    Raises:
        TrainingError, ResumeError: see `loop.fit`. KeyboardInterrupt: passed on. The network trained before is intact.
    """
    state = checkpoint.read(run.folder.checkpoint) if run.record.refits and not run.folder.held_out.exists() else None
    if state is None or not history.finished(state.history, run.recipe.train):
        return
    recipe = recipe_of(run.recipe.train, state.history)
    seed, everything = run.record.seed, data.join(run.train, run.validation)
    keeps_head = history.kept_record(state.history, run.recipe.train).epoch == 0
    model = build_for(run, precision=run.record.precision)
    begin(run, model)
    mirrored = run.recipe.augment.horizontal_flip != "none"
    images = (run.train.images, run.validation.images)
    seen = features.stored(run.folder.features, model, images, mirrored=mirrored, progress=progress)
    options: dict[str, Any] = {
        "groups": run.folder.read_groups(),
        "num_classes": len(run.record.classes),
        "strength": heads.read(run.folder.head).strength,
        "seed": seed,
    }
    head = heads.fit(seen, everything.labels, **options)
    model.get_layer(models.LOGITS).set_weights([head.unsure_kernel, head.unsure_bias])
    loop.fit(
        model,
        train=everything,
        validation=run.validation,
        recipe=recipe,
        augmentation=run.recipe.augment,
        seed=seed,
        checkpoint_path=run.folder.refit,
        display=ProgressDisplay(progress, recipe.epochs),
        teacher=teacher_of(run),
        schedule=schedule.of(recipe, run.record.budget),
        head=head if keeps_head else None,
        fine_tunes=not keeps_head,
        resume=resume,
    )
    if keeps_head:
        answers = cross_validation.out_of_fold(seen, everything.labels, **options)
        fair = answers.is_of_known_class
        run.folder.write_held_out(answers.logits[fair], everything.labels[fair])
    else:
        model.set_weights(state.kept_weights)
        batch_size = models.images_at_once(run.recipe.spec)
        found = accuracy.outputs(models.float_predict(model), run.validation, batch_size=batch_size)
        run.folder.write_held_out(found.logits, run.validation.labels)


def recipe_of(recipe: Train, first: tuple[EpochRecord, ...]) -> Train:
    """The recipe of the second training: without patience, for as many epochs as the first training kept.

    The second training sees the validation images, so that their loss falls to the end and says nothing.

    Args:
        recipe: of the first training. Without patience it is also that of the second.
        first: the history of the first training, finished.
    """
    if not recipe.patience:
        return recipe
    return msgspec.structs.replace(recipe, patience=0, epochs=max(1, history.kept_record(first, recipe).epoch))
