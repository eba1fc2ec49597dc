"""A user's own recording becomes a dataset: films, pictures, arrays, and tables of what was done."""
