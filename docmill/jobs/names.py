"""The names under which Prefect knows docmill's flows and their deployments."""

FLOW_NAME = "convert"
"""The flow of one job, `docmill.flows.convert:convert_document`."""
FLOW_ENTRYPOINT = "docmill.flows.convert:convert_document"
DEPLOYMENT = "docmill"
"""The deployment that jobs are submitted to, on the work pool of `DOCMILL_WORK_POOL`."""
EMBEDDED_DEPLOYMENT = "embedded"
"""The deployment without a work pool whose runs the process that submits them runs itself."""
BATCH_FLOW_NAME = "batch"
CLEANUP_FLOW_NAME = "cleanup"
FLOW_NAMES = (FLOW_NAME, BATCH_FLOW_NAME, CLEANUP_FLOW_NAME)
"""All of docmill's flows."""
