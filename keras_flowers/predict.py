"""`python -m keras_flowers.predict`, which is `keras-flowers predict`."""

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.predict import main

if __name__ == "__main__":
    exit_with(main)
