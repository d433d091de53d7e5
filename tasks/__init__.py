"""The Prefect tasks of docmill: load, cache, convert, publish."""
