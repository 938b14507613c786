"""What both trainings share: the loop, checkpoints to resume from, and several processes."""
