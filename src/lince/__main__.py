"""`python -m lince` is `lince`."""

from lince.cli import main

if __name__ == "__main__":
    main()
