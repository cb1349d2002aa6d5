"""What publishing a run is asked for: plain data, so that a process can hand it to another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishOptions:
    """How to publish a trained network.

    Attributes:
        name: of the model; the run's when None.
        force: publish although the gate refuses it: int8 lost too much, or the network is no better than one class.
        fallback: when int8 loses more than the bound on validation images, compute in what the recipe's
            `quantize.fallback` lists.
        study: try other calibration sizes and methods first, and write `study.json`; the choice stays the recipe's.
        about: Markdown for the card; see `model_card.write_card`.
    """

    name: str | None = None
    force: bool = False
    fallback: bool = False
    study: bool = False
    about: str | None = None


@dataclass(frozen=True)
class PublishRequest:
    """A run folder that is to be published.

    Attributes:
        run: path of the folder.
        overrides: `key=value` for the recipe's `[quantize]` and `[calibrate]`.
        options: how.
    """

    run: str
    overrides: tuple[str, ...] = ()
    options: PublishOptions = PublishOptions()
