"""Files that are damaged or hostile, and commands that are killed: what must hold then (``python -m tests.fuzz``)."""
