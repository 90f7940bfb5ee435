"""Runs: the plan, the store, the executor and the audit itself."""
