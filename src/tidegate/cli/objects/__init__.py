"""`objects`: one bucket moved by itself, without a migration around it."""
