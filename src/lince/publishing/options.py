"""The options of publishing a run: plain data, which a process can send to another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishOptions:
    """How to publish a trained network.

    Attributes:
        name: of the model; None takes the run's name.
        force: publish although the gate refuses it: int8 lost too much, or the network is no better than one class.
        fallback: when int8 loses more than the bound on validation images, keep the most sensitive layers in float.
        about: Markdown for the card; see `model_card.write_card`.
    """

    name: str | None = None
    force: bool = False
    fallback: bool = False
    about: str | None = None


@dataclass(frozen=True)
class PublishRequest:
    """A run folder to publish.

    Attributes:
        run: path of the folder.
        overrides: `key=value` for the recipe's `[quantize]` and `[calibrate]`.
        options: how.
    """

    run: str
    overrides: tuple[str, ...] = ()
    options: PublishOptions = PublishOptions()
