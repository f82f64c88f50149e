"""Trains and scores classifiers with Keras."""
