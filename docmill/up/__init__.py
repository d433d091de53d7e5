"""`docmill up`: the Prefect server with its UI, a database, the deployments and workers, on this machine."""
