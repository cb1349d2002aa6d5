"""mosec: one worker process behind its server in Rust."""

from mosec import Server, Worker
from peers.plain_model import served_model


class Predict(Worker):
    """Bytes in, bytes out: no JSON is parsed."""

    def __init__(self) -> None:
        super().__init__()
        self._model = served_model()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def serialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> bytes:
        return self._model.answer(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Predict, num=1)
    server.run()
