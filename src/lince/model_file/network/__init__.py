"""The network of a model file, verified before LiteRT reads it: see `docs/model-file.md`, "What a reader checks"."""

from lince.model_file.network.verification import MOST_FEATURES, verify

__all__ = ["MOST_FEATURES", "verify"]
