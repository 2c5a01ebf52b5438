"""`ukrainian_tts.TTS` as published, in a process: `python -m benchmarks.voices.stock`.

The working directory is the model's: `feats_stats.npz` is opened there. Reads one JSON object a
line, `{"text", "voice", "frames": frames a token}`, speaks it, and answers with the line
`answer {"samples", "same": whether it said the text as given}`.
"""

import json
import sys
import warnings
from pathlib import Path

from tests.voices import stock


def main() -> None:
    """Serves until the end of its input."""
    warnings.simplefilter("ignore")
    tts = stock.load(Path.cwd())
    for line in sys.stdin:
        order = json.loads(line)
        tts.synthesizer.decode_conf["maxlenratio"] = order["frames"]
        samples, _, said = tts.tts_to_array(order["text"], order["voice"], "dictionary")
        answer = {"samples": len(samples), "same": said == order["text"]}
        print(f"answer {json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
