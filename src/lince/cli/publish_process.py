"""`python -m lince.cli.publish_process`: publishes the run of the `PublishRequest`, JSON, on stdin.

Only TensorFlow exports to LiteRT: a process that trains with another backend starts this one, and reads the report
from the run folder when it has ended. It exits as `lince` does.
"""

import sys

from lince import schema
from lince.cli import run_commands
from lince.cli.console import errors_as_exit_codes
from lince.publishing.options import PublishRequest
from lince.system import streams


def main() -> None:
    """Reads the request, and publishes."""
    streams.prepare()
    try:
        with errors_as_exit_codes():
            run_commands.publish_here(schema.from_json(sys.stdin.buffer.read(), PublishRequest))
    except KeyboardInterrupt:  # the process that waits for this one says how to go on
        sys.exit(130)


if __name__ == "__main__":
    main()
