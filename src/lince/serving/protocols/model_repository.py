"""Swapping models of a folder: `/v2/repository/…`, the extension "model repository" of Triton, as tritonclient has it.

`load` serves a version that is in the folder; nothing is uploaded. All routes are for administrators alone.
"""

import asyncio
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import Response

from lince.serving.errors import RequestError
from lince.serving.protocols.named_outputs import invalid, json_response
from lince.serving.request_body import read_body
from lince.serving.service import service_of


class _Parameters(msgspec.Struct, frozen=True):
    version: str | None = None


class _LoadRequest(msgspec.Struct):
    parameters: _Parameters = _Parameters()


def add_routes(app: FastAPI) -> None:
    """Adds the routes below `/v2/repository`."""
    app.add_api_route("/v2/repository/index", index, methods=["POST"], include_in_schema=False)
    app.add_api_route("/v2/repository/models/{name}/load", load, methods=["POST"], include_in_schema=False)


async def index(request: Request) -> Response:
    """`POST /v2/repository/index`: the models that answer, and the files that cannot be served, with the reason."""
    ready = service_of(request).require_ready()
    found: list[dict[str, Any]] = []
    for name in ready.models.names:
        version = ready.models.find(name).name.version
        found.append({"name": name, "version": version, "state": "READY", "reason": ""})
    for one in ready.folder.refused if ready.folder is not None else ():
        found.append({"name": one.name, "version": one.path.stem, "state": "UNAVAILABLE", "reason": one.reason})
    return Response(msgspec.json.encode(found), media_type="application/json")


async def load(request: Request) -> Response:
    """`POST /v2/repository/models/NAME/load`: serves the last version of a model, or `parameters.version`."""
    service = service_of(request)
    folder = service.require_ready().folder
    if folder is None:
        message = "The models were named one by one. Start the service with --models FOLDER to swap them."
        raise RequestError("model_refused", message)
    with service.buffer.share() as take:
        body = await read_body(request, service.settings, take)
    try:
        asked = msgspec.json.decode(body or b"{}", type=_LoadRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"The JSON of the request cannot be read: {error}. Expected {{'parameters': {{'version': '…'}}}}."
        raise invalid(message) from error
    found = await asyncio.to_thread(folder.load, request.path_params["name"], asked.parameters.version)
    return json_response({"name": found.name.name, "version": found.name.version})
