"""Pre-trained models: what a provider ships and what a platform makes of it."""
