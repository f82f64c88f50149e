"""`python -m keras_flowers.evaluate`, which is `keras-flowers evaluate`."""

from keras_flowers.commands.evaluate import main
from keras_flowers.commands.exit import exit_with

if __name__ == "__main__":
    exit_with(main)
