"""Where components find their stores, per stage; written, and acknowledged by every instance."""

from tidegate.endpoints.directory import Directory, Entry

__all__ = ["Directory", "Entry"]
