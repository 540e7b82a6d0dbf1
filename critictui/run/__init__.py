"""A run directory as data: files go in, series of scalars come out."""
