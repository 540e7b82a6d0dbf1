"""What a checkpoint is, read without torch."""
