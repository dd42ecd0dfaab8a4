"""A seeded synthetic creator world with ground truth, written as vendor-like dumps. No Spark."""
