"""The command `page`: names flowers in a browser, on this machine or from any web space."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.inference.text import printable

PORT = 8102
"""Seldom used by others: browsers keep what a page leaves behind by address and port."""

_EXAMPLES = """
examples:
  open the page in a browser of this machine
    keras-flowers page

  with the smaller and faster model
    keras-flowers page --model flowers102_int8.tflite

  a site for phones: put the folder on any web space with https, such as GitHub Pages
    keras-flowers page --model flowers102_int8.tflite --build site

exit code: 0 the page was served until Ctrl-C, or is written; 2 it could not be
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code.
    """
    options_of = parser()
    options = options_of.parse_args(argv)
    if not 0 <= options.port <= 65535:
        options_of.error("argument --port: expected 0 to 65535")
    show_messages()
    from keras_flowers.export.site import load_site, write_site
    from keras_flowers.export.site_server import SiteServer

    site = load_site(options.model)
    if options.build is not None:
        write_site(site, options.build)
        print(f"the page is in {printable(options.build)}: put it on any web space with https")
        return 0
    with SiteServer(site, options.port) as server:
        print(f"open {server.address} in a browser of this machine; Ctrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()  # the way to end it
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="keras-flowers page",
        description="Serves a page that names flowers in a browser. The model runs there: no\n"
        "photo is sent anywhere, and once opened the page works without a connection.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="a .tflite file (default: the model that comes with the package)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=PORT,
        metavar="N",
        help="the port on this machine; 0 for a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--build",
        type=Path,
        metavar="FOLDER",
        help="write the page as a static site to FOLDER instead of serving it",
    )
    return parser


if __name__ == "__main__":
    exit_with(main)
