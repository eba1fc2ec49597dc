"""What people look at: the console, image grids, animations."""
