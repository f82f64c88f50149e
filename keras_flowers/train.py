"""`python -m keras_flowers.train`, which is `keras-flowers train`."""

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.train import STOPPED, main

if __name__ == "__main__":
    exit_with(main, stopped=STOPPED)
