"""What a Voronoi world is drawn from: graph, mechanisms, mixing and cells; its laws are in voronoi.py."""
