"""Write numbered lines of changing length to stdout: `numbered_lines.py COUNT SEED LONGEST`."""

import os
import random
import sys


def main() -> None:
    count, seed, longest = map(int, sys.argv[1:])
    chance = random.Random(seed)
    batch: list[bytes] = []
    for number in range(count):
        batch.append(b"%d %s\n" % (number, b"x" * chance.randrange(0, longest)))
        if len(batch) >= chance.randrange(1, 200):
            write(b"".join(batch))
            batch.clear()
    write(b"".join(batch))


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
