"""One training loop for every model, and what it needs: schedules, resumable state, devices."""
