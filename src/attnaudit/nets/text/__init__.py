"""Networks of texts: encoders, attentions, heads."""
