"""Plots as SVG, drawn here: what `docs/results` and the trade-off report show."""
