"""`keras-flowers export RUN --formats saved_model` in a clone, but into FOLDER/1/."""

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.export import main_saved_model as main

if __name__ == "__main__":
    exit_with(main)
