"""How steps run: progress, reports, crash points. No domain rules."""
