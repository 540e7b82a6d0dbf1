"""Runs go in; files for other tools and for other people come out."""
