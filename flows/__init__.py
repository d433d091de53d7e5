"""The Prefect flows of docmill: one job, many documents, cleanup."""
