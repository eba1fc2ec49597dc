"""Is a dataset fit to be learned from? What can be found out before time is spent on a training."""
