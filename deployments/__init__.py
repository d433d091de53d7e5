"""How docmill is deployed: Prefect deployments as YAML and in Python."""
