"""What goes out and comes back: model files, arrays, atomic writes, published checkpoints."""
