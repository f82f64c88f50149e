"""Writes a trained model as SavedModel and TFLite files, and proves that they agree."""
