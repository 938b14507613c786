"""Further trainings with other seeds, and what is kept of each: enough to tell the chance of training."""
