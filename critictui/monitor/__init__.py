"""The thread that keeps everything current and posts frozen snapshots."""
