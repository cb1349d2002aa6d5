"""A client of the service, for Python: it needs neither TensorFlow nor what serves; see `docs/client.md`.

images ─ request ─► connection (retries) ─ answers ─► Answer

Only `connection` and `event_loop_thread` do I/O. `AsyncClient` uses them; `Client` is the same, and waits.
"""

from lince.client.answers import Answer, ClassProbability, Explanation, Failure, Limits, ServedModel
from lince.client.client import AsyncClient, Client

__all__ = ["Answer", "AsyncClient", "ClassProbability", "Client", "Explanation", "Failure", "Limits", "ServedModel"]
