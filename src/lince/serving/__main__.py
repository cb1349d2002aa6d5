"""`python -m lince.serving`, until `lince serve` is wired."""

import sys

from lince.errors import LinceError
from lince.serving.server import serve
from lince.serving.settings import ServeSettings


def main() -> int:
    try:
        serve(ServeSettings.read())
    except LinceError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
