"""Measures of a trained model against ground truth."""
