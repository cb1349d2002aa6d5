"""FastAPI on uvicorn, with an `async` route that computes on the event loop."""

from fastapi import FastAPI, Request, Response
from peers.plain_model import served_model

app = FastAPI()
model = served_model()


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Computes on the event loop."""
    return Response(model.answer(await request.body()), media_type="application/json")
