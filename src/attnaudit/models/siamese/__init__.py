"""Siamese encoders: which pairs of tokens make two texts similar (Möller et al. 2023, 2024)."""
