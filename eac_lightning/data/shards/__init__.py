"""Data sets of any size as shards: packed once, streamed from disk or object storage."""
