"""Landing objects into append-only Delta: payload plus envelope, nothing interpreted."""
