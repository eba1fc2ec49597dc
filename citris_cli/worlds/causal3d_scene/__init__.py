"""How Causal3DIdent looks: its shapes, the scene in numbers, and what draws it; its laws are in causal3d.py."""
