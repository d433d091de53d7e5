"""Engines: what turns one kind of document into another, each behind a small protocol.

`base` holds the protocol and its values, `registry` the table of engines and the planning of routes. An
engine's module is imported only in the sandbox process that runs it.
"""
