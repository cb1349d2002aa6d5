"""`python -m lince` is `lince`."""

from lince.cli.commands import main

if __name__ == "__main__":
    main()
