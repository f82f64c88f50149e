"""Fits doubt for a finished run, whose network stays as it is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace_all, exclusive_lock, write_json
from keras_flowers.inference.doubt import Doubt
from keras_flowers.inference.metadata import add_to_archive
from keras_flowers.system import import_tensorflow
from keras_flowers.training.config import from_settings
from keras_flowers.training.run_directory import Run, photos_of


def refit_doubt(
    run: Run | str | os.PathLike[str],
    *,
    data: Sequence[str] = (),
    validation_data: Sequence[str] = (),
    data_dir: str | None = None,
    taxonomy: str | None = None,
) -> Doubt:
    """Fits how likely a photo shows one of a model's classes at all, and writes it into the run.

    Nothing else of the model changes. What was exported from it is as before: export it again.

    Args:
        run: The finished run or its folder.
        data: More photos labelled `unknown`, in sources as --data takes them; what else is in them
            is not used.
        validation_data: Photos to choose on, in place of those of the training.
        data_dir: Where TFDS keeps data sets; None: where training had them from.
        taxonomy: Genus and family of the classes, as --taxonomy takes them; None: as in training.

    Returns:
        What the model now says of doubtful answers.

    Raises:
        UserError: It is no finished run, or there are no photos to fit it on.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    if not run.is_finished or not run.settings:
        raise UserError(f"{run.folder} is no finished run; expected one of keras-flowers train")
    import_tensorflow()
    from keras_flowers.training.known import without_known
    from keras_flowers.training.model import FEATURES, split_at
    from keras_flowers.training.sources.source import UNKNOWN
    from keras_flowers.training.train import add_doubt, extractors, open_splits

    settings = {**run.settings, "output": str(run.folder)}
    if validation_data:
        settings["validation_data"] = tuple(validation_data)
    for name, value in (("data_dir", data_dir), ("taxonomy", taxonomy)):
        if value is not None:
            settings[name] = value
    config = from_settings(settings)
    with exclusive_lock(run.folder), extractors(config) as extractor_of:
        splits = open_splits(config, run)
        if splits.train.labels != run.metadata.labels:
            raise UserError(
                f"{splits.train.dataset} has the class {splits.train.labels[-1]!r}, which "
                f"{run.folder} does not know; teach it: keras-flowers train --start_from "
                f"{run.folder}"
            )
        if data:
            more = photos_of(
                run.model_path,
                run.metadata,
                UNKNOWN,
                run=run,
                data_dir=config.data_dir,
                sources=data,
            )
            unknown = more if splits.unknown is None else splits.unknown.joined_with(more)
            splits = splits._replace(unknown=unknown)
        model = without_known(run.load_model())
        extractor = extractor_of(split_at(model, FEATURES)[0])
        model, doubt = add_doubt(config, splits, model, extractor, run)
        if doubt is None:
            raise UserError(
                f"{run.folder} has neither photos labelled unknown nor photos to choose on; add "
                "some with --data or --validation_data"
            )
        metadata = dataclasses.replace(run.metadata, doubt=doubt)
        with atomic_replace_all(run.folder, last=run.metrics_path.name) as folder:
            new = Run.at(folder)
            model.save(new.model_path)
            add_to_archive(new.model_path, metadata)
            write_json(new.metrics_path, {**run.metrics, "doubt": doubt.as_dict()})
        run.remove_checkpoints()
    return doubt
