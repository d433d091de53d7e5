"""Jobs: Prefect flow runs that a caller addresses by a (userToken, jobToken) pair."""
