"""Names flowers without TensorFlow: what runs on a Raspberry Pi."""
