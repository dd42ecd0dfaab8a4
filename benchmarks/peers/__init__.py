"""Other tools that the benchmarks compare with. Each script runs in an environment of its own and imports nothing of ours outside this folder."""
