"""What a document is: identify, load from a URI, cache, publish."""
