"""Write numbered lines of changing length to stdout: `numbered_lines.py COUNT SEED LONGEST`.

With `PARTS GATE` after that it writes them in so many parts, and before each but the first it waits
for a byte from the FIFO GATE.
"""

import os
import random
import sys


def main() -> None:
    count, seed, longest = map(int, sys.argv[1:4])
    part, gate = count, -1
    if len(sys.argv) > 4:
        part, gate = count // int(sys.argv[4]), os.open(sys.argv[5], os.O_RDONLY)
    chance = random.Random(seed)
    batch: list[bytes] = []
    for number in range(count):
        if number and number % part == 0:
            write(b"".join(batch))
            batch.clear()
            os.read(gate, 1)
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
