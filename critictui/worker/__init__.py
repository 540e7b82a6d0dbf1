"""What runs in the worker process; besides the demo's trainer the only room with torch in it."""
