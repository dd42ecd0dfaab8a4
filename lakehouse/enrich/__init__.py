"""What we derive about an account: embeddings, niche, risk, engagement, quality and anomaly, each with its reasons."""
