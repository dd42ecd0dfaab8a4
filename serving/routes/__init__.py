"""HTTP routes, one module per resource; they validate, call the searcher and shape the answer."""
