"""Many trainings that answer one question, with the record of what they found."""
