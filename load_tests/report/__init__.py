"""The trade-off report: measured rows in, one self-contained page, JSON and CSV out."""
