"""Networks of bags: encoders, pools, heads."""
