"""critictui: watch, score and explain the critics that teach language models."""

__version__ = "0.1.0"
