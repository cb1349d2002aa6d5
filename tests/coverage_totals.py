"""How much of lince the tests run: of its lines, and of its branches. Exit code 1 when it is less than promised.

python tests/coverage_totals.py    (after coverage combine)
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

LEAST_LINES = 95.0


def main() -> None:
    """Reads coverage's data in the working folder, prints two shares, and holds the first to its bound."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "coverage.json")
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", str(path)], check=True)
        totals = json.loads(path.read_text(encoding="utf-8"))["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    print(f"Coverage: {lines:.1f} % of lines, {branches:.1f} % of branches.")
    if lines < LEAST_LINES:
        sys.exit(f"Expected at least {LEAST_LINES:g} % of lines: test what the table above names, or remove it.")


if __name__ == "__main__":
    main()
