"""`keras-flowers export RUN` in a clone, for the TFLite files alone."""

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.export import main_tflite as main

if __name__ == "__main__":
    exit_with(main)
