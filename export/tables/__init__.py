"""What a study found, as a table and a plot for docs/results.md."""
