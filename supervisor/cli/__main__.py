"""``python -m supervisor.cli``: the command, for an interpreter whose scripts are not on PATH."""

from supervisor.cli import main

if __name__ == "__main__":
    main()
