"""The audit: what is planned, run and judged."""
