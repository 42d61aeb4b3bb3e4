"""PostgreSQL's isolation and plans; one workload in three layouts."""
