"""Asks a server with tritonclient, and prints what came back as JSON.

    python triton.py HOST:PORT MODEL PIXELS.npy FILE…

It runs in an environment of its own, without Lince.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tritonclient import http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype


def main() -> None:
    address, model, pixels_file, *files = sys.argv[1:]
    client = http.InferenceServerClient(address)
    pixels = np.load(pixels_file)
    images = np.array([Path(file).read_bytes() for file in files], np.object_)
    metadata = client.get_model_metadata(model)
    version = metadata["versions"][0]
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model) and client.is_model_ready(model, version),
        "other_ready": client.is_model_ready("other"),
        "server": client.get_server_metadata()["name"],
        "inputs": [one["name"] for one in metadata["inputs"]],
    }
    for name, array in (("pixels", pixels), ("image", images)):
        for is_binary in (True, False) if name == "pixels" else (True,):
            given = http.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
            given.set_data_from_numpy(array, binary_data=is_binary)
            wanted = [http.InferRequestedOutput(one, binary_data=is_binary) for one in ("logits", "label", "abstain")]
            answer = client.infer(model, [given], outputs=wanted, request_id="r1")
            again = client.infer(model, [given], model_version=version, request_compression_algorithm="gzip")
            assert (answer.as_numpy("logits") == again.as_numpy("logits")).all()
            assert answer.get_response()["id"] == "r1"
            labels = [one.decode() if isinstance(one, bytes) else one for one in answer.as_numpy("label")]
            found[f"{name}, binary {is_binary}"] = {
                "logits": answer.as_numpy("logits").tolist(),
                "label": labels,
                "abstain": answer.as_numpy("abstain").tolist(),
            }
    given = http.InferInput("pixels", pixels.shape, "UINT8")
    given.set_data_from_numpy(pixels)
    best = client.infer(model, [given], outputs=[http.InferRequestedOutput("probabilities", class_count=2)])
    found["best"] = [[one.decode().split(":")[2] for one in row] for row in best.as_numpy("probabilities")]
    found["errors"] = []
    for name, wanted in (("other", "logits"), (model, "softmax")):
        try:
            client.infer(name, [given], outputs=[http.InferRequestedOutput(wanted)])
        except InferenceServerException as error:
            found["errors"].append((error.status(), error.message()))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
