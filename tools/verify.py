"""`keras-flowers verify RUN` in a clone."""

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.verify import main

if __name__ == "__main__":
    exit_with(main)
