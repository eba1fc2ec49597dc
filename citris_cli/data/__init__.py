"""What comes in: array files and their keys, variables, frames, pictures, and the order of batches."""
