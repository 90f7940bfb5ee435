"""Combinatorial shortcuts: weights that carry the answer to the layers behind them."""
