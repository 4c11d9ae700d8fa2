"""Hyperparameters by search."""
