"""An HTTP emulator of the four platforms' APIs, and of a licensed vendor's, over the synthetic world. Loopback, tests, benchmarks."""
