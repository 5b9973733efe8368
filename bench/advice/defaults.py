"""Methods that are tried where none are named."""

METHODS = (
    "identity",
    "erm",
    "adabn",
    "ben",
    "ben-controls",
    "center",
    "zscore",
    "robust",
    "sphering",
    "tvn",
    "combat",
    "coral-to-train",
    "harmony-map",
)
"""No correction, statistics of a batch or of its controls, whitening, the two most used models of
batch effects, and networks trained batch by batch."""
