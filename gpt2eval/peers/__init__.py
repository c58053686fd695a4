"""Results of other tools as results of ours, so that they can be compared and reported.

Only files are read: no peer is ever imported. What a peer does not tell stays unknown.
"""

from gpt2eval.peers.importing import import_results, metrics_of

__all__ = ["import_results", "metrics_of"]
