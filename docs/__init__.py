"""What makes the pictures and tables of the documentation."""
