"""Results go in, findings and ranked causes come out."""
