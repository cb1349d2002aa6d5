"""The real server, for tests that use it as a user does."""

import sys
from pathlib import Path

# The server process is shared with the benchmarks.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
