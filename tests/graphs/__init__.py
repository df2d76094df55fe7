"""Timelines over graphs of assets: the declarative path where graphs are as real ones are.

``notation`` is how they are written, ``world`` plays them through real Dagster and writes down
what happened, ``referee`` says from that history what the contract's rule requests, ``named`` are
those worth a sentence, and ``generated`` are those that nobody thought of.
"""
