"""`python process.py ARGUMENTS`: tidegate in a process of its own, over steps in memory."""

from cli.runs import memory_driver
from crash.memory import World
from tidegate.cli import driving, main

if __name__ == "__main__":
    driving.drive_migration = memory_driver(World())  # pyright: ignore[reportAttributeAccessIssue]
    main(prog_name="tidegate")
