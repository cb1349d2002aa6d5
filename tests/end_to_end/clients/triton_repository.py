"""What tritonclient gets from the model repository: HOST:PORT KEY NAME; prints JSON."""

import json
import sys

from tritonclient.http import InferenceServerClient

address, key, name = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}"}
with InferenceServerClient(address) as client:
    client.load_model(name, headers=headers)
    index = client.get_model_repository_index(headers=headers)
    ready = client.is_model_ready(name, headers=headers)
print(json.dumps({"index": index, "ready": ready}))
