"""A page to play with a model: what it can do (workbench), the server on this machine, and the same in a notebook."""
