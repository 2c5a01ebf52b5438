"""Our server with another limit of frames: `python -m benchmarks.voices.ours FRAMES [ARGUMENT…]`.

A random voice never ends by itself. Stock can be told how many frames a token may have; ours has
the number in its code, since no user wants another.
"""

import runpy
import sys

from services.tts.engines.ukrainian import Ukrainian


def limited(frames: int) -> None:
    """Lets every sentence end after `frames` frames a token, from the next load on."""
    load = Ukrainian.load

    def load_limited(self: Ukrainian) -> None:
        load(self)
        from services.tts.engines.ukrainian import model

        model.FRAMES_PER_TOKEN = frames  # type: ignore[misc]

    Ukrainian.load = load_limited  # type: ignore[method-assign]


if __name__ == "__main__":
    limited(int(sys.argv.pop(1)))
    runpy.run_module("services.tts", run_name="__main__", alter_sys=True)
