"""Series go in, alerts come out."""
