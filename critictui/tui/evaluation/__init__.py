"""What the screens have done by the worker: scores, diagnoses and explanations, one at a time."""
