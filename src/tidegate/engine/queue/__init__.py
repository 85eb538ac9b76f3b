"""Work that outgrows a machine: named tasks in PostgreSQL, taken by any number of workers. At least once.

A worker's lease, not a clock, says whether it lives: whoever can take it has proved it dead, and hands its tasks on.
"""

import importlib.util
import logging

from tidegate.errors import UsageError

if importlib.util.find_spec("dbos") is None:
    raise UsageError("what shares work out isn't installed", where="dbos", mend="pip install 'tidegate[workers]'")

# dbos tells its own story on stderr; what a person has to know is told by who calls it
logging.getLogger("dbos").addHandler(logging.NullHandler())
logging.getLogger("dbos").propagate = False
logging.getLogger("dbos").setLevel(logging.CRITICAL)
