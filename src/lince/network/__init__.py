"""The network of a model file, verified before LiteRT reads it: see `docs/model-file.md`, "What a reader checks"."""

from lince.network.verifying import verify

__all__ = ["verify"]
