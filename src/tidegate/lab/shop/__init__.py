"""The sample workload: a shop whose orders are rows and whose receipts are objects, and a worker that settles them.

It reaches its objects through a client of its own (obstore), so that what it reads back says something about
the objects, and not about the plane that moved them.
"""
