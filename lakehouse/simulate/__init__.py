"""A synthetic creator world with known truth: people and brands, their accounts, posts, noise and junk. No Spark."""
