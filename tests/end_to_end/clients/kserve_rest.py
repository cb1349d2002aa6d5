"""Asks a server with kserve's client, and prints what came back as JSON: `python kserve_rest.py URL MODEL PIXELS.npy`.

It runs in an environment of its own, without Lince.
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


async def ask(url: str, model: str, pixels: np.ndarray) -> dict[str, object]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    found: dict[str, object] = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": await client.is_model_ready(url, model),
    }
    for is_binary in (True, False):
        given = InferInput("pixels", list(pixels.shape), "UINT8")
        given.set_data_from_numpy(pixels, binary_data=is_binary)
        request = InferRequest(model, [given], request_id="r1", parameters={"binary_data_output": is_binary})
        answer = await client.infer(url, request, model_name=model)
        outputs = {one.name: one.as_numpy() for one in answer.outputs}
        labels = [one.decode() if isinstance(one, bytes) else str(one) for one in outputs["label"]]
        found[f"binary {is_binary}"] = {"logits": outputs["logits"].tolist(), "label": labels}
    await client.close()
    return found


if __name__ == "__main__":
    json.dump(asyncio.run(ask(sys.argv[1], sys.argv[2], np.load(sys.argv[3]))), sys.stdout)
