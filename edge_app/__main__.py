"""`python -m edge_app` is the command `leukoscope`."""

from edge_app.cli import main

if __name__ == "__main__":
    main()
