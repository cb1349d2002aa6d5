"""How clients ask for predictions: one module for each HTTP protocol, in the shape that its clients expect.

Each has `add_routes(app)`, which `app.py` calls. All of them use the same limits, decoding, queue and logits.
"""
