"""The sites that are measured: the same answers from each peer.

``BENCH_…`` environment variables choose what a case needs; see ``settings``.
"""
