"""docmill: workflow-orchestrated batch document conversion on Prefect."""

__version__ = "0.1.0"
