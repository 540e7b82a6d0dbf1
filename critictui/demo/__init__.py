"""A tiny real critic, trained live, so that everything can be tried in a minute."""
