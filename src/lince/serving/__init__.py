"""The HTTP service. `app.py` is its middle: the routes of `protocols/`, and what all of them share."""
