"""The verbs of `transfer`, by what they are for; the only place that joins all the rooms."""
