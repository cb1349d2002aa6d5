"""What each peer answers with: Pillow, LiteRT and a softmax. It checks and calibrates nothing."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image


class PlainModel:
    """The network of a model file."""

    def __init__(self, path: str):
        self._interpreter = Interpreter(model_content=Path(path).read_bytes(), num_threads=1)
        self._interpreter.allocate_tensors()
        (given,), wanted = self._interpreter.get_input_details(), self._interpreter.get_output_details()[0]
        self._input, self._output = given["index"], wanted["index"]
        self._size = (int(given["shape"][2]), int(given["shape"][1]))
        self._scale = wanted["quantization"][0]
        with zipfile.ZipFile(path) as archive:
            self._labels = archive.read("labels.txt").decode().splitlines()

    def answer(self, body: bytes) -> bytes:
        """JSON with the label and all probabilities for an encoded image."""
        image = Image.open(io.BytesIO(body)).convert("RGB").resize(self._size)
        self._interpreter.set_tensor(self._input, np.asarray(image)[None])
        self._interpreter.invoke()
        logits = self._interpreter.get_tensor(self._output)[0] * self._scale
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return json.dumps({"label": self._labels[int(shares.argmax())], "probabilities": shares.tolist()}).encode()


def served_model() -> PlainModel:
    """The model file that the benchmark names, warmed."""
    model = PlainModel(os.environ["PEER_MODEL"])
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    model.answer(file.getvalue())
    return model
