"""The network families. A new one is a module beside this one with a subclass of `Family`, and its name below."""

from lince.networks.efficientnet_lite import EfficientNetLite
from lince.networks.pooled import Pooled
from lince.networks.resnet import ResNet
from lince.networks.vgg import Vgg

Model = Vgg | Pooled | ResNet | EfficientNetLite
"""The `[model]` table of a recipe; its key `family` chooses one of them."""
