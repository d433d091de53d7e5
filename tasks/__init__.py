"""The Prefect tasks of docmill, each a few lines around `docmill.pipeline`."""
