"""`python -m lince.cli.publish_process`: publishes the run of the `PublishRequest`, JSON, on stdin.

Only TensorFlow exports to LiteRT. A process that trains with another backend starts this one, waits, and reads the
report from the run folder. The exit codes are those of `lince`, and `REFUSED` for a model that is refused.
"""

import sys
from contextlib import redirect_stdout

from lince import schema
from lince.cli import run_publishing
from lince.cli.console import errors_as_exit_codes
from lince.errors import GateError
from lince.publishing.options import PublishRequest
from lince.system import streams


def main() -> None:
    """Reads the request, and publishes."""
    streams.prepare()
    try:
        with errors_as_exit_codes():
            try:
                with redirect_stdout(sys.stderr):  # stdout is for the sentence of a refusal alone
                    run_publishing.publish_here(schema.from_json(sys.stdin.buffer.read(), PublishRequest))
            except GateError as error:
                sys.stdout.write(str(error))
                sys.exit(run_publishing.REFUSED)
    except KeyboardInterrupt:  # the process that waits for this one tells the user how to continue
        sys.exit(130)


if __name__ == "__main__":
    main()
